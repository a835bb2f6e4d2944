// Package weakkey says why a public key proves nothing: because it is too
// short, of a kind that is not used, or because anybody can find its private
// half.
//
// The one idea is that each reason is named, so that who made the key can make a
// better one. What is looked for is what Let's Encrypt's goodkey looks for:
// short and huge moduli, weak exponents, moduli with a small factor, those of
// the flawed generator of Infineon's chips (ROCA) and those whose primes are too
// close for Fermat. A key that none of this finds may still be weak; the private
// half is never seen here.
package weakkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// Sizes of an RSA modulus in bits. Below the first it is weak (NIST SP
// 800-131A); above the second one signature takes milliseconds to verify, and
// our own front door does not look at it.
const (
	MinRSA = 2048
	MaxRSA = 8192
)

// minExponent is the least public exponent (NIST FIPS 186-5 section 5.4, which
// wants more than 2^16).
const minExponent = 1<<16 + 1

// smallPrimes is up to where factors of a modulus are looked for: as far as
// goodkey does.
const smallPrimes = 752

// Check returns why public must not be certified, or nil.
func Check(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return checkRSA(key)
	case *ecdsa.PublicKey:
		return checkECDSA(key)
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return errors.New("the Ed25519 key has another length than 32 bytes")
		}
		return nil
	}
	return fmt.Errorf("the key is of type %T: need RSA, ECDSA or Ed25519", public)
}

func checkRSA(key *rsa.PublicKey) error {
	bits := key.N.BitLen()
	switch {
	case bits < MinRSA:
		return fmt.Errorf("the RSA key has %d bits: need at least %d", bits, MinRSA)
	case bits > MaxRSA:
		return fmt.Errorf("the RSA key has %d bits: at most %d are accepted anywhere here", bits, MaxRSA)
	case key.E < minExponent || key.E%2 == 0:
		return fmt.Errorf("the RSA key has the public exponent %d: need an odd one of at least %d, as 65537 is", key.E, minExponent)
	}
	if p := smallFactor(key.N); p != 0 {
		return fmt.Errorf("the RSA key is malformed: its modulus can be divided by %d", p)
	}
	if err := Factored(key.N); err != nil {
		return fmt.Errorf("the RSA key is weak: %w", err)
	}
	return nil
}

func checkECDSA(key *ecdsa.PublicKey) error {
	switch key.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return fmt.Errorf("the ECDSA key is on the curve %s: need P-256, P-384 or P-521", key.Params().Name)
	}
	if _, err := key.ECDH(); err != nil {
		return errors.New("the ECDSA key is malformed: it is no point of its curve")
	}
	return nil
}

// smallFactor returns a small divisor of n, or 0.
func smallFactor(n *big.Int) int64 {
	rest := new(big.Int)
	for p := int64(2); p < smallPrimes; p++ {
		// That p may be no prime costs a few divisions and changes nothing.
		if rest.Mod(n, big.NewInt(p)).Sign() == 0 {
			return p
		}
	}
	return 0
}
