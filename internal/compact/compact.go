// Package compact reads signed tokens in the compact serialization of JSON Web
// Signature (RFC 7515), strictly.
//
// The one idea: a token is decoded once, and the bytes whose signature is
// verified are the bytes that are read. There is no second, more lenient parser
// behind it that could see other claims.
//
// It refuses, before any cryptography: more than [MaxSize] bytes, anything but
// three parts, base64url that is not in its one canonical form, JSON with two
// members of one name, and a header that says how the token is to be verified.
// So a header can neither bring a key of its own (jwk, jku, x5c, x5u), nor
// change what is signed (b64), nor demand what is not understood (crit), nor
// hold another token (cty). What else is in a header has no effect (RFC 7515
// section 4). The algorithm of a token never chooses how a key is used: a [Key]
// knows its own.
package compact

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxSize is the longest token, in bytes, that is looked at.
const MaxSize = 16 << 10

// A Token is a token whose form is right. Nothing in it may be believed before
// [Token.Verify] has returned nil.
type Token struct {
	// Algorithm, KeyID and Type are alg, kid and typ of the header. The latter
	// two are empty if the header does not have them.
	Algorithm string
	KeyID     string
	Type      string

	signed    []byte // the first two parts as they are, and the point between
	payload   []byte
	signature []byte

	digest   [sha256.Size]byte // see Digest, once digested
	digested bool
}

// Parse reads the form of a token. Its errors never repeat any of it.
func Parse(token string) (*Token, error) {
	if len(token) > MaxSize {
		return nil, errors.New("token is longer than 16 KiB")
	}
	head, rest, ok1 := strings.Cut(token, ".")
	body, tail, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.IndexByte(tail, '.') >= 0 {
		return nil, errors.New("token has not three parts")
	}
	// One buffer for all there is to keep: the signed text, then the parts.
	signed := len(head) + 1 + len(body)
	buf := make([]byte, signed, signed+base64.RawURLEncoding.DecodedLen(len(token)))
	copy(buf, token)

	header, buf, err := decode(buf, head)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	payload, buf, err := decode(buf, body)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	signature, buf, err := decode(buf, tail)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if len(signature) == 0 {
		return nil, errors.New("token has no signature")
	}
	t := &Token{signed: buf[:signed:signed], payload: payload, signature: signature}
	if err := t.readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return t, nil
}

// decode appends to buf what part stands for and returns that, and all of buf.
// The standard library's decoder skips line breaks, which would give one token
// many forms, so they are looked for first.
func decode(buf []byte, part string) (decoded, all []byte, err error) {
	if strings.IndexByte(part, '\n') >= 0 || strings.IndexByte(part, '\r') >= 0 {
		return nil, nil, errors.New("not base64url: line break")
	}
	from := len(buf)
	all, err = base64.RawURLEncoding.Strict().AppendDecode(buf, []byte(part))
	if err != nil {
		return nil, nil, errors.New("not canonical unpadded base64url")
	}
	return all[from:len(all):len(all)], all, nil
}

func (t *Token) readHeader(text []byte) error {
	header, err := ParseObject(text)
	if err != nil {
		return err
	}
	for _, m := range header.members {
		switch string(m.name) {
		case "crit", "b64", "jwk", "jku", "x5c", "x5u", "cty", "zip", "enc":
			return fmt.Errorf("%q is not allowed", m.name)
		}
	}
	if t.Algorithm, err = header.String("alg"); err != nil {
		return err
	}
	if t.KeyID, err = header.String("kid"); err != nil {
		return err
	}
	if t.Type, err = header.String("typ"); err != nil {
		return err
	}
	if !slices.Contains(algorithms[:], t.Algorithm) {
		return errors.New("alg is none of RS, PS or ES with 256, 384 or 512, nor EdDSA")
	}
	return nil
}

// Payload returns what the signature covers besides the header. The caller must
// not change it.
func (t *Token) Payload() []byte { return t.payload }

// Digest returns the SHA-256 of what the signature covers. Unlike one of the
// whole token it stays the same if somebody rewrites the signature: of an ECDSA
// signature (r, s) there is always a second form, (r, n-s).
func (t *Token) Digest() [sha256.Size]byte {
	if !t.digested {
		t.digest, t.digested = sha256.Sum256(t.signed), true
	}
	return t.digest
}

// Claims reads the payload as a JSON object.
func (t *Token) Claims() (Object, error) {
	claims, err := ParseObject(t.payload)
	if err != nil {
		return Object{}, fmt.Errorf("payload: %w", err)
	}
	return claims, nil
}
