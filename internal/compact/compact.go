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
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/internal/inplace"
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

	signed    []byte // the first two parts where they lie, and the point between
	last      []byte // the third, too
	payload   []byte
	signature []byte
	claims    partly

	digest   [sha256.Size]byte // see Digest, once digested
	digested bool

	issuer   string // see Issuer, once it is read
	noIssuer error

	// What is used again when the token is forgotten:
	head    string              // the header that Algorithm, KeyID and Type are of
	decoded []byte              // for one part, or the last two
	room    [usualClaims]member // for those of one part
}

// Most payloads have no more members than usualClaims in all their objects, and
// most headers no more bytes than usualHeader.
const usualClaims, usualHeader = 20, 256

var errParts = errors.New("token has not three parts")

// Parse reads the form of a token. Its errors never repeat any of it.
func Parse(token string) (*Token, error) {
	t := new(Token)
	if err := t.open(token); err != nil {
		return nil, err
	}
	if err := t.readSignature(); err != nil {
		return nil, err
	}
	return t, nil
}

// open reads all but the signature into a new token, or one that was forgotten.
func (t *Token) open(token string) error {
	if len(token) > MaxSize {
		return errors.New("token is longer than 16 KiB")
	}
	// From the front, where the standard library looks at many bytes at a time.
	point := strings.IndexByte(token, '.')
	last := point + 1 + strings.IndexByte(token[point+1:], '.')
	if point < 0 || last <= point || strings.IndexByte(token[last+1:], '.') >= 0 {
		return errParts
	}
	// The text is looked at where it lies; what it stands for is in one buffer, and
	// its signature behind that once more, as the standard library wants it.
	text, size := inplace.Bytes(token), base64.RawURLEncoding.DecodedLen(len(token))+maxDER
	t.decoded = slices.Grow(t.decoded[:0], size)[:size]
	if err := t.readHeader(text[:point]); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	payload, err := decode(t.decoded[:0], text[point+1:last])
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	t.signed, t.last, t.payload = text[:last:last], text[last+1:], payload
	t.claims = partly{scanner: scanner{text: payload, members: t.room[:0]}}
	return nil
}

// readSignature is what is left to do when a token was opened.
func (t *Token) readSignature() error {
	signature, err := decode(t.decoded[:len(t.payload)], t.last)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if len(signature) == 0 {
		return errors.New("token has no signature")
	}
	t.signature = signature
	return nil
}

// decode appends to buf what part stands for and returns that. The standard
// library's decoder skips line breaks, which would give one token many forms: what
// has one stands for less than its length says, or has a length that nothing has.
func decode(buf, part []byte) ([]byte, error) {
	encoding := base64.RawURLEncoding.Strict()
	all, err := encoding.AppendDecode(buf, part)
	if err != nil {
		return nil, errors.New("not canonical unpadded base64url")
	}
	if len(all)-len(buf) != encoding.DecodedLen(len(part)) || len(part)%4 == 1 {
		return nil, errors.New("not base64url: line break")
	}
	return all[len(buf):len(all):len(all)], nil
}

// forget wipes a token for the next one, except for its header and issuer: most
// tokens have those of the one before.
func (t *Token) forget() {
	clear(t.decoded)
	t.signed, t.last, t.payload, t.signature, t.claims, t.digested = nil, nil, nil, nil, partly{}, false
}

// readHeader reads the first part of a token, unless it is known from before.
func (t *Token) readHeader(part []byte) error {
	if t.head != "" && t.head == string(part) {
		return nil
	}
	t.head = ""
	text, err := decode(t.decoded[:0], part)
	if err != nil {
		return err
	}
	header, err := parseObject(text, t.room[:0])
	if err != nil {
		return err
	}
	for i := 0; i < len(header.members); i += 1 + int(header.members[i].inner) {
		switch name := header.name(i); string(name) {
		case "crit", "b64", "jwk", "jku", "x5c", "x5u", "cty", "zip", "enc":
			return fmt.Errorf("%q is not allowed", name)
		}
	}
	algorithm, err := header.Text("alg")
	if err != nil {
		return err
	}
	if t.KeyID, err = header.String("kid"); err != nil {
		return err
	}
	if t.Type, err = header.String("typ"); err != nil {
		return err
	}
	i := slices.IndexFunc(algorithms[:], func(a string) bool { return a == string(algorithm) })
	if i < 0 {
		return errors.New("alg is none of RS, PS or ES with 256, 384 or 512, nor EdDSA")
	}
	t.Algorithm = algorithms[i]
	if len(part) <= usualHeader {
		t.head = string(part)
	}
	return nil
}

// Payload returns what the signature covers besides the header. The caller must
// not change it.
func (t *Token) Payload() []byte { return t.payload }

// DigestSize is the length of what [Token.Digest] returns.
const DigestSize = 2 * sha256.Size

// Digest returns the SHA-256 of what the signature covers, in hexadecimal. Unlike
// one of the whole token it stays the same if somebody rewrites the signature: of
// an ECDSA signature (r, s) there is always a second form, (r, n-s).
func (t *Token) Digest() string {
	var room [DigestSize]byte
	return string(t.AppendDigest(room[:0]))
}

// AppendDigest is Digest behind what is in text.
func (t *Token) AppendDigest(text []byte) []byte { return hex.AppendEncode(text, t.sum()) }

func (t *Token) sum() []byte {
	if !t.digested {
		t.digest, t.digested = sha256.Sum256(t.signed), true
	}
	return t.digest[:]
}

// Claims reads the payload as a JSON object. It is called once.
func (t *Token) Claims() (Object, error) {
	if !t.claims.begun {
		if err := t.readIssuer(); err != nil {
			return Object{}, err
		}
	}
	claims, err := t.claims.rest()
	if err != nil {
		return Object{}, fmt.Errorf("payload: %w", err)
	}
	return claims, nil
}

// readIssuer reads the payload as far as the claim iss.
func (t *Token) readIssuer() error {
	claims, err := t.claims.until("iss")
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	issuer, err := claims.Text("iss")
	if t.noIssuer = err; t.issuer != string(issuer) {
		t.issuer = string(issuer)
	}
	return nil
}

// Issuer returns the claim iss, or "" if there is none, once it was read. Tokens
// that are read in the same memory share it, as most are of the issuer of the one
// before. Anything but a string is an error.
func (t *Token) Issuer() (string, error) { return t.issuer, t.noIssuer }
