package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512" // for crypto.Hash
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"
	"time"
)

// A Key is one key of a provider.
type Key struct {
	ID, Algorithm string
	Signer        crypto.Signer
}

// JWK returns the public half as a JSON web key (RFC 7518 section 6).
func (k Key) JWK() map[string]string {
	b64 := base64.RawURLEncoding.EncodeToString
	jwk := map[string]string{"use": "sig", "alg": k.Algorithm}
	if k.ID != "" {
		jwk["kid"] = k.ID
	}
	switch public := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err) // the test made the key itself
		}
		size := (len(point) - 1) / 2
		jwk["kty"], jwk["crv"] = "EC", public.Params().Name
		jwk["x"], jwk["y"] = b64(point[1:1+size]), b64(point[1+size:])
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", b64(public)
	}
	return jwk
}

// NewKey makes a key of the algorithm.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	var key crypto.Signer
	var err error
	switch {
	case algorithm == "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case algorithm[0] == 'E':
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[algorithm]
		key, err = ecdsa.GenerateKey(curve, rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: id, Algorithm: algorithm, Signer: key}
}

// New returns a provider with one ES256 key named k1.
func New(t testing.TB, issuer string) *Provider {
	t.Helper()
	return &Provider{Issuer: issuer, Keys: []Key{NewKey(t, "k1", "ES256")}}
}

// Claims returns claims of a token that is good for an hour, with more members
// or other ones. A nil takes a member away.
func (p *Provider) Claims(audience string, with map[string]any) map[string]any {
	claims := map[string]any{
		"iss": p.Issuer, "aud": audience, "sub": "jane",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range with {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// Token returns a token with such claims, signed with the last key.
func (p *Provider) Token(t testing.TB, audience string, with map[string]any) string {
	t.Helper()
	p.Lock()
	key := p.Keys[len(p.Keys)-1]
	p.Unlock()
	payload, err := json.Marshal(p.Claims(audience, with))
	if err != nil {
		t.Fatal(err)
	}
	return key.Token(t, payload)
}

// Token signs a payload, under the usual header.
func (k Key) Token(t testing.TB, payload []byte) string {
	t.Helper()
	header := map[string]string{"alg": k.Algorithm, "typ": "JWT"}
	if k.ID != "" {
		header["kid"] = k.ID
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return k.Sign(t, text, payload)
}

// Sign signs any header and payload with the algorithm of the key.
func (k Key) Sign(t testing.TB, header, payload []byte) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	signature, err := k.sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64.EncodeToString(signature)
}

func (k Key) sign(message []byte) ([]byte, error) {
	if k.Algorithm == "EdDSA" {
		return k.Signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.Algorithm[2:]]
	h := hash.New()
	h.Write(message)
	var options crypto.SignerOpts = hash
	if k.Algorithm[0] == 'P' {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := k.Signer.Sign(rand.Reader, h.Sum(nil), options)
	ec, ok := k.Signer.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return signature, err
	}
	// RFC 7518 section 3.4: the two numbers alone, in the size of the curve.
	var numbers struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &numbers); err != nil {
		return nil, err
	}
	size := (ec.Params().BitSize + 7) / 8
	signature = make([]byte, 2*size)
	numbers.R.FillBytes(signature[:size])
	numbers.S.FillBytes(signature[size:])
	return signature, nil
}
