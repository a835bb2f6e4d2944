package weakkey_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/pki/weakkey"
)

func prime(t *testing.T, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// modulus returns a product of two primes that has exactly so many bits.
func modulus(t *testing.T, bits int) *big.Int {
	t.Helper()
	for {
		if n := new(big.Int).Mul(prime(t, bits/2), prime(t, bits-bits/2)); n.BitLen() == bits {
			return n
		}
	}
}

// close returns a product of two neighbouring primes.
func closePrimes(t *testing.T) *big.Int {
	t.Helper()
	p := prime(t, 1024)
	q := new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(10) {
		q.Add(q, big.NewInt(2))
	}
	return new(big.Int).Mul(p, q)
}

// infineon returns a modulus of the flawed generator: both primes are k*M plus a
// power of 65537 modulo M, the product of the small primes.
func infineon(t *testing.T) *big.Int {
	t.Helper()
	m := big.NewInt(1)
	for p := int64(2); p <= 701; p++ {
		if big.NewInt(p).ProbablyPrime(20) {
			m.Mul(m, big.NewInt(p))
		}
	}
	make := func() *big.Int {
		for {
			power, err := rand.Int(rand.Reader, m)
			if err != nil {
				t.Fatal(err)
			}
			p := new(big.Int).Exp(big.NewInt(65537), power, m)
			k, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(1024-m.BitLen())))
			if err != nil {
				t.Fatal(err)
			}
			if p.Add(p, k.Mul(k, m)); p.BitLen() == 1024 && p.ProbablyPrime(10) {
				return p
			}
		}
	}
	for {
		if n := new(big.Int).Mul(make(), make()); n.BitLen() == 2048 {
			return n
		}
	}
}

func TestCheck(t *testing.T) {
	ec := func(curve elliptic.Curve) *ecdsa.PublicKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &key.PublicKey
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := modulus(t, 2048)
	huge := new(big.Int).SetBit(big.NewInt(1), 8192, 1)
	for _, tt := range []struct {
		name   string
		public any
		want   string
	}{
		{"RSA of 2048 bits", &rsa.PublicKey{N: n, E: 65537}, ""},
		{"the next exponent", &rsa.PublicKey{N: n, E: 65539}, ""},
		{"P-256", ec(elliptic.P256()), ""},
		{"P-384", ec(elliptic.P384()), ""},
		{"P-521", ec(elliptic.P521()), ""},
		{"Ed25519", ed, ""},
		{"RSA of 2047 bits", &rsa.PublicKey{N: modulus(t, 2047), E: 65537}, "the RSA key has 2047 bits: need at least 2048"},
		{"RSA of 1024 bits", &rsa.PublicKey{N: modulus(t, 1024), E: 65537}, "the RSA key has 1024 bits"},
		{"RSA of 8193 bits", &rsa.PublicKey{N: huge, E: 65537}, "the RSA key has 8193 bits: at most 8192"},
		{"exponent 1", &rsa.PublicKey{N: n, E: 1}, "the public exponent 1"},
		{"exponent 3", &rsa.PublicKey{N: n, E: 3}, "the public exponent 3"},
		{"exponent 65535", &rsa.PublicKey{N: n, E: 65535}, "the public exponent 65535"},
		{"even exponent", &rsa.PublicKey{N: n, E: 65538}, "the public exponent 65538"},
		{"even modulus", &rsa.PublicKey{N: new(big.Int).Lsh(n, 1), E: 65537}, "can be divided by 2"},
		{"small factor", &rsa.PublicKey{N: new(big.Int).Mul(n, big.NewInt(751)), E: 65537}, "can be divided by 751"},
		{"close primes", &rsa.PublicKey{N: closePrimes(t), E: 65537}, "its primes are too close (CVE-2022-26320)"},
		{"a square", &rsa.PublicKey{N: func() *big.Int { p := prime(t, 1024); return p.Mul(p, p) }(), E: 65537}, "its primes are too close"},
		{"ROCA", &rsa.PublicKey{N: infineon(t), E: 65537}, "it can be factored (CVE-2017-15361)"},
		{"P-224", ec(elliptic.P224()), "on the curve P-224"},
		//lint:ignore SA1019 there is no other way to make a key that is none
		{"no point", &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, "it is no point of its curve"},
		{"short Ed25519", ed[:31], "another length"},
		{"a key that only agrees", &ecdh.PublicKey{}, "of type *ecdh.PublicKey"},
		{"none", nil, "of type <nil>"},
	} {
		err := weakkey.Check(tt.public)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
