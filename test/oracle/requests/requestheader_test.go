package requests_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	upstream "k8s.io/apiserver/pkg/authentication/request/x509"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/frontproxy"
)

func sign(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.NotBefore = big.NewInt(1), time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// A yard is a CA and certificates that it, or somebody else, has signed.
type yard struct {
	bundle *clientcert.Bundle
	certs  map[string][]*x509.Certificate
}

func newYard(t testing.TB) *yard {
	t.Helper()
	var cas []*x509.Certificate
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root", "stranger"} {
		template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		cas = append(cas, sign(t, template, template, key))
	}
	leaf := func(ca *x509.Certificate, name string, change func(*x509.Certificate)) []*x509.Certificate {
		template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if change != nil {
			change(template)
		}
		return []*x509.Certificate{sign(t, template, ca, key)}
	}
	strangerKey, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strangeCA := &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	strangeCA = sign(t, strangeCA, strangeCA, strangerKey)
	y := &yard{certs: map[string][]*x509.Certificate{
		"none": nil, "proxy": leaf(cas[0], "proxy", nil), "other": leaf(cas[0], "other", nil), "nameless": leaf(cas[0], "", nil),
		"expired":  leaf(cas[0], "proxy", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"server":   leaf(cas[0], "proxy", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"stranger": {sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "proxy"}}, strangeCA, strangerKey)},
	}}
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cas[0].Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if y.bundle, err = clientcert.OpenBundle(path, nil); err != nil {
		t.Fatal(err)
	}
	return y
}

func anyText(r *rand.Rand) string {
	return pick(r, "jane", "joe", "", "system:anonymous", "system:masters", "system:unauthenticated", "a,b", "käse", " ", "\xff")
}

// proxyHeader is what a proxy, or a forger, may send.
func proxyHeader(r *rand.Rand) http.Header {
	h := http.Header{}
	names := []string{
		"X-Remote-User", "X-Remote-User", "x-remote-user", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Group", "X-Remote-Extra-Scopes",
		"X-Remote-Extra-Example.org%2fKey", "X-Remote-Extra-%zz", "X-Remote-Extra-%ff", "X-Remote-Extra-", "X-Remote-Extra-%41", "X_Remote_User",
		"Auth-User", "Auth-Group", "Auth-Extra-A", "Auth-Extra-A-B", "Impersonate-User", "Authorization",
	}
	for range r.IntN(8) {
		h.Add(names[r.IntN(len(names))], anyText(r))
	}
	if r.IntN(20) == 0 {
		h["x-remote-user"] = []string{"raw"} // no server makes such a key
	}
	return h
}

func TestRequestHeader(t *testing.T) {
	t.Parallel()
	standard := frontproxy.Headers{
		Username: []string{"X-Remote-User"}, UID: []string{"X-Remote-Uid"}, Groups: []string{"X-Remote-Group"}, ExtraPrefixes: []string{"X-Remote-Extra-"},
	}
	several := frontproxy.Headers{
		Username: []string{"auth-user", "x-remote-user"}, Groups: []string{"Auth-Group", "x-remote-group"}, ExtraPrefixes: []string{"auth-extra-", "auth-extra-a-"},
	}
	y := newYard(t)
	for name, c := range map[string]struct {
		headers frontproxy.Headers
		allowed []string
	}{
		"standard": {standard, nil}, "names": {standard, []string{"proxy", "third"}}, "several": {several, []string{"proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			our, err := frontproxy.New(frontproxy.Config{CA: y.bundle, AllowedNames: c.allowed, Headers: c.headers})
			if err != nil {
				t.Fatal(err)
			}
			opts := upstream.DefaultVerifyOptions()
			opts.Roots = y.bundle.Pool()
			their := group.NewAuthenticatedGroupAdder(headerrequest.NewDynamicVerifyOptionsSecure(upstream.StaticVerifierFn(opts),
				headerrequest.StaticStringSlice(c.allowed), headerrequest.StaticStringSlice(c.headers.Username), headerrequest.StaticStringSlice(c.headers.UID),
				headerrequest.StaticStringSlice(c.headers.Groups), headerrequest.StaticStringSlice(c.headers.ExtraPrefixes)))
			compareProxies(t, y, c.headers, our, their)
		})
	}
}

// Rows of the page about headers that name somebody.
const (
	givenTwice = "`Impersonate-User`, `Impersonate-Uid`, or a proxy's header of the user or UID, given twice"
	notUnicode = "a name, UID, group or extra attribute of an impersonation or a proxy that is not UTF-8"
	noUser     = "an `Impersonate-*` header without a user name, also an empty `Impersonate-User` alone"
	unknown    = "an unknown `Impersonate-*` header, or one with underscores"
)

func compareProxies(t *testing.T, y *yard, headers frontproxy.Headers, our authn.Authenticator, their requestAuthenticator) {
	r, seen := random(t), differences{}
	conns := make(map[string]*authn.Conn)
	for name := range y.certs {
		conns[name] = new(authn.Conn)
	}
	for range rounds() / 2 {
		h := proxyHeader(r)
		which := pick(r, "proxy", "proxy", "proxy", "proxy", "proxy", "proxy", "proxy", "none", "other", "nameless", "expired", "server", "stranger")
		request := func() *http.Request {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header = h.Clone()
			r.TLS = &tls.ConnectionState{PeerCertificates: y.certs[which]}
			return r.WithContext(authn.WithConn(r.Context(), conns[which]))
		}
		a := ours(our.Authenticate(request()))
		theirRequest := request()
		b := theirs(their.AuthenticateRequest(theirRequest))
		why := ""
		switch {
		case a.Refused && !b.Refused && twice(h, append(headers.Username, headers.UID...)):
			why = givenTwice
		case a.Refused && b.Name != "" && !isText(b):
			why = notUnicode
		case a.Name != "" && a.Name == b.Name && sameButOrder(a, b):
			a = b // they have no order where two headers are one key
		}
		seen.check(t, h, a, b, why)
		if b.Name != "" {
			for name := range theirRequest.Header {
				// What they keep of a name they would keep too.
				delete(h, name)
			}
			for name := range h {
				if !headers.Claims(name) {
					t.Fatalf("they remove %q and we would not", name)
				}
			}
		}
	}
	seen.seen(t, givenTwice, notUnicode)
}

func twice(h http.Header, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return len(h[http.CanonicalHeaderKey(n)]) > 1 })
}

func isText(o outcome) bool {
	all := append([]string{o.Name, o.UID}, o.Groups...)
	for key, values := range o.Extra {
		all = append(append(all, key), values...)
	}
	return utf8.ValidString(strings.Join(all, ""))
}

// sameButOrder compares the values of each key as sets.
func sameButOrder(a, b outcome) bool {
	sorted := func(o outcome) outcome {
		extra := make(map[string][]string)
		for key, values := range o.Extra {
			extra[key] = slices.Sorted(slices.Values(values))
		}
		o.Extra = extra
		return o
	}
	return same(sorted(a), sorted(b))
}
