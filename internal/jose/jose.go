// Package jose signs claims as compact JSON web tokens, and writes and reads
// JSON web key sets. It is the only importer of a JOSE library.
//
// The key decides the algorithm, as in Kubernetes (pkg/serviceaccount/jwt.go):
// RSA signs with RS256, the curves P-256, P-384 and P-521 with ES256, ES384 and
// ES512. There is no argument for it, so no caller can get it wrong.
//
// It refuses every other kind of key, symmetric ones above all, and to put a
// private key into a key set. It does not verify tokens.
package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

// Algorithm returns the name (RFC 7518 section 3.1) of the algorithm that keys
// like public sign with.
func Algorithm(public crypto.PublicKey) (string, error) {
	alg, err := algorithm(public)
	return string(alg), err
}

func algorithm(public crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", errors.New("an ECDSA key must be on the curve P-256, P-384 or P-521")
	}
	return "", fmt.Errorf("a key of type %T cannot sign tokens: it must be RSA or ECDSA", public)
}

// A Signer signs claims with one key. It is safe for concurrent use if the key
// is.
type Signer struct{ signer jose.Signer }

// NewSigner returns a Signer with key, whose tokens name it by id in their
// header "kid". The id must not be empty: a verifier would have to try all the
// keys it knows.
func NewSigner(key crypto.Signer, id string) (*Signer, error) {
	if id == "" {
		return nil, errors.New("a signing key must have an ID")
	}
	alg, err := algorithm(key.Public())
	if err != nil {
		return nil, err
	}
	// The library gets to see only what signs, never the key itself.
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: alg,
		Key:       jose.JSONWebKey{Key: cryptosigner.Opaque(key), KeyID: id},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("preparing signer: %w", err)
	}
	return &Signer{signer: signer}, nil
}

// Sign returns claims, encoded as a JSON object, as a compact token. The header
// has "alg" and "kid" and nothing else, as that of Kubernetes' tokens.
func (s *Signer) Sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	// RFC 7519 section 3: a claims set is an object.
	if payload[0] != '{' {
		return "", fmt.Errorf("claims of type %T are no JSON object", claims)
	}
	signed, err := s.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing claims: %w", err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("encoding token: %w", err)
	}
	return token, nil
}

// A Key is a public key, and the ID that tokens name it by.
type Key struct {
	ID     string
	Public crypto.PublicKey
}

// MarshalSet returns keys as a JSON web key set (RFC 7517 section 5), in their
// order. Each has the use "sig" and the algorithm it signs with.
func MarshalSet(keys []Key) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(keys))}
	for _, key := range keys {
		// Only public keys have an algorithm here, so none but them pass.
		alg, err := algorithm(key.Public)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key.ID, err)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key:       key.Public,
			KeyID:     key.ID,
			Algorithm: string(alg),
			Use:       "sig",
		})
	}
	return json.Marshal(set)
}
