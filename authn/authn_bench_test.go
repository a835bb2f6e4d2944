package authn_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/authn/verified"
)

// everything exists with the same UID.
type everything struct{}

func (everything) Object(context.Context, string, string, string) (*serviceaccount.Object, error) {
	return &serviceaccount.Object{UID: "00000000-0000-0000-0000-000000000000"}, nil
}

// A door is a chain of everything there is, with a key and a certificate that it
// accepts.
type door struct {
	chain   authn.Authenticator
	sa      *serviceaccount.Verifier
	stripes *authn.Stripes
	key     *ecdsa.PrivateKey
	cert    *x509.Certificate
}

func newDoor(t testing.TB) *door {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	root := issue(t, template, template, key)
	leaf := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "jane"}, NotBefore: template.NotBefore, NotAfter: template.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, root, key)
	ca, tokens := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "tokens.csv")
	must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), 0o600))
	must(os.WriteFile(tokens, []byte("hunter2,joe,1\n"), 0o600))
	bundle, err := clientcert.OpenBundle(ca, nil)
	must(err)
	static, err := statictoken.Open(statictoken.Config{Path: tokens, Key: bytes.Repeat([]byte("k"), 32), Audiences: []string{"api"}})
	must(err)
	keys, err := serviceaccount.NewKeys(key.Public())
	must(err)
	d := &door{key: key, cert: leaf, stripes: authn.NewStripes()}
	d.sa, err = serviceaccount.New(serviceaccount.Config{
		Issuers: []string{"api"}, Keys: keys, Objects: everything{}, Stripes: d.stripes,
	})
	must(err)
	table, err := verified.NewResults(1 << 14)
	must(err)
	d.chain = authn.OrAnonymous(
		authn.Chain(
			clientcert.New(bundle),
			authn.Bearer(verified.Tokens(table, authn.AnyBearer, authn.Tokens(static, d.sa))),
		),
		anonymous.New(),
	)
	return d
}

func issue(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// token is a pod's token of the usual size.
func (d *door) token(t testing.TB) string {
	t.Helper()
	ref := func(name string) map[string]string {
		return map[string]string{"name": name, "uid": "00000000-0000-0000-0000-000000000000"}
	}
	now := time.Now().Unix()
	payload, err := json.Marshal(map[string]any{
		"iss": "api", "aud": []string{"api"}, "sub": "system:serviceaccount:ns:app", "iat": now, "nbf": now, "exp": now + 3600,
		"jti": "11111111-1111-1111-1111-111111111111",
		"kubernetes.io": map[string]any{"namespace": "ns", "serviceaccount": ref("app"),
			"pod": ref("app-5d8f9c7b6d-abcde"), "node": ref("node-1"), "warnafter": now + 3607},
	})
	if err != nil {
		t.Fatal(err)
	}
	kid, err := serviceaccount.KeyID(d.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(`{"alg":"ES256","kid":"`+kid+`"}`)) + "." + b64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, d.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + b64.EncodeToString(sig)
}

func (d *door) bearer(token string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
}

func (d *door) withCert() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{d.cert}}
	return r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
}

// The whole chain, once with every credential.
func TestWholeChain(t *testing.T) {
	d := newDoor(t)
	both := d.withCert()
	both.Header.Set("Authorization", "Bearer "+d.token(t))
	tests := []struct {
		name string
		r    *http.Request
		want string // "" if refused
	}{
		{"certificate", d.withCert(), "jane"},
		{"pod", d.bearer(d.token(t)), "system:serviceaccount:ns:app"},
		{"static", d.bearer("hunter2"), "joe"},
		{"certificate before token", both, "jane"},
		{"nobody", httptest.NewRequest("GET", "/", nil), "system:anonymous"},
		{"bad token", d.bearer(d.token(t) + "x"), ""},
	}
	for _, tt := range tests {
		for range 2 {
			res, err := d.chain.Authenticate(tt.r)
			if (err == nil) != (tt.want != "") || err == nil && res.Identity.Name != tt.want {
				t.Errorf("%s: %v, %v, want %q", tt.name, res, err, tt.want)
			}
		}
	}
}

// A deletion ends a remembered token at once, through the whole chain.
func TestRememberedTokenEndsWithItsPod(t *testing.T) {
	d := newDoor(t)
	r := d.bearer(d.token(t))
	first, err := d.chain.Authenticate(r)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := d.chain.Authenticate(r); again != first {
		t.Error("the token is verified again")
	}
	d.stripes.Of(serviceaccount.Pods, "ns", "app-5d8f9c7b6d-abcde").Bump()
	if again, _ := d.chain.Authenticate(r); again == first {
		t.Error("the answer outlives a change of the pod")
	}
}

func BenchmarkChain(b *testing.B) {
	d := newDoor(b)
	token := d.token(b)
	for _, bm := range []struct {
		name string
		r    *http.Request
	}{
		{"certificate", d.withCert()},
		{"pod token", d.bearer(token)},
		{"static token", d.bearer("hunter2")},
		{"anonymous", httptest.NewRequest("GET", "/", nil)},
		{"unknown JWT", d.bearer(token + "AAAA")},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.chain.Authenticate(bm.r)
			}
		})
	}
	b.Run("new connection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := d.withCert()
			d.chain.Authenticate(r)
		}
	})
	b.Run("pod token after ten seconds", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.sa.VerifyToken(b.Context(), token, nil)
		}
	})
	b.Run("pod token first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			fresh := d.token(b)
			b.StartTimer()
			d.sa.VerifyToken(b.Context(), fresh, nil)
		}
	})
}
