package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/bench/upstream"
	"gatehouse.dev/gatehouse/identity"
)

const (
	// audience is that of the issuers' tokens.
	audience = "gatehouse"
	// population is how many tokens are remembered, and atOnce how many are used
	// in turn where all of them need not be.
	population = 10_000
	atOnce     = 64
	// few is the size of a table that has forgotten a token when its turn comes
	// again: of one bucket, as a token that has a place for itself would stay.
	few = 1
)

// issuerURL is that of one of several issuers.
func issuerURL(n int) string { return fmt.Sprintf("https://issuer-%d.example.org", n) }

// A booth has all authenticators of both sides, as servers assemble them.
type booth struct {
	ours   authn.Authenticator
	theirs *upstream.Authenticators

	dir                 string
	rs, es              *signer
	rsCert, esCert      *x509.Certificate // of clients
	stranger            *x509.Certificate // of nobody's
	proxy               *x509.Certificate
	clients, proxies    string // files of CA certificates
	clientCAs, proxyCAs *x509.CertPool
	// accounts are tokens that both sides look up in a map: the verifier of them
	// cannot be imported, and it stands behind the tables that are measured.
	accounts map[string]*identity.Identity
}

// A known verifier stands for that of service account tokens, on our side as
// the map does on upstream's.
type known map[string]*authn.Result

var errNobody = authn.Pass(identity.ServiceAccount, "not in the map")

func (k known) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	if res, ok := k[token]; ok {
		return res, nil
	}
	return nil, errNobody
}

// everything that a token rests on exists, and costs nothing to find.
type everything struct{ object *serviceaccount.Object }

func (e everything) Object(context.Context, string, string, string) (*serviceaccount.Object, error) {
	return e.object, nil
}

// newBooth makes the keys, certificates and files.
func newBooth(dir string) (*booth, error) {
	b := &booth{dir: dir, accounts: map[string]*identity.Identity{}}
	var err error
	if b.rs, b.es, err = newSigners(); err != nil {
		return nil, err
	}
	var clients, proxies []*x509.Certificate
	for _, c := range []struct {
		leaf **x509.Certificate
		key  crypto.Signer
		name string
		in   *[]*x509.Certificate
	}{
		{&b.rsCert, b.rs.key, "clients RSA", &clients}, {&b.esCert, b.es.key, "clients ECDSA", &clients},
		{&b.stranger, b.es.key, "strangers", nil}, {&b.proxy, b.es.key, "proxies", &proxies},
	} {
		root, err := issue(c.name, true, nil, c.key)
		if err != nil {
			return nil, err
		}
		if *c.leaf, err = issue(caller, false, root, c.key); err != nil {
			return nil, err
		}
		if c.in != nil {
			*c.in = append(*c.in, root)
		}
	}
	if b.clients, b.clientCAs, err = b.write("clients.crt", clients); err != nil {
		return nil, err
	}
	b.proxies, b.proxyCAs, err = b.write("proxies.crt", proxies)
	return b, err
}

// issue returns a certificate, signed by itself if it has no parent. All keys
// are one: nobody compares them.
func issue(name string, authority bool, parent *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"dev", "ops"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: authority, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if authority {
		c.KeyUsage, c.ExtKeyUsage, c.Subject.Organization = x509.KeyUsageCertSign, nil, nil
	}
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// write writes certificates to a file.
func (b *booth) write(name string, certs []*x509.Certificate) (string, *x509.CertPool, error) {
	pool, text := x509.NewCertPool(), []byte(nil)
	for _, c := range certs {
		pool.AddCert(c)
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	path := filepath.Join(b.dir, name)
	return path, pool, os.WriteFile(path, text, 0o600)
}

// build assembles both sides with so many issuers. Remember is how many tokens
// ours remembers; if they are few, upstream's cache is forgetful as well.
func (b *booth) build(tokenFile string, issuers, remember int) error {
	c := upstream.Credentials{
		Roots: b.clientCAs, Proxies: b.proxyCAs, TokenFile: tokenFile, Audiences: authenticator.Audiences{issuer},
		Accounts: b.accounts, Forgetful: remember == few,
	}
	keys := []jose.JSONWebKey{{KeyID: b.rs.id, Key: b.rs.key.Public()}, {KeyID: b.es.id, Key: b.es.key.Public()}}
	for i := range issuers {
		c.Issuers = append(c.Issuers, upstream.Issuer{URL: issuerURL(i), Audience: audience, Keys: keys, Algorithms: []string{"RS256", "ES256"}})
	}
	var err error
	if b.theirs, err = c.Build(); err != nil {
		return fmt.Errorf("building upstream's authenticators: %w", err)
	}
	if b.ours, err = b.buildOurs(tokenFile, issuers, remember); err != nil {
		return fmt.Errorf("building our authenticators: %w", err)
	}
	return nil
}

// buildOurs does what internal/server does, with more verifiers behind the others.
func (b *booth) buildOurs(tokenFile string, issuers, remember int, more ...authn.TokenVerifier) (authn.Authenticator, error) {
	clients, err := clientcert.OpenBundle(b.clients, nil)
	if err != nil {
		return nil, err
	}
	proxies, err := clientcert.OpenBundle(b.proxies, nil)
	if err != nil {
		return nil, err
	}
	proxy, err := frontproxy.New(frontproxy.Config{CA: proxies, ClientCAs: []*clientcert.Bundle{clients}, Headers: frontproxy.Headers{
		Username: []string{"X-Remote-User"}, UID: []string{"X-Remote-Uid"}, Groups: []string{"X-Remote-Group"}, ExtraPrefixes: []string{"X-Remote-Extra-"},
	}})
	if err != nil {
		return nil, err
	}
	static, err := statictoken.Open(statictoken.Config{Path: tokenFile, Key: bytes.Repeat([]byte("k"), 32), Audiences: []string{issuer}})
	if err != nil {
		return nil, err
	}
	keys, err := serviceaccount.NewKeys(b.rs.key.Public(), b.es.key.Public())
	if err != nil {
		return nil, err
	}
	stripes := authn.NewStripes()
	accounts, err := serviceaccount.New(serviceaccount.Config{
		Issuers: []string{issuer}, Keys: keys, Objects: everything{&serviceaccount.Object{UID: "00000000-0000-0000-0000-000000000000"}}, Stripes: stripes, Remember: remember,
	})
	if err != nil {
		return nil, err
	}
	people, err := b.issuers(issuers)
	if err != nil {
		return nil, err
	}
	table, err := verified.NewResults(remember)
	if err != nil {
		return nil, err
	}
	all := append([]authn.TokenVerifier{static, b.stand(stripes), accounts, people}, more...)
	tokens := authn.Shortcut(static, verified.Tokens(table, authn.AnyBearer, authn.Tokens(all...)))
	return authn.OrAnonymous(
		authn.Chain(proxy, clientcert.New(clients), authn.Bearer(tokens), authn.WebSocket(tokens)),
		anonymous.New(),
	), nil
}

// stand returns what stands for the verifier of service account tokens. Its
// results rest on what that one's rest on.
func (b *booth) stand(stripes *authn.Stripes) known {
	k := known{}
	until, keys := time.Now().Add(time.Hour), new(authn.Generation)
	for token, found := range b.accounts {
		who := *found
		who.Groups = identity.WithAuthenticated(who.Name, who.Groups)
		k[token] = &authn.Result{Identity: &who, Audiences: []string{issuer}, Until: until, Rests: []authn.Stamp{
			keys.Stamp(), stripes.Of(serviceaccount.ServiceAccounts, "default", who.Name).Stamp(),
			stripes.Of(serviceaccount.Pods, "default", who.UID).Stamp(),
		}}
	}
	return k
}

func (b *booth) issuers(n int) (*jwt.Verifier, error) {
	keys := new(jwt.Keys)
	if _, err := keys.Replace(jwt.Key{ID: b.rs.id, Public: b.rs.key.Public()}, jwt.Key{ID: b.es.id, Public: b.es.key.Public()}); err != nil {
		return nil, err
	}
	mapping := jwt.Mapping{UsernameClaim: "sub", GroupsClaim: "groups"}
	all := make([]jwt.Issuer, n)
	for i := range all {
		all[i] = jwt.Issuer{
			URL: issuerURL(i), Audiences: []string{audience}, Algorithms: []string{"RS256", "ES256"}, Keys: keys,
			Identify: mapping.Identify,
		}
	}
	return jwt.New([]string{issuer}, all...)
}
