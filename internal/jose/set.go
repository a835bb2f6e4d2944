package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	kjson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/internal/pki/weakkey"
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
		if err := weakkey.Factored(public.N); err != nil {
			return PublishedKey{}, err
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
