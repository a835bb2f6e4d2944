package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	authenticationv1 "k8s.io/api/authentication/v1"
	externaljwt "k8s.io/externaljwt/apis/v1"
)

// A signingProgram signs the tokens of a server, in a process of its own as far
// as that can tell.
type signingProgram struct {
	externaljwt.UnimplementedExternalJWTSignerServer
	t *testing.T

	mu   sync.Mutex
	kid  string
	keys map[string]*ecdsa.PrivateKey
}

func (p *signingProgram) Sign(_ context.Context, r *externaljwt.SignJWTRequest) (*externaljwt.SignJWTResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"` + p.kid + `","typ":"JWT"}`))
	digest := sha256.Sum256([]byte(header + "." + r.Claims))
	a, b, err := ecdsa.Sign(rand.Reader, p.keys[p.kid], digest[:])
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	a.FillBytes(raw[:32])
	b.FillBytes(raw[32:])
	return &externaljwt.SignJWTResponse{Header: header, Signature: base64.RawURLEncoding.EncodeToString(raw)}, nil
}

func (p *signingProgram) FetchKeys(context.Context, *externaljwt.FetchKeysRequest) (*externaljwt.FetchKeysResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := &externaljwt.FetchKeysResponse{DataTimestamp: timestamppb.Now(), RefreshHintSeconds: 600}
	for id, key := range p.keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		answer.Keys = append(answer.Keys, &externaljwt.Key{KeyId: id, Key: der})
	}
	return answer, nil
}

func (p *signingProgram) Metadata(context.Context, *externaljwt.MetadataRequest) (*externaljwt.MetadataResponse, error) {
	return &externaljwt.MetadataResponse{MaxTokenExpirationSeconds: 7200}, nil
}

// add adds a key, which signs from now on.
func (p *signingProgram) add(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[kid], p.kid = key, kid
}

// TestExternalSigner has another program sign: its tokens let in, its limits
// hold, and a key that it has just begun to use is asked for.
func TestExternalSigner(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server in a process of its own")
	}
	p := &signingProgram{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	p.add("hsm-1")
	socket := filepath.Join(t.TempDir(), "signer")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	externaljwt.RegisterExternalJWTSignerServer(server, p)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	w := start(t, nil, "-v=10", "--service-account-signing-endpoint="+socket, "--service-account-issuer=https://tokens.example.org")
	w.account("default", "app")
	first := w.token("default", "app", "", "")
	if got := w.admin.review(first); !got.Authenticated || got.User.Username != "system:serviceaccount:default:app" {
		t.Errorf("a token of the signer: %+v", got)
	}
	p.add("hsm-2")
	if second := w.token("default", "app", "", ""); !w.admin.review(second).Authenticated || !w.admin.review(first).Authenticated {
		t.Error("a token of a new key of the signer, or of the old one, is refused")
	}
	long := &authenticationv1.TokenRequest{}
	long.Spec.ExpirationSeconds = new(int64(100000))
	a := w.admin.ask("POST", inNamespace("default", "serviceaccounts/app/token"), long)
	if a.code != 201 || !strings.Contains(a.header.Get("Warning"), "requested expiration of 100000 seconds shortened to 7200 seconds") {
		t.Errorf("a longer token than the signer signs: %d, %v", a.code, a.header)
	}
	jwks := w.admin.ask("GET", "/openid/v1/jwks", nil)
	if !strings.Contains(jwks.body, `"kid":"hsm-1"`) || !strings.Contains(jwks.body, `"kid":"hsm-2"`) || jwks.header.Get("Cache-Control") == "public, max-age=3600" {
		t.Errorf("published: %v, %s", jwks.header, jwks.body)
	}
	if a := w.admin.ask("POST", "/gatehouse/keys/rotate", map[string]string{}); a.code != 409 || !strings.Contains(a.body, "change them there") {
		t.Errorf("rotating the signer's keys: %d, %s", a.code, a.body)
	}
	if a := w.admin.ask("GET", "/gatehouse/keys", nil); !strings.Contains(a.body, `"source":"signer"`) {
		t.Errorf("listing: %s", a.body)
	}
	if text := w.admin.ask("GET", "/metrics", nil).body; !strings.Contains(text, `apiserver_externaljwt_sign_request_total{code="OK"} 3`) {
		t.Error("what was signed is not counted")
	}
	signature := first[strings.LastIndexByte(first, '.')+1:]
	for place, text := range map[string]string{"log": w.Log(), "metrics": w.admin.ask("GET", "/metrics", nil).body, "files of the store": w.storeFiles()} {
		if len(text) < 1000 || strings.Contains(text, signature) {
			t.Errorf("the %s, of %d bytes, has the signature of a token", place, len(text))
		}
	}
}
