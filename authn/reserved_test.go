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
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/authn/password"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/oidc"
)

// A login presents a user and groups by one kind of credential, to the chain
// that a server would ask.
type login func(t *testing.T, user string, groups []string) (*authn.Result, error)

// asked asks a chain of one link, as a server does.
func asked(a authn.Authenticator, r *http.Request) (*authn.Result, error) {
	return authn.Chain(a).Authenticate(r)
}

func bearer(v authn.TokenVerifier, token string) (*authn.Result, error) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return asked(authn.Bearer(v), r)
}

// TestReservedNames holds every source to what it may name: an issuer of people
// must make no masters, nodes or controllers, and a source that may still never
// makes a user without a name.
func TestReservedNames(t *testing.T) {
	type source struct {
		login login
		// may is whether it may name what begins with system:, and implied
		// whether it may say that who is let in is in system:authenticated.
		may, implied bool
	}
	ca := newAuthority(t)
	sources := map[string]source{
		"client certificate":       {ca.client, true, true},
		"token file":               {tokenFile, true, true},
		"hashed token file":        {hashedTokenFile, true, true},
		"front proxy":              {ca.proxy, true, true},
		"password file":            {passwordFile, false, false},
		"JWT":                      {mapped{}.login, false, false},
		"JWT, other names allowed": {mapped{reserved: []string{"system:other", "system:"}}.login, false, false},
		"JWT, groups elsewhere":    {mapped{elsewhere: true}.login, false, false},
		"JWT, all names allowed": {mapped{reserved: []string{
			"system:admin", "system:masters", "system:nodes", "system:anonymous", "system:serviceaccount:ns:a", "system:authenticated", "system:unauthenticated", "system:x",
		}}.login, true, true},
		"webhook":                      {hooked{}.login, false, true},
		"webhook, other names allowed": {hooked{"system:other", "system:m*", "system:a:*"}.login, false, true},
		"webhook, all names allowed": {hooked{
			"system:admin", "system:masters", "system:node*", "system:serviceaccount:*", "system:x",
		}.login, true, true},
	}
	logins := []struct {
		user     string
		groups   []string
		reserved bool
	}{
		{"jane", nil, false},
		{"jane", []string{"dev", "ops"}, false},
		{"systemic", []string{"System:masters", "asystem:masters"}, false},
		{"system:admin", nil, true},
		{"system:serviceaccount:ns:a", []string{"dev"}, true},
		{"system:anonymous", nil, true},
		{"jane", []string{"system:masters"}, true},
		{"jane", []string{"dev", "system:masters"}, true},
		{"jane", []string{"system:nodes", "dev"}, true},
		{"jane", []string{"system:authenticated"}, true},
		{"jane", []string{"system:unauthenticated"}, true},
		{"jane", []string{"dev", "system:x"}, true},
		{"", nil, false},
		{"", []string{"dev"}, false},
		{"", []string{"system:masters"}, true},
	}
	for name, s := range sources {
		for _, l := range logins {
			t.Run(fmt.Sprintf("%s/%s%v", name, l.user, l.groups), func(t *testing.T) {
				res, err := s.login(t, l.user, slices.Clone(l.groups))
				implied := s.implied && slices.Equal(l.groups, []string{identity.GroupAuthenticated})
				if l.user == "" || l.reserved && !s.may && !implied {
					if err == nil {
						t.Fatalf("gets in as %q of %q", res.Identity.Name, res.Identity.Groups)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				// Never less either: a group that is only dropped would change
				// what a deny rule or an audit reader sees.
				for _, g := range l.groups {
					if !res.Identity.InGroup(g) {
						t.Errorf("the group %q is missing in %q", g, res.Identity.Groups)
					}
				}
				authenticated := l.user != "system:anonymous" && !slices.Contains(l.groups, "system:unauthenticated")
				if res.Identity.Name != l.user || res.Identity.InGroup("system:authenticated") != authenticated {
					t.Errorf("is %q of %q", res.Identity.Name, res.Identity.Groups)
				}
			})
		}
	}
}

func tokenFile(t *testing.T, user string, groups []string) (*authn.Result, error) {
	path := filepath.Join(t.TempDir(), "tokens.csv")
	line := fmt.Sprintf("secret,%s,1,%q\n", user, strings.Join(groups, ","))
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := statictoken.Open(statictoken.Config{Path: path, Key: bytes.Repeat([]byte("k"), 32)})
	if err != nil {
		return nil, err // the file is refused as a whole
	}
	return bearer(v, "secret")
}

// A hooked login is by a webhook that may give the names.
type hooked []string

func (h hooked) login(t *testing.T, user string, groups []string) (*authn.Result, error) {
	if slices.Contains(h, identity.GroupMasters) && (user == identity.Anonymous || slices.Contains(groups, identity.GroupUnauthenticated)) {
		t.Skip("not even the configuration can allow a webhook to name nobody")
	}
	var answer authenticationv1.TokenReview
	answer.Status.Authenticated = true
	answer.Status.User = authenticationv1.UserInfo{Username: user, Groups: groups}
	v, err := webhook.New(webhook.Config{Version: "v1", Reserved: h, Ask: func(_ context.Context, _ []byte, read func([]byte) error) error {
		text, err := json.Marshal(&answer)
		if err != nil {
			return err
		}
		return read(text)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return bearer(v, "secret")
}

func hashedTokenFile(t *testing.T, user string, groups []string) (*authn.Result, error) {
	path, token := filepath.Join(t.TempDir(), "tokens"), statictoken.NewToken()
	hash := sha256.Sum256([]byte(token))
	line := fmt.Sprintf("name sha256:%x user=%q", hash, user)
	for _, g := range groups {
		line += fmt.Sprintf(" group=%q", g)
	}
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := statictoken.OpenHashed(statictoken.Config{Path: path, Key: bytes.Repeat([]byte("k"), 32)})
	if err != nil {
		return nil, err // the file is refused as a whole
	}
	return bearer(v, token)
}

func passwordFile(t *testing.T, user string, groups []string) (*authn.Result, error) {
	path := filepath.Join(t.TempDir(), "passwords.csv")
	line := fmt.Sprintf("secret,%s,1,%q\n", user, strings.Join(groups, ","))
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := password.OpenCSV(path, nil)
	if err != nil {
		return nil, err // the file is refused as a whole
	}
	a, err := password.New(source)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, "secret")
	return asked(a, r)
}

// A mapped issuer is one whose tokens name users and groups as they are.
type mapped struct {
	reserved  []string
	elsewhere bool
}

func (m mapped) login(t *testing.T, user string, groups []string) (*authn.Result, error) {
	p := oidc.New(t, "https://issuer.example.org")
	keys := new(jwt.Keys)
	if _, err := keys.Replace(jwt.Key{ID: "k1", Public: p.Keys[0].Signer.Public()}); err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"sub": user, "groups": groups}
	kept := p.Token(t, "a", map[string]any{"groups": groups})
	if m.elsewhere {
		claims = map[string]any{
			"sub": user, "_claim_names": map[string]string{"groups": "s"},
			"_claim_sources": map[string]any{"s": map[string]string{"endpoint": p.Issuer + "/groups"}},
		}
	}
	v, err := jwt.New(nil, jwt.Issuer{
		URL: p.Issuer, Audiences: []string{"a"}, Algorithms: []string{"ES256"}, Keys: keys, Reserved: m.reserved,
		Identify:    jwt.Mapping{UsernameClaim: "sub", GroupsClaim: "groups"}.Identify,
		Distributed: "groups", Fetch: func(context.Context, string, string) (string, error) { return kept, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := verified.NewResults(8)
	if err != nil {
		t.Fatal(err)
	}
	return bearer(verified.Tokens(table, authn.AnyBearer, v), p.Token(t, "a", claims))
}

// An authority signs certificates of clients and of proxies.
type authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	bundle *clientcert.Bundle
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if a.bundle, err = clientcert.OpenBundle(path, nil); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(t *testing.T, c *x509.Certificate) *x509.Certificate {
	t.Helper()
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) request(t *testing.T, subject pkix.Name) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	leaf := a.sign(t, &x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	return r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
}

func (a *authority) client(t *testing.T, user string, groups []string) (*authn.Result, error) {
	return asked(clientcert.New(a.bundle), a.request(t, pkix.Name{CommonName: user, Organization: groups}))
}

func (a *authority) proxy(t *testing.T, user string, groups []string) (*authn.Result, error) {
	p, err := frontproxy.New(frontproxy.Config{CA: a.bundle, Headers: frontproxy.Headers{Username: []string{"X-Remote-User"}, Groups: []string{"X-Remote-Group"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := a.request(t, pkix.Name{CommonName: "proxy"})
	r.Header["X-Remote-User"], r.Header["X-Remote-Group"] = []string{user}, groups
	return asked(p, r)
}
