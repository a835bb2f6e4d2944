package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/bench/upstream"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/pki"
)

// credentials compares finding out who sent a request, without what stands
// around it in a server.
func credentials(t *measure.Table) (err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBooth(dir)
	if err != nil {
		return err
	}
	t.Section("Authenticating one request (upstream: its authenticators, in kube-apiserver's order)")
	for _, c := range b.cases() {
		if err := b.check(c.ours(), c.name, c.want); err != nil {
			return err
		}
		ours, theirs, ratio := measure.Both(
			func(n int) {
				for range n {
					_, _ = b.ours.Authenticate(c.ours())
				}
			},
			func(n int) {
				for range n {
					_, _, _ = b.theirs.Request.AuthenticateRequest(c.theirs())
				}
			})
		t.Relative(c.name, ours, theirs, ratio, c.target)
	}
	return nil
}

// A booth has the authenticators of both sides.
type booth struct {
	ours   authn.Authenticator
	theirs *upstream.Authenticators
	cert   *x509.Certificate
	long   string
}

// A known verifier stands for that of service account tokens, on our side as
// the map does on upstream's: the table in front of it is what is measured.
type known map[string]*authn.Result

func (k known) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	if res, ok := k[token]; ok {
		return res, nil
	}
	return nil, authn.ErrNoCredential
}

func newBooth(dir string) (*booth, error) {
	authority, err := pki.OpenAuthority(dir, "ca", "bench")
	if err != nil {
		return nil, err
	}
	issued, err := authority.IssueClient(pki.Client{CommonName: caller, Groups: []string{"dev"}, Lifetime: time.Hour})
	if err != nil {
		return nil, err
	}
	b := &booth{cert: issued.Certificate, long: strings.Repeat("0123456789abcdef", 64)}
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(staticToken+","+caller+",1\n"), 0o600); err != nil {
		return nil, err
	}
	bundle, err := clientcert.OpenBundle(filepath.Join(dir, "ca.crt"), nil)
	if err != nil {
		return nil, err
	}
	static, err := statictoken.Open(statictoken.Config{Path: tokens, Key: bytes.Repeat([]byte("k"), 32), Audiences: []string{issuer}})
	if err != nil {
		return nil, err
	}
	table, err := verified.NewTable[*authn.Result](1 << 14)
	if err != nil {
		return nil, err
	}
	who := &identity.Identity{Name: "system:serviceaccount:default:bench", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}}
	until := time.Now().Add(time.Hour)
	b.ours = authn.OrAnonymous(authn.Chain(
		clientcert.New(bundle),
		authn.Bearer(verified.Tokens(table, authn.AnyBearer, authn.Tokens(static,
			known{b.long: {Identity: who, Audiences: []string{issuer}, Until: until}}))),
	), anonymous.New())
	c := &upstream.Credentials{
		Roots: bundle.Pool(), TokenFile: tokens, Audiences: authenticator.Audiences{issuer},
		Accounts: map[string]*identity.Identity{b.long: who},
	}
	b.theirs, err = c.Build()
	return b, err
}

type credential struct {
	name, want   string
	ours, theirs func() *http.Request
	target       float64
}

func (b *booth) cases() []credential {
	same := func(r *http.Request) func() *http.Request { return func() *http.Request { return r } }
	request := func(header http.Header, chain ...*x509.Certificate) *http.Request {
		r := newCall(http.MethodGet, "/version", asJSON, nil, header)
		r.prepare()
		r.request.TLS = &tls.ConnectionState{PeerCertificates: chain}
		return r.request
	}
	// Upstream's takes the header out of the request, so it is put back.
	again := func(header http.Header) func() *http.Request {
		r := request(header)
		return func() *http.Request {
			r.Header["Authorization"] = header["Authorization"]
			return r
		}
	}
	cert := request(nil, b.cert)
	fresh := func() *http.Request {
		return cert.WithContext(authn.WithConn(context.Background(), new(authn.Conn)))
	}
	static, long, bad := bearer(staticToken), bearer(b.long), bearer("nobody-knows-this-one")
	return []credential{
		{"static token", caller, again(static), again(static), 1},
		{"cached token of 1 KiB", "system:serviceaccount:default:bench", again(long), again(long), 1},
		{"client certificate, same connection", caller, same(cert), same(cert), 1},
		// Both verify it: what the connection remembers is all there is.
		{"client certificate, new connection", caller, fresh, fresh, 0},
		{"no credential", identity.Anonymous, same(request(nil)), same(request(nil)), 1},
		{"unknown token, refused", "", again(bad), again(bad), 1},
	}
}

// check compares what both sides say about a request.
func (b *booth) check(r *http.Request, name, want string) error {
	ours, theirs := "", ""
	if res, err := b.ours.Authenticate(r); err == nil {
		ours = res.Identity.Name
	}
	if res, ok, err := b.theirs.Request.AuthenticateRequest(r); err == nil && ok {
		theirs = res.User.GetName()
	}
	if ours != want || theirs != want {
		return fmt.Errorf("%s: %w: ours says %q, upstream %q, and it is %q", name, errors.New("wrong answer"), ours, theirs, want)
	}
	return nil
}
