package compact_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/test/vectors"
)

// strictness are the texts that JSON allows and this package does not, on
// purpose.
var strictness = map[string]string{
	"y_object_duplicated_key":           "two members of one name",
	"y_object_duplicated_key_and_value": "two members of one name",
}

// Of the cases that are up to the parser, these are accepted: numbers that are
// grammar, whatever their size. Everything that is no Unicode text is refused.
func acceptedByChoice(name string) bool { return strings.HasPrefix(name, "i_number_") }

func TestJSONTestSuite(t *testing.T) {
	for name, text := range vectors.JSON(t).Parsing {
		// Every value is made the member of an object, which is all we read.
		_, err := compact.ParseObject(append(append([]byte(`{"v":`), text...), '}'))
		want := name[0] == 'y' && strictness[name] == "" || acceptedByChoice(name)
		if got := err == nil; got != want {
			t.Errorf("%s: %.100q accepted = %v, want %v (%v)", name, text, got, want, err)
		}
		// Whatever is accepted, the standard library accepts too.
		if err == nil && !json.Valid(text) {
			t.Errorf("%s: accepted, but encoding/json does not", name)
		}
	}
}

// Texts that parsers read in several ways are read in one, or refused.
func TestJSONTransform(t *testing.T) {
	for name, text := range vectors.JSON(t).Transform {
		_, err := compact.ParseObject(append(append([]byte(`{"v":`), text...), '}'))
		several := strings.HasPrefix(name, "object_same_key_") || strings.HasSuffix(name, "invalid_codepoint") || strings.HasSuffix(name, "invalid_codepoints")
		if (err != nil) != several {
			t.Errorf("%s: %q: %v", name, text, err)
		}
	}
}

type wycheproofKey struct{ Kty, Alg, Use, Crv, N, E, X, Y string }

type wycheproof struct {
	TestGroups []struct {
		Public *wycheproofKey
		Tests  []struct {
			TcID    int
			Comment string
			JWS     any
			Result  string
		}
	}
}

// Cases whose verdict is not about the signature.
var notOurs = map[int]string{
	346: "defect: a PS256 key with a PS384 token", 350: "defect: as 346",
	347: "defect: there is no algorithm ES521", 351: "defect: as 347",
	353: "the use of a JWK, which its reader checks", 354: "as 353",
	355: "the key_ops of a JWK, which its reader checks", 356: "as 355",
}

func TestWycheproofJWS(t *testing.T) {
	var suite wycheproof
	readJSON(t, "testdata/wycheproof_jws.json", &suite)
	accepted, refused := 0, 0
	for _, g := range suite.TestGroups {
		for _, tc := range g.Tests {
			if notOurs[tc.TcID] != "" {
				continue
			}
			token, compactForm := tc.JWS.(string)
			err := verify(token, g.Public)
			// A group without a public key is about HMAC: all of it is refused.
			want := tc.Result == "valid" && compactForm && g.Public != nil
			if got := err == nil; got != want {
				t.Errorf("tc%d %s: accepted = %v, want %v (%v)", tc.TcID, tc.Comment, got, want, err)
			}
			if err == nil {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted < 30 || refused < 300 {
		t.Errorf("%d accepted and %d refused: the suite was not read", accepted, refused)
	}
}

// verify does with a token what a caller does, with every key as it comes.
func verify(token string, jwk *wycheproofKey) error {
	parsed, err := compact.Parse(token)
	if err != nil {
		return err
	}
	public, err := jwk.public()
	if err != nil {
		return err
	}
	key, err := compact.NewKey("", public, jwk.algorithms()...)
	if err != nil {
		return err
	}
	return parsed.Verify(key)
}

func (k *wycheproofKey) algorithms() []string {
	if k.Alg == "" {
		return nil
	}
	return []string{k.Alg}
}

func (k *wycheproofKey) public() (crypto.PublicKey, error) {
	if k == nil {
		return nil, os.ErrInvalid
	}
	number := func(s string) *big.Int {
		b, _ := base64.RawURLEncoding.DecodeString(s)
		return new(big.Int).SetBytes(b)
	}
	if k.Kty == "RSA" {
		return &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}, nil
	}
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	curve := curves[k.Crv]
	if curve == nil {
		return nil, os.ErrInvalid
	}
	size := (curve.Params().BitSize + 7) / 8
	point := append([]byte{4}, number(k.X).FillBytes(make([]byte, size))...)
	return ecdsa.ParseUncompressedPublicKey(curve, append(point, number(k.Y).FillBytes(make([]byte, size))...))
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(into); err != nil {
		t.Fatal(err)
	}
}
