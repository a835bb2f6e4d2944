package keyring_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/util/keyutil"

	"gatehouse.dev/gatehouse/internal/keyring"
)

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func curveKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB) *ecdsa.PrivateKey { return curveKey(t, elliptic.P256()) }

func block(t testing.TB, kind string) func(der []byte, err error) string {
	return func(der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
}

func privatePEM(t testing.TB, key any) string {
	return block(t, "PRIVATE KEY")(x509.MarshalPKCS8PrivateKey(key))
}

func publicPEM(t testing.TB, key any) string {
	return block(t, "PUBLIC KEY")(x509.MarshalPKIXPublicKey(key))
}

func certificatePEM(t testing.TB, key crypto.Signer) string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	return block(t, "CERTIFICATE")(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every form that Kubernetes reads is read, to the same key.
func TestParseAgreesWithKubernetes(t *testing.T) {
	r, ec := rsaKey(t, 2048), ecKey(t)
	parameters := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}}))
	for name, data := range map[string]string{
		"PKCS 8 RSA":             privatePEM(t, r),
		"PKCS 1 RSA":             block(t, "RSA PRIVATE KEY")(x509.MarshalPKCS1PrivateKey(r), nil),
		"SEC 1":                  block(t, "EC PRIVATE KEY")(x509.MarshalECPrivateKey(ec)),
		"SEC 1 after parameters": parameters + block(t, "EC PRIVATE KEY")(x509.MarshalECPrivateKey(ec)),
		"PKIX RSA":               publicPEM(t, r.Public()),
		"PKIX ECDSA":             publicPEM(t, ec.Public()),
		"P-384":                  publicPEM(t, curveKey(t, elliptic.P384()).Public()),
		"P-521":                  publicPEM(t, curveKey(t, elliptic.P521()).Public()),
		"certificate RSA":        certificatePEM(t, r),
		"certificate ECDSA":      certificatePEM(t, ec),
		"two with text around":   "a\n" + publicPEM(t, r.Public()) + "b\n" + publicPEM(t, ec.Public()) + "c\n",
	} {
		t.Run(name, func(t *testing.T) {
			theirs, err := keyutil.ParsePublicKeysPEM([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			ours, err := keyring.Parse("f", []byte(data))
			if err != nil || len(ours) != len(theirs) {
				t.Fatalf("%d keys, %v, want %d", len(ours), err, len(theirs))
			}
			for i := range ours {
				if !ours[i].Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(theirs[i]) {
					t.Errorf("key %d is another", i)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := publicPEM(t, ecKey(t).Public())
	encrypted := string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
	}))
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", "", "has no key"},
		{"no PEM", "ssh-ed25519 AAAA me@here", "has no key"},
		{"only parameters", block(t, "EC PARAMETERS")([]byte{6}, nil), "has no key"},
		{"RSA 1024", privatePEM(t, rsaKey(t, 1024)), "1024 bits is too weak"},
		{"RSA 2047, public, second", good + publicPEM(t, rsaKey(t, 2047).Public()), "block 2: an RSA key of 2047 bits"},
		{"P-224", privatePEM(t, curveKey(t, elliptic.P224())), "P-256, P-384 or P-521"},
		{"Ed25519", privatePEM(t, ed), "must be RSA or ECDSA"},
		{"Ed25519 public", publicPEM(t, ed.Public()), "must be RSA or ECDSA"},
		{"Ed25519 certificate", certificatePEM(t, ed), "must be RSA or ECDSA"},
		{"X25519", privatePEM(t, x25519), "must be RSA or ECDSA"},
		{"encrypted PKCS 8", block(t, "ENCRYPTED PRIVATE KEY")([]byte("x"), nil), "is encrypted"},
		{"encrypted PKCS 1", encrypted, "is encrypted"},
		{"other type", good + block(t, "OPENSSH PRIVATE KEY")([]byte("x"), nil), "block 2: its type is none"},
		{"junk inside", block(t, "PUBLIC KEY")([]byte("junk"), nil), "block 1: not a well-formed PUBLIC KEY"},
		{"label of another form", block(t, "EC PRIVATE KEY")(x509.MarshalPKCS8PrivateKey(ecKey(t))), "not a well-formed"},
		{"damaged block between good ones", good + "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n" + good, "1 of 3 PEM blocks"},
		{"cut short after a good one", good + good[:60], "1 of 2 PEM blocks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := keyring.Parse("/etc/sa.pub", []byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "/etc/sa.pub") {
				t.Errorf("%d keys, error %v, want an error of the file with %q", len(keys), err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	ec := ecKey(f)
	for _, seed := range []string{
		"", "-----BEGIN ", privatePEM(f, ec), publicPEM(f, ec.Public()), certificatePEM(f, ec),
		publicPEM(f, rsaKey(f, 2048).Public()), privatePEM(f, ec) + publicPEM(f, ec.Public()),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := keyring.Parse("f", data)
		if err != nil {
			return
		}
		if len(keys) == 0 {
			t.Error("neither keys nor an error")
		}
		for _, key := range keys {
			if key.ID == "" || key.Algorithm == "" {
				t.Errorf("key without ID or algorithm: %+v", key)
			}
			if r, ok := key.Public.(*rsa.PublicKey); ok && r.N.BitLen() < 2048 {
				t.Errorf("weak key of %d bits", r.N.BitLen())
			}
		}
	})
}
