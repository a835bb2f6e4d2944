package externaljwt_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	v1 "k8s.io/externaljwt/apis/v1"

	"gatehouse.dev/gatehouse/internal/externaljwt"
)

// A program is an external signer whose answers a test may spoil.
type program struct {
	v1.UnimplementedExternalJWTSignerServer

	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	keys    *v1.FetchKeysResponse
	header  string
	spoil   func(*v1.SignJWTResponse)
	longest int64
	fetches int
	down    error
}

func (p *program) Sign(_ context.Context, r *v1.SignJWTRequest) (*v1.SignJWTResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	header := base64.RawURLEncoding.EncodeToString([]byte(p.header))
	digest := sha256.Sum256([]byte(header + "." + r.Claims))
	a, b, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	a.FillBytes(raw[:32])
	b.FillBytes(raw[32:])
	answer := &v1.SignJWTResponse{Header: header, Signature: base64.RawURLEncoding.EncodeToString(raw)}
	if p.spoil != nil {
		p.spoil(answer)
	}
	return answer, p.down
}

func (p *program) FetchKeys(context.Context, *v1.FetchKeysRequest) (*v1.FetchKeysResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	return p.keys, p.down
}

func (p *program) Metadata(context.Context, *v1.MetadataRequest) (*v1.MetadataResponse, error) {
	return &v1.MetadataResponse{MaxTokenExpirationSeconds: p.longest}, nil
}

func (p *program) set(change func(*program)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func pkix(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// start starts a program that answers well.
func start(t *testing.T) (*program, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{key: key, longest: 3600, header: `{"alg":"ES256","kid":"one","typ":"JWT"}`, keys: &v1.FetchKeysResponse{
		Keys:          []*v1.Key{{KeyId: "one", Key: pkix(t, key.Public())}},
		DataTimestamp: timestamppb.Now(), RefreshHintSeconds: 300,
	}}
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	v1.RegisterExternalJWTSignerServer(server, p)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return p, socket
}

// counts is a watcher.
type counts struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *counts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[what]++
}

func (c *counts) Called(method, code string, _ time.Duration) {
	c.add(method[strings.LastIndexByte(method, '/')+1:] + " " + code)
}
func (c *counts) Fetched(err error, _ time.Time) { c.add("fetched " + externaljwt.Code(err)) }
func (c *counts) Signed(err error)               { c.add("signed " + externaljwt.Code(err)) }

func dial(t *testing.T, socket string, take func([]externaljwt.Key) error) (*externaljwt.Signer, *counts, error) {
	t.Helper()
	if take == nil {
		take = func([]externaljwt.Key) error { return nil }
	}
	c := &counts{all: map[string]int{}}
	s, err := externaljwt.Dial(t.Context(), socket, take, c, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, c, err
}

func TestSign(t *testing.T) {
	p, socket := start(t)
	s, c, err := dial(t, socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Longest != time.Hour {
		t.Errorf("it signs for %v", s.Longest)
	}
	hidden, other := pkix(t, p.key.Public()), pkix(t, mustKey(t).Public())
	p.set(func(p *program) {
		p.keys.Keys = append(p.keys.Keys, &v1.Key{KeyId: "hidden", Key: hidden, ExcludeFromOidcDiscovery: true}, &v1.Key{KeyId: "other", Key: other})
	})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := p.header
	for _, tt := range []struct {
		name, header string
		spoil        func(*v1.SignJWTResponse)
		want         string // the refusal, if any
	}{
		{"good", good, nil, ""},
		{"no type", `{"alg":"ES256","kid":"one"}`, nil, "bad type"},
		{"other type", `{"alg":"ES256","kid":"one","typ":"at+jwt"}`, nil, "bad type"},
		{"no key", `{"alg":"ES256","typ":"JWT"}`, nil, "key id missing"},
		{"long key", `{"alg":"ES256","kid":"` + strings.Repeat("k", 1025) + `","typ":"JWT"}`, nil, "key id longer than 1 kb"},
		{"none", `{"alg":"none","kid":"one","typ":"JWT"}`, nil, `bad signing algorithm "none"`},
		{"HS256", `{"alg":"HS256","kid":"one","typ":"JWT"}`, nil, `bad signing algorithm "HS256"`},
		{"RS512", `{"alg":"RS512","kid":"one","typ":"JWT"}`, nil, `bad signing algorithm "RS512"`},
		{"no algorithm", `{"kid":"one","typ":"JWT"}`, nil, `bad signing algorithm ""`},
		{"algorithm of another key", `{"alg":"RS256","kid":"one","typ":"JWT"}`, nil, "does not sign with RS256"},
		{"more", `{"alg":"ES256","kid":"one","typ":"JWT","jku":"https://evil"}`, nil, "while parsing header JSON"},
		{"critical", `{"alg":"ES256","kid":"one","typ":"JWT","crit":["b64"]}`, nil, "while parsing header JSON"},
		{"no JSON", `{`, nil, "while parsing header JSON"},
		{"more after it", good + "{}", nil, "while parsing header JSON"},
		{"twice", `{"alg":"none","alg":"ES256","kid":"one","typ":"JWT"}`, nil, "duplicate field"},
		{"unknown key", `{"alg":"ES256","kid":"two","typ":"JWT"}`, nil, "is not among the keys of the signer"},
		{"hidden key", `{"alg":"ES256","kid":"hidden","typ":"JWT"}`, nil, "is excluded from OIDC discovery docs"},
		{"signature of another key", `{"alg":"ES256","kid":"other","typ":"JWT"}`, nil, "while verifying what the signer returned"},
		{"no signature", good, func(r *v1.SignJWTResponse) { r.Signature = "" }, "empty signature returned"},
		{"signature that is none", good, func(r *v1.SignJWTResponse) { r.Signature = "!!" }, "while verifying what the signer returned"},
		{"four parts", good, func(r *v1.SignJWTResponse) { r.Signature += ".x" }, "while verifying what the signer returned"},
		{"padded header", good, func(r *v1.SignJWTResponse) { r.Header += "=" }, "while unwrapping header"},
	} {
		p.set(func(p *program) { p.header, p.spoil = tt.header, tt.spoil })
		token, err := s.Sign(t.Context(), map[string]string{"sub": "x"})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || token != "") {
			t.Errorf("%s: %q, %v, want %q", tt.name, token, err, tt.want)
		}
	}
	p.set(func(p *program) { p.down = errors.New("no HSM") })
	if _, err := s.Sign(t.Context(), map[string]string{}); err == nil || !strings.Contains(err.Error(), "no HSM") {
		t.Errorf("a signer that fails: %v", err)
	}
	if c.all["signed OK"] != 1 || c.all["signed Unknown"] != 1 || c.all["Sign Unknown"] != 1 || c.all["signed unknown-non-grpc"] != 21 {
		t.Errorf("counted %v", c.all)
	}
	set, algorithms, err := s.Published()
	if err != nil || strings.Contains(string(set), "hidden") || !strings.Contains(string(set), `"kid":"other"`) || fmt.Sprint(algorithms) != "[ES256]" {
		t.Errorf("published: %s, %v, %v", set, algorithms, err)
	}
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestDial(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := func(text string) func(*program) { return func(p *program) { p.keys.Keys[0].KeyId = text } }
	bytes := func(der []byte) func(*program) { return func(p *program) { p.keys.Keys[0].Key = der } }
	for name, tt := range map[string]struct {
		spoil func(*program)
		want  string
	}{
		"good":                   {func(*program) {}, ""},
		"longest ID":             {id(strings.Repeat("k", 1024)), ""},
		"no keys":                {func(p *program) { p.keys.Keys = nil }, "found no keys"},
		"no ID":                  {id(""), "found invalid public key id"},
		"ID too long":            {id(strings.Repeat("k", 1025)), "found invalid public key id"},
		"no key":                 {bytes(nil), "found empty public key"},
		"no PKIX":                {bytes([]byte("key")), "while parsing external public keys"},
		"weak":                   {bytes(pkix(t, weak.Public())), "2048"},
		"Edwards curve":          {bytes(pkix(t, edwards)), "must be RSA or ECDSA"},
		"two of one ID":          {func(p *program) { p.keys.Keys = append(p.keys.Keys, p.keys.Keys[0]) }, "two keys"},
		"no refresh hint":        {func(p *program) { p.keys.RefreshHintSeconds = 0 }, "found invalid refresh hint (0s)"},
		"negative refresh hint":  {func(p *program) { p.keys.RefreshHintSeconds = -1 }, "found invalid refresh hint (-1s)"},
		"no time":                {func(p *program) { p.keys.DataTimestamp = nil }, "invalid data timestamp"},
		"time out of range":      {func(p *program) { p.keys.DataTimestamp = &timestamppb.Timestamp{Nanos: -1} }, "invalid data timestamp"},
		"signs for too short":    {func(p *program) { p.longest = 599 }, "at most 599 seconds"},
		"signs for a negative":   {func(p *program) { p.longest = -1 }, "at most -1 seconds"},
		"signs just long enough": {func(p *program) { p.longest = 600 }, ""},
		"fails":                  {func(p *program) { p.down = errors.New("no HSM") }, "no HSM"},
	} {
		p, socket := start(t)
		tt.spoil(p)
		_, _, err := dial(t, socket, nil)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	_, socket := start(t)
	if _, _, err := dial(t, socket, func([]externaljwt.Key) error { return errors.New("not here") }); err == nil || !strings.Contains(err.Error(), "not here") {
		t.Errorf("keys that nobody verifies with: %v", err)
	}
}

// TestRefresh says that new keys come as the signer says, and that a signer that
// is away changes nothing; and that many who ask are one.
func TestRefresh(t *testing.T) {
	p, socket := start(t)
	p.keys.RefreshHintSeconds = 1
	var mu sync.Mutex
	var ids []string
	s, _, err := dial(t, socket, func(keys []externaljwt.Key) error {
		mu.Lock()
		defer mu.Unlock()
		ids = nil
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer stop()
	next := pkix(t, mustKey(t).Public())
	p.set(func(p *program) {
		p.keys = &v1.FetchKeysResponse{Keys: []*v1.Key{{KeyId: "two", Key: next}}, DataTimestamp: timestamppb.Now(), RefreshHintSeconds: 3600}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		mu.Lock()
		now := strings.Join(ids, " ")
		mu.Unlock()
		if now == "two" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the keys are %q", now)
		}
	}
	var before int
	p.set(func(p *program) { p.down, before = errors.New("away"), p.fetches })
	var asking sync.WaitGroup
	for range 1000 {
		asking.Go(func() {
			if err := s.Refresh(ctx); err == nil {
				t.Error("a signer that is away has told its keys")
			}
		})
	}
	asking.Wait()
	p.set(func(p *program) {
		if n := p.fetches - before; n > 3 {
			t.Errorf("asked %d times", n)
		}
	})
	if keys := s.Keys().All; len(keys) != 1 || keys[0].ID != "two" {
		t.Errorf("the keys in force are %v", keys)
	}
}
