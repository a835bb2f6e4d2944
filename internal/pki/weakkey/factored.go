package weakkey

import (
	"errors"
	"math/big"
)

var (
	errROCA   = errors.New("it can be factored (CVE-2017-15361)")
	errFermat = errors.New("it can be factored: its primes are too close (CVE-2022-26320)")
)

// Factored returns how the modulus of an RSA key can be factored by anybody, or
// nil if none of the known ways leads there.
func Factored(n *big.Int) error {
	switch {
	case roca(n):
		return errROCA
	case fermat(n):
		return errFermat
	}
	return nil
}

// roca reports whether a modulus was made by the flawed generator of Infineon's
// chips. Its primes are powers of 65537 modulo many small primes at once, which
// no other generator's are (Nemec and others, "The Return of Coppersmith's
// Attack", 2017, section 2).
func roca(n *big.Int) bool {
	for _, p := range []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		rest, power := new(big.Int).Mod(n, big.NewInt(p)).Int64(), int64(1)
		generated := false
		for range p {
			generated = generated || power == rest
			power = power * 65537 % p
		}
		if !generated {
			return false
		}
	}
	return true
}

// squares has a bit for each remainder that a square may leave modulo 64.
const squares = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57

// fermatRounds is how many steps fermat takes: as many as Let's Encrypt's
// goodkey. Primes chosen at random are farther apart than any number of steps.
const fermatRounds = 110

// fermat reports whether the primes of a modulus are so close to each other that
// Fermat's method finds them: n is a difference of two squares, of which the
// larger is just above n.
func fermat(n *big.Int) bool {
	one := big.NewInt(1)
	a := new(big.Int).Sqrt(n)
	rest := new(big.Int).Mul(a, a)
	rest.Sub(rest, n)
	for range fermatRounds {
		// rest is a² - n. Most numbers are seen to be no square by their last
		// six bits.
		last := new(big.Int).And(rest, big.NewInt(63))
		if rest.Sign() >= 0 && squares>>last.Uint64()&1 == 1 {
			if root := new(big.Int).Sqrt(rest); root.Mul(root, root).Cmp(rest) == 0 {
				return true
			}
		}
		rest.Add(rest, a)
		rest.Add(rest, a.Add(a, one))
	}
	return false
}
