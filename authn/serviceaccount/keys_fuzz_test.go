package serviceaccount_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
)

// FuzzParseKeys reads any text as a file of keys. What is accepted are public
// keys that encode, and the same again when they are read once more.
func FuzzParseKeys(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, seed := range [][]byte{
		block("PUBLIC KEY", public), block("PRIVATE KEY", private), block("CERTIFICATE", public), block("RSA PUBLIC KEY", nil),
		append(block("EC PARAMETERS", nil), block("PUBLIC KEY", public)...), []byte("-----BEGIN"), nil,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := serviceaccount.ParseKeys(text)
		if err != nil {
			return
		}
		for _, key := range keys {
			der, err := x509.MarshalPKIXPublicKey(key)
			if err != nil {
				t.Fatalf("a key that cannot be written: %v", err)
			}
			again, err := serviceaccount.ParseKeys(block("PUBLIC KEY", der))
			if equal, ok := key.(interface{ Equal(x crypto.PublicKey) bool }); err != nil || len(again) != 1 || !ok || !equal.Equal(again[0]) {
				t.Errorf("another key when it is read again: %v", err)
			}
		}
	})
}
