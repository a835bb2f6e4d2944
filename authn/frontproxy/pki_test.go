package frontproxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/frontproxy"
)

// A ca signs certificates for the tests.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t testing.TB) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	return &ca{sign(t, template, template, key), key}
}

func sign(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
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

func (c *ca) issue(t testing.TB, name string) *x509.Certificate {
	return c.until(t, name, time.Now().Add(time.Hour))
}

func (c *ca) until(t testing.TB, name string, end time.Time) *x509.Certificate {
	t.Helper()
	return sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, c.cert, c.key)
}

func (c *ca) bundle(t testing.TB) *clientcert.Bundle { return newFile(t, c.cert).bundle }

// A file is a CA file, and what follows it.
type file struct {
	path   string
	bundle *clientcert.Bundle
	read   chan error
}

func newFile(t testing.TB, cert *x509.Certificate) *file {
	t.Helper()
	f := &file{path: filepath.Join(t.TempDir(), "ca.crt"), read: make(chan error)}
	f.put(t, &ca{cert: cert})
	var err error
	if f.bundle, err = clientcert.OpenBundle(f.path, func(err error) { f.read <- err }); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *file) put(t testing.TB, cas ...*ca) {
	t.Helper()
	var text []byte
	for _, c := range cas {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
	}
	if err := os.WriteFile(f.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// write replaces the certificates, and returns when that is in force.
func (f *file) write(t testing.TB, cas ...*ca) {
	t.Helper()
	before := f.bundle.Pool()
	f.put(t, cas...)
	pool := x509.NewCertPool()
	for _, c := range cas {
		pool.AddCert(c.cert)
	}
	if !before.Equal(pool) {
		f.check(t)
	}
}

// check follows the file until it has been read again.
func (f *file) check(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.bundle.Run(ctx); close(done) }()
	<-f.read
	cancel()
	<-done
}

func open(t testing.TB, c frontproxy.Config) *frontproxy.Authenticator {
	t.Helper()
	a, err := frontproxy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request is one on a connection of its own with the given certificates.
func request(h http.Header, certs ...*x509.Certificate) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = h
	r.TLS = &tls.ConnectionState{PeerCertificates: certs}
	return r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
}
