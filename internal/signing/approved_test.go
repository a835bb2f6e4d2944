package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
)

// The second look finds each difference between what was approved and what was
// signed.
func TestApproved(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "jane", Organization: []string{"dev"}}, DNSNames: []string{"a.example"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs10, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	request := &Request{PKCS10: pkcs10, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}}
	now := time.Now()
	valid := bounds{now, now.Add(time.Hour)}
	make := func(change func(c *x509.Certificate)) *x509.Certificate {
		t.Helper()
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "jane", Organization: []string{"dev"}}, DNSNames: []string{"a.example"},
			NotBefore: now, NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		}
		issuer, public := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}}, any(key.Public())
		change(template)
		if template.PublicKey != nil {
			public = template.PublicKey
		}
		if template.SerialNumber == nil {
			template.SerialNumber, _ = rand.Int(rand.Reader, elliptic.P256().Params().N)
		}
		raw, err := x509.CreateCertificate(rand.Reader, template, issuer, public, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		want   string
		change func(c *x509.Certificate)
	}{
		{"", func(*x509.Certificate) {}},
		{"public key", func(c *x509.Certificate) { c.PublicKey = other.Public() }},
		{"usages", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }},
		{"usages", func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }},
		{"usages", func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }},
		{"basic constraints", func(c *x509.Certificate) { c.IsCA = true }},
		{"basic constraints", func(c *x509.Certificate) { c.BasicConstraintsValid = false }},
		{"lifetime", func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(2 * time.Second) }},
		{"lifetime", func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(-2 * time.Second) }},
		{"subject", func(c *x509.Certificate) { c.Subject.CommonName = "root" }},
		{"subject", func(c *x509.Certificate) { c.Subject.Organization = []string{"dev", "ops"} }},
		{"subject", func(c *x509.Certificate) { c.Subject.Locality = []string{"here"} }},
		{"subject alternative names", func(c *x509.Certificate) { c.DNSNames = nil }},
		{"subject alternative names", func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b"} }},
		{"extension 1.2.3.4", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}}
		}},
	} {
		got := ""
		if err := approved(make(tt.change), request, valid); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("found %q, want %q", got, tt.want)
		}
	}
}
