package revocation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/revocation"
)

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestOfToken(t *testing.T) {
	head := b64(`{"alg":"ES256"}`)
	for _, tt := range []struct {
		name, payload string
		issuer, jti   string
		ends          int64
	}{
		{"whole", `{"iss":"i","jti":"1","exp":2000000000}`, "i", "1", 2000000000},
		{"without jti", `{"iss":"i"}`, "", "", 0},
		{"without issuer", `{"jti":"1"}`, "", "", 0},
		{"of other types", `{"iss":1,"jti":[],"exp":"soon"}`, "", "", 0},
		{"no object", `[]`, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signed := head + "." + b64(tt.payload)
			sum := sha256.Sum256([]byte(signed))
			for _, signature := range []string{"AA", "AQ"} {
				s, err := revocation.OfToken(signed + "." + signature)
				if err != nil {
					t.Fatal(err)
				}
				if s.Token.SigningInputSHA256 != hex.EncodeToString(sum[:]) || s.Token.Issuer != tt.issuer || s.Token.JTI != tt.jti {
					t.Errorf("%+v", s.Token)
				}
				if got := s.CredentialExpiresAt; (got == nil) != (tt.ends == 0) || got != nil && got.Unix() != tt.ends {
					t.Errorf("ends %v", got)
				}
			}
		})
	}
	for _, bad := range []string{"", "s3cret", head + ".e30", head + ".e30.", b64("{}") + ".e30.AA", "eyJ\n." + head + ".AA"} {
		if _, err := revocation.OfToken(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// issue returns a CA and a certificate of it.
func issue(t *testing.T) (ca, leaf *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(template, parent *x509.Certificate) *x509.Certificate {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
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
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true}
	ca = make(root, root)
	return ca, make(&x509.Certificate{SerialNumber: big.NewInt(0xa0), Subject: pkix.Name{CommonName: "jane"}}, ca)
}

// However a certificate is named, it is the one that is judged.
func TestOfCertificate(t *testing.T) {
	ca, leaf := issue(t)
	who := &identity.Identity{Name: "jane", Credential: clientcert.Credential(identity.ClientCertificate, []*x509.Certificate{leaf, ca})}
	key, err := revocation.OfItsKey(ca)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawTBSCertificate)
	registered, err := revocation.OfRegistered(identity.ClientCertificate, "X509SHA256=x", "X509SHA256=y", hex.EncodeToString(sum[:]), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]spec{
		"certificate": revocation.OfCertificate(leaf), "CA": revocation.OfAuthority(ca), "certificate of the CA": revocation.OfCertificate(ca),
		"key": key, "registered": registered,
	} {
		if !revocation.Hits(revoke("a", s), who) {
			t.Errorf("%s: %+v does not hit", name, s)
		}
	}
	if s := revocation.OfCertificate(leaf); s.Certificate.SerialNumber != "a0" || s.Certificate.Issuer != "CN=ca" || !s.CredentialExpiresAt.Time.Equal(leaf.NotAfter) {
		t.Errorf("%+v", s.Certificate)
	}
	_, other := issue(t)
	if s := revocation.OfCertificate(other); !revocation.Hits(revoke("a", s), who) {
		// Same name and number: what a CA of the same name has issued is meant too.
		t.Errorf("%+v does not hit", s.Certificate)
	}
}

func TestOfRegistered(t *testing.T) {
	end := &metav1.Time{Time: time.Now()}
	s, err := revocation.OfRegistered(identity.ServiceAccount, "https://sa", "JTI=1", "d", end)
	if err != nil || s.Token.JTI != "1" || s.Token.Issuer != "https://sa" || s.Token.SigningInputSHA256 != "d" || s.CredentialExpiresAt != end {
		t.Errorf("%+v, %v", s.Token, err)
	}
	s, err = revocation.OfRegistered(identity.LegacyServiceAccount, "kubernetes/serviceaccount", "SECRET=a/b", "d", nil)
	if err != nil || s.Token.JTI != "" || s.Token.Issuer != "" {
		t.Errorf("%+v, %v", s.Token, err)
	}
	if _, err := revocation.OfRegistered(identity.ServiceAccount, "i", "JTI=1", "", nil); err == nil {
		t.Error("named by nothing that is signed")
	}
}

func FuzzOfToken(f *testing.F) {
	for _, s := range []string{"", "a.b.c", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJpIiwianRpIjoiMSJ9.AA", "eyJhbGciOiJFUzI1NiJ9.W10.AA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := revocation.OfToken(text)
		if err != nil {
			return
		}
		if err := revocation.New().Put(revoke("a", s)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
