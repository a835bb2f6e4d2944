package inspect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/inspect"
)

func jwt(header, claims string) string {
	b := base64.RawURLEncoding.EncodeToString
	return b([]byte(header)) + "." + b([]byte(claims)) + "." + b([]byte("s3cret-signature-of-the-token"))
}

func certificate(t *testing.T, change func(*x509.Certificate)) (text []byte, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "jane", Organization: []string{"dev"}},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(leaf)
	}
	encode := func(c *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, encode(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(encode(leaf), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), file
}

func TestRead(t *testing.T) {
	good, ca := certificate(t, nil)
	server, _ := certificate(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	nameless, _ := certificate(t, func(c *x509.Certificate) { c.Subject = pkix.Name{} })
	sources := inspect.Sources{
		Accounts: []string{"https://cluster"}, JWT: []string{"https://issuer"}, Bootstrap: true,
		Opaque: []string{"--token-auth-file tokens.csv"}, Authorities: []string{ca},
	}
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"bound token", jwt(`{"alg":"ES256","kid":"k"}`, `{"iss":"https://cluster","sub":"system:serviceaccount:ns:app","aud":["api"],"jti":"1","exp":4102444800,
			"kubernetes.io":{"namespace":"ns","serviceaccount":{"name":"app","uid":"u"},"pod":{"name":"p","uid":"v"},"node":{"name":"n","uid":"w"}}}`),
			[]string{`"service account token"`, `"JTI=1"`, `"keyID":"k"`, `"2100-01-01T00:00:00Z"`, `pods ns/p, UID v`, `nodes n, UID w`, `--service-account-issuer https://cluster`}},
		{"legacy token", jwt(`{"alg":"RS256"}`, `{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"ns","kubernetes.io/serviceaccount/secret.name":"x"}`),
			[]string{`"legacy service account token"`, `SECRET=ns/x`}},
		{"token of an issuer", jwt(`{"alg":"RS256"}`, `{"iss":"https://issuer","sub":"jane","aud":"a"}`), []string{`"JWT"`, `JWT issuer https://issuer`}},
		{"token of another issuer", jwt(`{"alg":"RS256"}`, `{"iss":"https://other","sub":"jane"}`), []string{`"JWT"`, `perhaps --token-auth-file`}},
		{"token that would be refused unseen", jwt(`{"alg":"HS256"}`, `{"iss":"https://issuer","exp":"soon"}`), []string{`"flaws":["header: alg`, `exp`}},
		{"bootstrap token", "abcdef.0123456789abcdef", []string{`"bootstrap token"`, `system:bootstrap:abcdef`, `--enable-bootstrap-token-auth`}},
		{"static token", "s3cret-static-token-of-somebody", []string{`"token without a form"`, `perhaps --token-auth-file`}},
		{"certificate", string(good), []string{`"client certificate"`, `"subject":"jane"`, `"groups":["dev"]`, `X509SHA256=`, `the CA in `}},
		{"server certificate", string(server), []string{`not for client authentication`, `none: no CA`}},
		{"certificate of nobody", string(nameless), []string{`names no user`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := inspect.Read([]byte(tt.text + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if err := sources.Find(c); err != nil {
				t.Fatal(err)
			}
			told, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(told), want) {
					t.Errorf("no %s in %s", want, told)
				}
			}
			for _, secret := range []string{"s3cret", "0123456789abcdef", base64.RawURLEncoding.EncodeToString([]byte("s3cret-signature-of-the-token"))} {
				if strings.Contains(string(told), secret) {
					t.Errorf("tells a secret: %s", told)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{"", "\n", "s3cret token", "s3cret\ttoken", "a\nb", "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nczNjcmV0\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\ns3cret"} {
		if c, err := inspect.Read([]byte(text)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	good, _ := certificate(t, nil)
	c, err := inspect.Read(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&inspect.Sources{Authorities: []string{filepath.Join(t.TempDir(), "none")}}).Find(c); err == nil {
		t.Error("a file of CA certificates that is not there is passed over")
	}
	none := &inspect.Sources{}
	if err := none.Find(c); err != nil || !strings.HasPrefix(c.Source, "none") {
		t.Errorf("without sources: %q, %v", c.Source, err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{jwt(`{"alg":"ES256"}`, `{"iss":"a","kubernetes.io":{"pod":1}}`), "a.b.c", "abcdef.0123456789abcdef", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := inspect.Read(text)
		if (c == nil) == (err == nil) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
