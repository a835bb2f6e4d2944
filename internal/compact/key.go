package compact

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	_ "crypto/sha512" // SHA-384 and SHA-512, for crypto.Hash
)

// EdDSA is the algorithm of Ed25519 keys (RFC 8037 section 3.1).
const EdDSA = "EdDSA"

// algorithms are all that there are (RFC 7518 section 3.1), without the
// symmetric ones, for which verifying needs what signing does, and without none.
// A variable only because Go has no constant arrays.
var algorithms = [...]string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", EdDSA,
}

// Sizes of an RSA modulus in bits. Below the first it is weak (NIST SP
// 800-131A), above the second one signature takes milliseconds to verify.
const (
	minRSA = 2048
	maxRSA = 8192
)

// ErrSignature is returned for a signature that is not that of the key.
var ErrSignature = errors.New("invalid signature")

// A Key is a public key together with the algorithms it may be used with.
type Key struct {
	// ID is the kid that tokens call the key by, or "".
	ID         string
	algorithms []string
	public     crypto.PublicKey
}

// NewKey returns a key for an [*rsa.PublicKey] of 2048 to 8192 bits or an
// [*ecdsa.PublicKey] on P-256, P-384 or P-521. An RSA key is good for RS and PS
// with every hash, one on a curve for the one algorithm of that curve (RFC 7518
// section 3.4). If only is not empty it narrows that down.
//
// An [ed25519.PublicKey] has to be asked for by naming [EdDSA] in only:
// Kubernetes knows no such tokens, so nobody may accept them by accident.
func NewKey(id string, public crypto.PublicKey, only ...string) (*Key, error) {
	k := &Key{ID: id, public: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, fmt.Errorf("RSA key has %d bits: need %d to %d", n, minRSA, maxRSA)
		}
		k.algorithms = algorithms[:6]
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			k.algorithms = algorithms[6:7]
		case elliptic.P384():
			k.algorithms = algorithms[7:8]
		case elliptic.P521():
			k.algorithms = algorithms[8:9]
		default:
			return nil, fmt.Errorf("no algorithm for curve %s: need P-256, P-384 or P-521", p.Params().Name)
		}
		if _, err := p.ECDH(); err != nil {
			return nil, errors.New("key is not a point of its curve")
		}
	case ed25519.PublicKey:
		if len(only) == 0 || len(p) != ed25519.PublicKeySize {
			return nil, errors.New("no algorithm for an Ed25519 key: need RSA or ECDSA")
		}
		k.algorithms = algorithms[9:]
	default:
		return nil, fmt.Errorf("no algorithm for a %T: need RSA or ECDSA", public)
	}
	if len(only) == 0 {
		return k, nil
	}
	k.algorithms = slices.DeleteFunc(slices.Clone(k.algorithms), func(a string) bool { return !slices.Contains(only, a) })
	if len(k.algorithms) == 0 {
		return nil, fmt.Errorf("the key cannot be used with any of %q", only)
	}
	return k, nil
}

// KeyID returns the kid of a public key, as Kubernetes computes it for those it
// signs with: the unpadded base64url of the SHA-256 of its PKIX form.
func KeyID(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("naming a key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// Accepts reports whether the key may be used with an algorithm.
func (k *Key) Accepts(algorithm string) bool { return slices.Contains(k.algorithms, algorithm) }

// Verify returns nil if k made the signature of t with an algorithm that k may
// be used with, and an error that wraps [ErrSignature] if not.
func (t *Token) Verify(k *Key) error {
	if !k.Accepts(t.Algorithm) {
		return fmt.Errorf("%w: the key is not one for %s", ErrSignature, t.Algorithm)
	}
	if p, ok := k.public.(ed25519.PublicKey); ok {
		if !ed25519.Verify(p, t.signed, t.signature) {
			return ErrSignature
		}
		return nil
	}
	hash := hashOf(t.Algorithm)
	digest := t.hash(hash)

	ok := false
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		if t.Algorithm[0] == 'P' {
			// The salt is as long as the hash (RFC 7518 section 3.5).
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			ok = rsa.VerifyPSS(p, hash, digest, t.signature, opts) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(p, hash, digest, t.signature) == nil
		}
	case *ecdsa.PublicKey:
		ok = verifyECDSA(p, digest, t.signature, t.decoded[len(t.payload)+len(t.signature):])
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// hash returns the hash of what the signature covers.
func (t *Token) hash(hash crypto.Hash) []byte {
	if hash == crypto.SHA256 {
		return t.sum()
	}
	h := hash.New()
	h.Write(t.signed)
	return h.Sum(nil)
}

// verifyECDSA checks the two numbers of a signature, which are written one after
// the other in exactly the size of the curve (RFC 7518 section 3.4). There is room
// for maxDER more bytes.
func verifyECDSA(p *ecdsa.PublicKey, digest, signature, room []byte) bool {
	size := (p.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	return ecdsa.VerifyASN1(p, digest, appendDER(room[:0], signature[:size], signature[size:]))
}

// maxDER is the longest signature in DER: two numbers of 66 bytes.
const maxDER = 3 + 2*(2+66)

// appendDER writes the numbers of a signature as a SEQUENCE of two INTEGERs (RFC
// 3279 section 2.2.3).
func appendDER(out, r, s []byte) []byte {
	r, s = significant(r), significant(s)
	n := integerSize(r) + integerSize(s)
	out = append(out, 0x30)
	if n >= 0x80 { // as for P-521; never above 0xff
		out = append(out, 0x81)
	}
	out = append(out, byte(n))
	for _, number := range [2][]byte{r, s} {
		out = append(out, 0x02, byte(integerSize(number)-2))
		if number[0] >= 0x80 {
			out = append(out, 0) // or it would be negative
		}
		out = append(out, number...)
	}
	return out
}

// significant returns a number without the zeros before it.
func significant(number []byte) []byte {
	for len(number) > 1 && number[0] == 0 {
		number = number[1:]
	}
	return number
}

// integerSize is how many bytes an INTEGER takes.
func integerSize(number []byte) int { return 2 + len(number) + int(number[0]>>7) }

// hashOf returns the hash that the last three digits of an algorithm name.
func hashOf(algorithm string) crypto.Hash {
	switch algorithm[2:] {
	case "256":
		return crypto.SHA256
	case "384":
		return crypto.SHA384
	default:
		return crypto.SHA512
	}
}
