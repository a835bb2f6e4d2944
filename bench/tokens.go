package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
)

// A signer makes tokens, with the standard library alone.
type signer struct {
	algorithm string
	id        string
	key       crypto.Signer
}

// newSigners returns one of RS256 and one of ES256.
func newSigners() (rs, es *signer, err error) {
	modulus, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	point, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	rs, es = &signer{algorithm: "RS256", key: modulus}, &signer{algorithm: "ES256", key: point}
	for _, s := range []*signer{rs, es} {
		if s.id, err = serviceaccount.KeyID(s.key.Public()); err != nil {
			return nil, nil, err
		}
	}
	return rs, es, nil
}

// A signed token has besides its text what a signature check looks at.
type signed struct {
	text      string
	input     []byte
	signature []byte
}

func (s *signer) sign(claims map[string]any) (*signed, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf(`{"alg":%q,"kid":%q}`, s.algorithm, s.id)
	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	t := &signed{input: []byte(text)}
	digest := sha256.Sum256(t.input)
	if t.signature, err = s.key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		return nil, err
	}
	raw := t.signature
	if _, ok := s.key.(*ecdsa.PrivateKey); ok {
		// JOSE has the two numbers side by side (RFC 7518 section 3.4).
		var point struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(t.signature, &point); err != nil {
			return nil, err
		}
		raw = append(point.R.FillBytes(make([]byte, 32)), point.S.FillBytes(make([]byte, 32))...)
	}
	t.text = text + "." + base64.RawURLEncoding.EncodeToString(raw)
	return t, nil
}

// signMany returns tokens that differ in their number.
func (s *signer) signMany(n int, claims func(n int) map[string]any) ([]*signed, error) {
	all := make([]*signed, n)
	for i := range all {
		var err error
		if all[i], err = s.sign(claims(i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var errSignature = errors.New("the signature is bad")

// check does what the standard library has to do for a token, and no more.
func (s *signer) check(t *signed) error {
	digest := sha256.Sum256(t.input)
	switch key := s.key.Public().(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature)
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, digest[:], t.signature) {
			return nil
		}
	}
	return errSignature
}

// accountClaims are those of a pod's token.
func accountClaims(n int) map[string]any {
	const uid = "00000000-0000-0000-0000-000000000000"
	ref := func(name string) map[string]string { return map[string]string{"name": name, "uid": uid} }
	now := time.Now().Unix()
	return map[string]any{
		"iss": issuer, "aud": []string{issuer}, "sub": "system:serviceaccount:default:" + caller,
		"iat": now, "nbf": now, "exp": now + 3600, "jti": fmt.Sprintf("11111111-1111-1111-1111-%012d", n),
		"kubernetes.io": map[string]any{"namespace": "default", "serviceaccount": ref(caller),
			"pod": ref("app-5d8f9c7b6d-abcde"), "node": ref("node-1"), "warnafter": now + 3607},
	}
}

// personClaims are those of a person's token of an issuer.
func personClaims(url string) func(n int) map[string]any {
	return func(n int) map[string]any {
		now := time.Now().Unix()
		return map[string]any{
			"iss": url, "aud": audience, "sub": caller, "iat": now, "exp": now + 3600, "jti": fmt.Sprint(n),
			"email": "bench@example.org", "groups": []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"},
		}
	}
}
