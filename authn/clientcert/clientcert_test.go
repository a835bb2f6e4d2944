package clientcert_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/group"
	upstream "k8s.io/apiserver/pkg/authentication/request/x509"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/ladder"
)

var uid = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

func uids(values ...string) pkix.Name {
	n := pkix.Name{CommonName: "jane"}
	for _, v := range values {
		n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: uid, Value: v})
	}
	return n
}

// request is one on a connection of its own with the given certificates.
func request(certs ...*x509.Certificate) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: certs}
	return r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
}

// Each case goes to us and to Kubernetes. Differs says why the answers are not
// the same where they are not.
func TestAsUpstream(t *testing.T) {
	root, stranger := newCA(t, "root"), newCA(t, "stranger")
	middle := func() *ca {
		cert, key := root.issue(t, pkix.Name{CommonName: "middle"}, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		})
		return &ca{cert, key}
	}()
	bareRoot := newCA(t, "bare", func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false })
	leaf := func(by *ca, n pkix.Name, change ...func(*x509.Certificate)) *x509.Certificate {
		c, _ := by.issue(t, n, change...)
		return c
	}
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	jane := pkix.Name{CommonName: "jane", Organization: []string{"a", "b"}}
	tests := []struct {
		name    string
		certs   []*x509.Certificate
		err     string // "" if accepted
		differs string
	}{
		{"user and groups", []*x509.Certificate{leaf(root, jane)}, "", ""},
		{"through an intermediate", []*x509.Certificate{leaf(middle, jane), middle.cert}, "", ""},
		{"intermediate missing", []*x509.Certificate{leaf(middle, jane)}, "unknown authority", ""},
		{"no extended key usage", []*x509.Certificate{leaf(root, jane, usage())}, "", ""},
		{"any extended key usage", []*x509.Certificate{leaf(root, jane, usage(x509.ExtKeyUsageAny))}, "", ""},
		{"server certificate", []*x509.Certificate{leaf(root, jane, usage(x509.ExtKeyUsageServerAuth))}, "incompatible key usage", ""},
		{"stranger", []*x509.Certificate{leaf(stranger, jane)}, "unknown authority", ""},
		{"stranger with the CA beside it", []*x509.Certificate{leaf(stranger, jane), stranger.cert, root.cert}, "unknown authority", ""},
		{"expired", []*x509.Certificate{leaf(root, jane, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, "expired", ""},
		{"not yet valid", []*x509.Certificate{leaf(root, jane, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })}, "not yet valid", ""},
		{"system:masters", []*x509.Certificate{leaf(root, pkix.Name{CommonName: "root", Organization: []string{"system:masters"}})}, "", ""},
		{"a stranger by name", []*x509.Certificate{leaf(root, pkix.Name{CommonName: "system:anonymous", Organization: []string{"a"}})}, "", ""},
		{"already authenticated", []*x509.Certificate{leaf(root, pkix.Name{CommonName: "x", Organization: []string{"system:authenticated"}})}, "", ""},
		{"one UID", []*x509.Certificate{leaf(root, uids("u-1"))}, "", ""},
		{"two UIDs", []*x509.Certificate{leaf(root, uids("u-1", "u-2"))}, "expected 1 UID, but found multiple: [u-1 u-2]", ""},
		{"empty UID", []*x509.Certificate{leaf(root, uids(""))}, "UID cannot be an empty string", ""},
		{"CA certificate", []*x509.Certificate{root.cert}, "is a CA certificate", "accepts it"},
		{"intermediate CA certificate", []*x509.Certificate{middle.cert}, "is a CA certificate", "accepts it"},
		{"CA certificate that does not say so", []*x509.Certificate{bareRoot.cert}, "itself in the CA bundle", "accepts it"},
		{"no common name", []*x509.Certificate{leaf(root, pkix.Name{Organization: []string{"a"}})}, "no common name", "finds no credential"},
		{"eleven certificates", append([]*x509.Certificate{leaf(root, jane)}, many(stranger.cert, 10)...), "at most 10", "has no limit"},
		{"empty group", []*x509.Certificate{leaf(root, pkix.Name{CommonName: "jane", Organization: []string{"", "a"}})}, "", "keeps it"},
	}
	b, _ := bundle(t, nil, root.cert, bareRoot.cert)
	ours := clientcert.New(b)
	opts := upstream.DefaultVerifyOptions()
	opts.Roots = b.Pool()
	theirs := group.NewAuthenticatedGroupAdder(upstream.New(opts, upstream.CommonNameUserConversion))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := ours.Authenticate(request(tt.certs...))
			checkError(t, err, tt.err)
			checkWhy(t, err)
			resp, ok, theirErr := theirs.AuthenticateRequest(request(tt.certs...))
			if tt.differs == "" && (err == nil) != ok {
				t.Fatalf("error %v, upstream ok = %v, %v", err, ok, theirErr)
			}
			if err != nil && theirErr != nil && !strings.Contains(err.Error(), theirErr.Error()) {
				t.Errorf("error %q, upstream %q", err, theirErr)
			}
			if err != nil || tt.differs != "" {
				return
			}
			got, want := res.Identity, resp.User
			if got.Name != want.GetName() || got.UID != want.GetUID() || !reflect.DeepEqual(got.Extra, want.GetExtra()) ||
				!slices.Equal(got.Groups, want.GetGroups()) {
				t.Errorf("identity %+v, upstream %+v", got, want)
			}
		})
	}
	if _, err := ours.Authenticate(httptest.NewRequest("GET", "/", nil)); !errors.Is(err, authn.ErrNoCredential) {
		t.Errorf("without TLS: %v", err)
	}
	if _, err := ours.Authenticate(request()); !errors.Is(err, authn.ErrNoCredential) {
		t.Errorf("without a certificate: %v", err)
	}
}

func many(c *x509.Certificate, n int) []*x509.Certificate {
	out := make([]*x509.Certificate, n)
	for i := range out {
		out[i] = c
	}
	return out
}

func TestLimits(t *testing.T) {
	root := newCA(t, "root")
	b, _ := bundle(t, nil, root.cert)
	good, _ := root.issue(t, pkix.Name{CommonName: "jane"})
	large := *good
	large.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 9000), E: 65537}
	long, _ := root.issue(t, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) {
		for i := range 4000 {
			c.DNSNames = append(c.DNSNames, strings.Repeat("x", 10)+string(rune('a'+i%26))+".example")
		}
	})
	_, err := clientcert.New(b).Authenticate(request(&large))
	checkError(t, err, "RSA key of 9001 bits")
	checkWhy(t, err)
	_, err = clientcert.New(b).Authenticate(request(good, &large))
	checkError(t, err, "RSA key of 9001 bits")
	checkWhy(t, err)
	_, err = clientcert.New(b).Authenticate(request(long))
	checkError(t, err, "at most 65536")
	checkWhy(t, err)
}

func TestCredential(t *testing.T) {
	root := newCA(t, "root")
	b, _ := bundle(t, nil, root.cert)
	leaf, _ := root.issue(t, pkix.Name{CommonName: "jane"})
	res, err := clientcert.New(b).Authenticate(request(leaf))
	if err != nil {
		t.Fatal(err)
	}
	c := res.Identity.Credential
	if c.Method != identity.ClientCertificate || !strings.HasPrefix(c.Issuer, "X509SHA256=") || c.Issuer == c.ID ||
		c.ID != res.Identity.Extra[identity.CredentialIDKey][0] || !c.ExpiresAt.Equal(leaf.NotAfter) || res.Audiences != nil {
		t.Errorf("credential %+v", c)
	}
	if c.IssuerName != "CN=root" || c.Serial != leaf.SerialNumber.Text(16) || c.Digest != sha256Hex(leaf.RawTBSCertificate) || c.KeyID != keyID(root.cert) {
		t.Errorf("credential %+v", c)
	}
	if ca := c.Above; ca == nil || ca.ID != c.Issuer || ca.Issuer != c.Issuer || ca.Digest != sha256Hex(root.cert.RawTBSCertificate) ||
		ca.KeyID != keyID(root.cert) || ca.Above != nil {
		t.Errorf("above it %+v", ca)
	}
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// keyID names the key of a CA.
func keyID(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Each certificate of a chain is named by itself, up to the root.
func TestCredentialsAbove(t *testing.T) {
	root := newCA(t, "root")
	upper := newCA(t, "upper")
	cert, key := root.issue(t, pkix.Name{CommonName: "middle"}, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	})
	middle := &ca{cert, key}
	b, _ := bundle(t, nil, upper.cert, root.cert)
	leaf, _ := middle.issue(t, pkix.Name{CommonName: "jane"})
	res, err := clientcert.New(b).Authenticate(request(leaf, middle.cert))
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{leaf, middle.cert, root.cert}
	c := &res.Identity.Credential
	for i, cert := range chain {
		signer := chain[min(i+1, len(chain)-1)]
		if c == nil {
			t.Fatalf("the chain ends before number %d", i)
		}
		if c.Issuer != "X509SHA256="+sha256Hex(root.cert.Raw) || c.ID != "X509SHA256="+sha256Hex(cert.Raw) || c.IssuerName != "CN="+signer.Subject.CommonName ||
			c.Serial != cert.SerialNumber.Text(16) || c.Digest != sha256Hex(cert.RawTBSCertificate) || c.KeyID != keyID(signer) ||
			!c.IssuedAt.Equal(cert.NotBefore) || !c.ExpiresAt.Equal(cert.NotAfter) || c.Method != identity.ClientCertificate {
			t.Errorf("number %d: %+v", i, c)
		}
		c = c.Above
	}
	if c != nil {
		t.Errorf("above the root %+v", c)
	}
}

// The name of the issuer keeps the order that it has in the certificate.
func TestIssuerName(t *testing.T) {
	root := newCA(t, "root", func(c *x509.Certificate) {
		c.RawSubject = marshal(t, pkix.RDNSequence{
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "first, \"CN\""}},
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: "SE"}},
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "last"}},
		})
	})
	b, _ := bundle(t, nil, root.cert)
	leaf, _ := root.issue(t, pkix.Name{CommonName: "jane"})
	res, err := clientcert.New(b).Authenticate(request(leaf))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := res.Identity.Credential.IssuerName, `O=last,C=SE,CN=first\, \"CN\"`; got != want {
		t.Errorf("issuer %s, want %s", got, want)
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The memo of a connection is for its own certificates, and for no longer than
// they and the bundle last.
func TestMemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, "root", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) })
		b, _ := bundle(t, nil, root.cert)
		a := clientcert.New(b)
		jane, _ := root.issue(t, pkix.Name{CommonName: "jane"})
		john, _ := root.issue(t, pkix.Name{CommonName: "john"})
		r := request(jane)
		first, err := a.Authenticate(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := a.Authenticate(r); again != first {
			t.Error("a certificate is verified again on the same connection")
		}
		// Another client's certificate must never be taken for this one, even if
		// a server gives two connections one memo.
		other := r.Clone(r.Context())
		other.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{john}}
		if res, err := a.Authenticate(other); err != nil || res.Identity.Name != "john" {
			t.Errorf("other certificate: %v, %v", res, err)
		}
		// The chain ends with its CA, before the leaf does.
		if res, err := a.Authenticate(r); err != nil || res.Identity.Name != "jane" {
			t.Errorf("first certificate again: %v, %v", res, err)
		}
		time.Sleep(31 * time.Minute)
		_, err = a.Authenticate(r)
		checkError(t, err, "expired")
	})
}

func TestRefusalIsNotRememberedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, "root")
		b, _ := bundle(t, nil, root.cert)
		a := clientcert.New(b)
		leaf, _ := root.issue(t, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		r := request(leaf)
		_, err := a.Authenticate(r)
		checkError(t, err, "not yet valid")
		if _, again := a.Authenticate(r); again != err {
			t.Error("a refused certificate is verified again on the same connection")
		}
		time.Sleep(time.Minute)
		_, err = a.Authenticate(r)
		checkError(t, err, "")
	})
}

// Rotation on a live server: the open connection, and a resumed session, lose
// what the old CA gave them (CVE-2025-68121).
func TestRotationOfTheCA(t *testing.T) {
	before, after := newCA(t, "before"), newCA(t, "after")
	changed := make(chan error, 4)
	b, path := bundle(t, func(err error) { changed <- err }, before.cert)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()

	a := clientcert.New(b)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			w.Header().Set("Resumed", "yes")
		}
		if _, err := a.Authenticate(r); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return authn.WithConn(ctx, new(authn.Conn))
	}
	srv.StartTLS()
	defer srv.Close()
	client, get := newClient(t, srv, before)

	if code, _ := get(); code != http.StatusOK {
		t.Fatalf("before the rotation: %d", code)
	}
	client.CloseIdleConnections()
	if code, resumed := get(); code != http.StatusOK || !resumed {
		t.Fatalf("resumed session: %d, resumed %v", code, resumed)
	}
	replace(t, path, []byte("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n"))
	if err := <-changed; err == nil || b.Status().Problem == nil {
		t.Error("a broken bundle is no problem")
	}
	if code, _ := get(); code != http.StatusOK {
		t.Errorf("with a broken file: %d", code)
	}
	replace(t, path, pemOf(after.cert))
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if code, _ := get(); code != http.StatusUnauthorized {
		t.Errorf("open connection after the rotation: %d", code)
	}
	client.CloseIdleConnections()
	if code, resumed := get(); code != http.StatusUnauthorized || !resumed {
		t.Errorf("resumed session after the rotation: %d, resumed %v", code, resumed)
	}
}

// newClient returns a client with a certificate, and what asks the server once.
func newClient(t *testing.T, srv *httptest.Server, by *ca) (*http.Client, func() (code int, resumed bool)) {
	leaf, key := by.issue(t, pkix.Name{CommonName: "jane"})
	client := srv.Client()
	conf := client.Transport.(*http.Transport).TLSClientConfig
	conf.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: (*ecdsa.PrivateKey)(key)}}
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	return client, func() (int, bool) {
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Resumed") != ""
	}
}

func TestOpenBundle(t *testing.T) {
	root := newCA(t, "root")
	good := string(pemOf(root.cert))
	tests := []struct{ name, text, err string }{
		{"one", good, ""},
		{"twice, with text and other blocks", "# CA\n" + good + "-----BEGIN X-----\nAAAA\n-----END X-----\n" + good, ""},
		{"empty", "", "no certificate"},
		{"only text", "hello", "no certificate"},
		{"not DER", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PEM block 1"},
		{"broken after a good one", good + good[:len(good)/2], "1 of 2 certificates are broken"},
		{"broken before a good one", good[:len(good)/2] + good, "broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := clientcert.OpenBundle(path, nil)
			checkError(t, err, tt.err)
		})
	}
	if _, err := clientcert.OpenBundle(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a missing bundle is taken")
	}
}

// whys are what texts of refusals stand for; the first that fits counts.
var whys = []struct{ text, why string }{
	{"unknown authority", "untrusted: issuer"},
	{"incompatible key usage", "unsuitable: extended key usage"},
	{" is before ", "not-yet-valid: not before"},
	{" is after ", "expired: not after"},
	{"is a CA certificate", "unsuitable: kind of certificate"},
	{"itself in the CA bundle", "unsuitable: kind of certificate"},
	{"UID", "malformed: UID"},
	{"no common name", "nobody: common name (CN)"},
	{"at most", "malformed: size"},
}

// checkWhy wants err to explain itself, and to name the true cause.
func checkWhy(t *testing.T, err error) {
	t.Helper()
	got := ladder.Why(t, err)
	if err == nil || errors.Is(err, authn.ErrNoCredential) {
		return
	}
	i := slices.IndexFunc(whys, func(w struct{ text, why string }) bool { return strings.Contains(err.Error(), w.text) })
	if i < 0 || got != whys[i].why {
		t.Errorf("%v is explained by %q", err, got)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %q, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	case errors.Is(err, authn.ErrNoCredential):
		t.Errorf("error %q is no refusal", err)
	}
}

// A chain that was verified is known on every connection, and nothing else is
// taken for it.
func TestKnownChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, "root")
		b, _ := bundle(t, nil, root.cert)
		a := clientcert.New(b)
		jane, _ := root.issue(t, pkix.Name{CommonName: "jane"})
		john, _ := root.issue(t, pkix.Name{CommonName: "john"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) })
		forged, _ := newCA(t, "root").issue(t, pkix.Name{CommonName: "jane"})
		first, err := a.Authenticate(request(jane))
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := a.Authenticate(request(jane)); again != first {
			t.Error("a chain is verified again on a new connection")
		}
		// The same certificate with another one may chain in another way.
		if more, err := a.Authenticate(request(jane, john)); err != nil || more == first {
			t.Errorf("a longer chain is taken for a known one: %v", err)
		}
		if res, err := a.Authenticate(request(john)); err != nil || res.Identity.Name != "john" {
			t.Errorf("another certificate: %v, %v", res, err)
		}
		for range 2 {
			_, err = a.Authenticate(request(forged))
			checkError(t, err, "unknown authority")
		}
		// The same bundle may say something else to somebody else.
		proxies := clientcert.NewFor(b, identity.FrontProxy, func(*x509.Certificate) (*identity.Identity, error) {
			return nil, errors.New("no proxy")
		})
		_, err = proxies.Authenticate(request(jane))
		checkError(t, err, "no proxy")

		time.Sleep(31 * time.Minute)
		_, err = a.Authenticate(request(john))
		checkError(t, err, "expired")
		if again, _ := a.Authenticate(request(jane)); again != first {
			t.Error("one chain ends another")
		}
	})
}

// What is known ends with the bundle.
func TestKnownChainEndsWithTheBundle(t *testing.T) {
	before, after := newCA(t, "before"), newCA(t, "after")
	changed := make(chan error, 4)
	b, path := bundle(t, func(err error) { changed <- err }, before.cert)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	a := clientcert.New(b)
	leaf, _ := before.issue(t, pkix.Name{CommonName: "jane"})
	for range 2 {
		if _, err := a.Authenticate(request(leaf)); err != nil {
			t.Fatal(err)
		}
	}
	replace(t, path, pemOf(after.cert))
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	_, err := a.Authenticate(request(leaf))
	checkError(t, err, "unknown authority")
}

// A certificate of an authority with a name that is not in the bundle is refused
// in the words of the standard library, which is not asked.
func TestStrangersAreRefusedInTheLibrarysWords(t *testing.T) {
	root, other := newCA(t, "root"), newCA(t, "other")
	b, _ := bundle(t, nil, root.cert)
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	jane := pkix.Name{CommonName: "jane"}
	stranger, _ := other.issue(t, jane)
	expired, _ := other.issue(t, jane, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early, _ := other.issue(t, jane, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	odd, _ := other.issue(t, jane, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	})
	namesake, _ := newCA(t, "root").issue(t, jane)
	own, _ := (*ca)(nil).issue(t, jane)
	for name, certs := range map[string][]*x509.Certificate{
		"stranger": {stranger}, "with its CA": {stranger, other.cert}, "with ours": {stranger, root.cert}, "expired": {expired},
		"early": {early}, "critical extension": {odd}, "CA of the same name": {namesake}, "signed by itself": {own},
	} {
		intermediates := x509.NewCertPool()
		for _, c := range certs[1:] {
			intermediates.AddCert(c)
		}
		_, want := certs[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		_, got := clientcert.New(b).Authenticate(request(certs...))
		if want == nil || got == nil {
			t.Fatalf("%s: accepted: %v, %v", name, got, want)
		}
		words, _, _ := strings.Cut(want.Error(), ": current time") // that is another one
		if !strings.Contains(got.Error(), " failed: "+words) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
