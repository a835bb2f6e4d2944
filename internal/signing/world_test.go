package signing_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/signing"
)

const (
	client  = certificatesv1.KubeAPIServerClientSignerName
	kubelet = certificatesv1.KubeAPIServerClientKubeletSignerName
	serving = certificatesv1.KubeletServingSignerName
	legacy  = signing.LegacyUnknown
)

// An ask is a request to be made.
type ask struct {
	pkcs10  x509.CertificateRequest
	usages  []certificatesv1.KeyUsage
	seconds int32
	key     crypto.Signer
}

func usages(list ...certificatesv1.KeyUsage) []certificatesv1.KeyUsage { return list }

var (
	digital  = certificatesv1.UsageDigitalSignature
	encipher = certificatesv1.UsageKeyEncipherment
	asClient = certificatesv1.UsageClientAuth
	asServer = certificatesv1.UsageServerAuth
)

// good returns what a signer signs.
func good(signer string) ask {
	node := pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}
	switch signer {
	case kubelet:
		return ask{pkcs10: x509.CertificateRequest{Subject: node}, usages: usages(digital, asClient)}
	case serving:
		return ask{pkcs10: x509.CertificateRequest{Subject: node, DNSNames: []string{"n1"}, IPAddresses: []net.IP{{10, 0, 0, 1}}}, usages: usages(digital, asServer)}
	}
	return ask{pkcs10: x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}}}, usages: usages(digital, asClient)}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// object is the request as the store has it.
func (a ask) object(t testing.TB, signer string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	if a.key == nil {
		a.key = newKey(t)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &a.pkcs10, a.key)
	if err != nil {
		t.Fatal(err)
	}
	r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: signer, Usages: a.usages,
	}}
	if a.seconds != 0 {
		r.Spec.ExpirationSeconds = &a.seconds
	}
	return r
}

func (a ask) read(t testing.TB, signer string) *signing.Request {
	t.Helper()
	request, err := signing.Read(a.object(t, signer))
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// newSigner returns a signer of Kubernetes with a CA of its own.
func newSigner(t testing.TB, name string) (*signing.Signer, *pki.Authority) {
	t.Helper()
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	rules, ok := signing.KubernetesRules(name)
	if !ok {
		t.Fatalf("no rules of %s", name)
	}
	reserved, err := signing.KeyID(ca.Certificate().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &signing.Signer{
		Name: name, Lifetime: 720 * time.Hour, Rules: rules,
		Authority: func() (signing.Authority, error) { return ca, nil },
		Reserved: func() map[[sha256.Size]byte]string {
			return map[[sha256.Size]byte]string{reserved: "a certificate authority"}
		},
	}, ca
}

func parseURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// refused holds err to be a refusal that says want.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if refusal, ok := errors.AsType[*signing.Refusal](err); !ok || refusal.Error() != want {
		t.Errorf("error %v (%T), want the refusal %q", err, err, want)
	}
}
