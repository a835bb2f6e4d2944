package pki

import (
	"crypto/rand"
	"fmt"
	"math/big"
)

const (
	// serialBits are the most that fit into the 20 octets of RFC 5280 section
	// 4.1.2.2 and are positive.
	serialBits = 159
	// ownBits are those at the end of a serial number that a certificate shares
	// with none of its chain: more than the 64 that keep a number from being
	// guessed before it is signed.
	ownBits = 80
	// OwnDigits is how many hexadecimal digits they are.
	OwnDigits = ownBits / 4
)

// newSerial returns a random number, not zero.
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), serialBits)
	serial, err := rand.Int(rand.Reader, limit.Sub(limit, big.NewInt(1)))
	if err != nil {
		return nil, fmt.Errorf("choosing serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// NextSerial returns a serial number for a certificate that is renewed from one
// with another: it begins as that one does, so that all of a chain of renewals
// tell by themselves that they are of one chain. See [ChainOf].
func NextSerial(before *big.Int) (*big.Int, error) {
	if before.Sign() <= 0 || before.BitLen() > serialBits {
		return nil, fmt.Errorf("the serial number %x is not one of this server's", before)
	}
	own := new(big.Int).Lsh(big.NewInt(1), ownBits)
	low, err := rand.Int(rand.Reader, own.Sub(own, big.NewInt(1)))
	if err != nil {
		return nil, fmt.Errorf("choosing serial number: %w", err)
	}
	next := new(big.Int).Rsh(before, ownBits)
	next.Lsh(next, ownBits)
	return next.Add(next, low.Add(low, big.NewInt(1))), nil
}

// ChainOf returns what the serial number of a certificate, in lower-case
// hexadecimal without leading zeros, has in common with those of all that was
// renewed from it, and of all that it was renewed from. It is "" for a number
// that is too short to have been chosen here. Of the certificates of other CAs
// it says nothing.
func ChainOf(serial string) string { return serial[:max(len(serial)-OwnDigits, 0)] }
