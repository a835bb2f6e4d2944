package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/pki"
)

// All certificates of a chain of renewals tell that they are of it, and no others.
func TestChainOfSerials(t *testing.T) {
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(serial *big.Int) *x509.Certificate {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.Issue(&x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{CommonName: "jane"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		}, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	chains := map[string]bool{}
	for range 20 {
		first := issue(nil)
		chain := pki.ChainOf(first.SerialNumber.Text(16))
		if chains[chain] || chain == "" {
			t.Errorf("the chain %q is there twice", chain)
		}
		chains[chain] = true
		seen := map[string]bool{first.SerialNumber.Text(16): true}
		for last := first.SerialNumber; len(seen) < 10; {
			next, err := pki.NextSerial(last)
			if err != nil {
				t.Fatal(err)
			}
			cert := issue(next)
			text := cert.SerialNumber.Text(16)
			if seen[text] || pki.ChainOf(text) != chain || cert.SerialNumber.BitLen() > 159 {
				t.Errorf("%s renews %s", text, first.SerialNumber.Text(16))
			}
			seen[text], last = true, cert.SerialNumber
		}
	}
}

func TestForeignSerials(t *testing.T) {
	for serial, want := range map[string]string{
		"": "", "1": "", "2a": "", strings.Repeat("f", 20): "", "1" + strings.Repeat("0", 20): "1", strings.Repeat("7", 40): strings.Repeat("7", 20),
	} {
		if got := pki.ChainOf(serial); got != want {
			t.Errorf("the chain of %q is %q, want %q", serial, got, want)
		}
	}
	for _, serial := range []*big.Int{big.NewInt(0), big.NewInt(-5), new(big.Int).Lsh(big.NewInt(1), 159)} {
		if next, err := pki.NextSerial(serial); err == nil {
			t.Errorf("%x renews %x", next, serial)
		}
	}
	// The least there is goes on from zero, and never is it.
	if next, err := pki.NextSerial(big.NewInt(1)); err != nil || next.Sign() <= 0 || next.BitLen() > 80 {
		t.Errorf("%x, %v", next, err)
	}
}
