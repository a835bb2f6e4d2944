package requests_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apiserver/pkg/authentication/group"
	upstream "k8s.io/apiserver/pkg/authentication/request/x509"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
)

// Rows of the page about client certificates.
const (
	caAsLeaf   = "a certificate of a CA as a client certificate"
	noName     = "a client certificate with an empty common name"
	tooLarge   = "more than 10 certificates or 64 KiB of them, or RSA keys of more than 8192 bits"
	emptyGroup = "an empty organization in a client certificate"
)

// TestCertificates presents generated chains, nearly all of which are right but
// for one thing.
func TestCertificates(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	var text []byte
	for _, c := range w.trusted {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	bundle, err := clientcert.OpenBundle(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	our := clientcert.New(bundle)
	opts := upstream.DefaultVerifyOptions()
	opts.Roots = bundle.Pool()
	their := group.NewAuthenticatedGroupAdder(upstream.New(opts, upstream.CommonNameUserConversion))

	seen := differences{}
	w.Rand = random(t)
	n := 25_000
	if nightly() {
		n = 120_000
	}
	for range n {
		certs := w.next()
		if certs == nil {
			seen["the same: no certificate to crypto/x509"]++
			continue
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: certs}
		r = r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
		compareCertificates(t, w, seen, our, their, r)
	}
	seen.seen(t, caAsLeaf, noName, tooLarge, emptyGroup)
	for what, least := range map[string]int{"the same": n / 2, "the same, accepted": n / 5} {
		if seen[what] < least || seen[what] > n*19/20 {
			t.Errorf("%d of %d are %s: the chains are one-sided", seen[what], n, what)
		}
	}
}

func compareCertificates(t *testing.T, w *workshop, seen differences, our authn.Authenticator, their requestAuthenticator, r *http.Request) {
	t.Helper()
	certs := r.TLS.PeerCertificates
	a := ours(our.Authenticate(r))
	b := theirs(their.AuthenticateRequest(r))
	if again := ours(our.Authenticate(r)); !same(a, again) {
		t.Fatalf("%v: asked again on the same connection: %v", a, again)
	}
	leaf, why := certs[0], ""
	switch {
	case slices.Contains(b.Groups, "") && !a.Refused:
		b.Groups = slices.DeleteFunc(slices.Clone(b.Groups), func(g string) bool { return g == "" })
		seen[emptyGroup]++
	case leaf.IsCA || slices.ContainsFunc(w.trusted, leaf.Equal):
		why = caAsLeaf
	case large(certs):
		why = tooLarge
	case leaf.Subject.CommonName == "":
		why = noName
	}
	seen.check(t, describe(certs), a, b, why)
}

func large(certs []*x509.Certificate) bool {
	size := 0
	for _, c := range certs {
		size += len(c.Raw)
	}
	return len(certs) > 10 || size > 64<<10 || slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return len(c.RawSubjectPublicKeyInfo) > 1100 })
}

// describe shows a chain so that it can be looked at.
func describe(certs []*x509.Certificate) string {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}
