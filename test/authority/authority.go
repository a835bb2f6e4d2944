// Package authority signs certificates for tests: of servers and of clients on
// this machine, good for an hour.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority is a CA. What it issues is in Dir, as NAME.crt and NAME.key, and
// so is its own certificate, in File.
type Authority struct {
	Dir, File   string
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes an authority, whose folder ends with the test.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	dir := t.TempDir()
	a := &Authority{Dir: dir, File: filepath.Join(dir, "ca.crt"), key: NewKey(t)}
	a.Certificate = parse(t, sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, nil, a.key, a.key))
	write(t, a.File, a.PEM())
	return a
}

// NewKey makes a key for ES256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// PEM is its own certificate.
func (a *Authority) PEM() string { return block("CERTIFICATE", a.Certificate.Raw) }

// Sign makes the certificate of a client, and its key. Change, which may be nil,
// changes what is usual.
func (a *Authority) Sign(t testing.TB, subject pkix.Name, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key := NewKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	return &tls.Certificate{Certificate: [][]byte{sign(t, template, a.Certificate, key, a.key)}, PrivateKey: key}
}

// Issue makes a certificate that is good for servers and for clients, in the
// groups.
func (a *Authority) Issue(t testing.TB, name string, groups ...string) (certFile, keyFile string) {
	t.Helper()
	cert := a.Sign(t, pkix.Name{CommonName: name, Organization: groups}, func(c *x509.Certificate) {
		c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.Dir, name+".crt"), filepath.Join(a.Dir, name+".key")
	write(t, certFile, block("CERTIFICATE", cert.Certificate[0]))
	write(t, keyFile, block("PRIVATE KEY", der))
	return certFile, keyFile
}

// sign signs a certificate for a key. One without a parent signs itself.
func sign(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
