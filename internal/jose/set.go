package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/go-jose/go-jose/v4"
	kjson "sigs.k8s.io/json"
)

// maxKeys is how many keys a published set may have. The largest providers
// publish about ten.
const maxKeys = 256

// A PublishedKey is a key of somebody else's set.
type PublishedKey struct {
	// ID is the kid, and Algorithm the alg that the key is meant for. Either is
	// empty if the set does not say.
	ID, Algorithm string
	Public        crypto.PublicKey
}

// ParseSet reads a JSON web key set (RFC 7517 section 5) that somebody else
// published, and returns the keys that can verify a signature.
//
// A set may hold keys that are of no use here: of an unknown type, meant for
// encryption, symmetric, private, too weak. Such a key is left out, as the RFC
// asks for, and passed says why, so that one odd key does not lock out the
// users of the others. A text that is no key set is an error, as is a set with
// two members of one name.
func ParseSet(data []byte) (keys []PublishedKey, passed []error, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	strict, err := kjson.UnmarshalStrict(data, &set, kjson.DisallowDuplicateFields)
	if err == nil {
		err = errors.Join(strict...)
	}
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("no JSON web key set: %w", err)
	case set.Keys == nil:
		return nil, nil, errors.New(`no JSON web key set: it has no "keys"`)
	case len(set.Keys) > maxKeys:
		return nil, nil, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	for i, text := range set.Keys {
		key, err := parsePublished(text)
		if err != nil {
			passed = append(passed, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, passed, nil
}

func parsePublished(text []byte) (PublishedKey, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(text); err != nil {
		// The library's error may repeat parts of a key, which may be private.
		return PublishedKey{}, errors.New("it is of an unknown type, or not valid")
	}
	var operations struct {
		KeyOps []string `json:"key_ops"`
	}
	if err := json.Unmarshal(text, &operations); err != nil {
		return PublishedKey{}, errors.New("its key_ops are no list of strings")
	}
	if key.Use != "" && key.Use != "sig" {
		return PublishedKey{}, errors.New("it is not meant for signatures")
	}
	if !mayVerify(operations.KeyOps) {
		return PublishedKey{}, errors.New("its key_ops do not allow to verify")
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); public.E < 3 || bits < 2048 || bits > 8192 {
			return PublishedKey{}, errors.New("RSA needs 2048 to 8192 bits, and an exponent of 3 or more")
		}
		if roca(public.N) {
			return PublishedKey{}, errors.New("it can be factored (CVE-2017-15361)")
		}
		if fermat(public.N) {
			return PublishedKey{}, errors.New("it can be factored: its primes are too close (CVE-2022-26320)")
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return PublishedKey{}, errors.New("it is not a public key")
	}
	return PublishedKey{ID: key.KeyID, Algorithm: key.Algorithm, Public: key.Key}, nil
}

// mayVerify tells whether a key with these key_ops (RFC 7517 section 4.3) is
// one to verify with. Without any it is.
func mayVerify(operations []string) bool {
	for _, op := range operations {
		if op == "verify" {
			return true
		}
	}
	return len(operations) == 0
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
