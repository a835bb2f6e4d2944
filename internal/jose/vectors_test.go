package jose_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/jose"
	"gatehouse.dev/gatehouse/test/vectors"
)

// verify takes a published key or key set and a token the whole way that those
// of an issuer go, and returns what was signed.
func verify(token string, published []byte) ([]byte, error) {
	if !bytes.Contains(published, []byte(`"keys"`)) {
		published = slices.Concat([]byte(`{"keys":[`), published, []byte(`]}`))
	}
	keys, passed, err := jose.ParseSet(published)
	if err != nil {
		return nil, err
	}
	parsed, err := compact.Parse(token)
	if err != nil {
		return nil, err
	}
	err = errors.Join(append(passed, errors.New("no key"))...)
	for _, k := range keys {
		var only []string
		if k.Algorithm != "" {
			only = []string{k.Algorithm}
		} else if _, edwards := k.Public.(ed25519.PublicKey); edwards {
			only = []string{compact.EdDSA}
		}
		key, unusable := compact.NewKey(k.ID, k.Public, only...)
		if unusable != nil {
			err = errors.Join(err, unusable)
			continue
		}
		if err = parsed.Verify(key); err == nil {
			return parsed.Payload(), nil
		}
	}
	return nil, err
}

// defects are the cases of Wycheproof whose expected result is wrong for
// everybody. Other cases that are marked wrongly (tc367, 370, 372, 373) are
// about HMAC, which is refused here in any case.
var defects = map[string]string{
	"signature 346": "a PS256 key with a PS384 token", "signature 350": "as 346",
	"signature 347": "there is no algorithm ES521", "signature 351": "as 347",
}

// TestWycheproof runs all cases about signatures and keys, and refuses all of
// encryptions.
func TestWycheproof(t *testing.T) {
	accepted, refused, total := 0, 0, 0
	odd := map[string]bool{}
	for name, path := range map[string]string{
		"signature": "../compact/testdata/wycheproof_jws.json", "key": "testdata/wycheproof_jwk.json",
		"crypto": "testdata/wycheproof_crypto.json.gz", "encryption": "testdata/wycheproof_encryption.json.gz",
	} {
		var suite struct {
			NumberOfTests int
			TestGroups    []struct {
				Comment         string
				Public, Private json.RawMessage
				Tests           []struct {
					TcID            json.Number
					Comment, Result string
					JWS, JWE        any
				}
			}
		}
		unpack(t, path, &suite)
		for _, g := range suite.TestGroups {
			for _, tc := range g.Tests {
				id, form := name+" "+tc.TcID.String(), tc.JWS
				if form == nil {
					form = tc.JWE
				}
				token, compactForm := form.(string)
				if !compactForm {
					text, err := json.Marshal(form)
					if err != nil {
						t.Fatal(err)
					}
					token = string(text)
				}
				key := g.Public
				if key == nil { // shared secrets: what is signed with them is refused
					key = g.Private
				}
				_, err := verify(token, key)
				want := tc.Result == "valid" && tc.JWE == nil && compactForm && g.Public != nil
				if defects[id] != "" {
					want, odd[id] = !want, true
				}
				if (err == nil) != want {
					t.Errorf("%s %s, %s: accepted = %v, want %v (%v)", id, g.Comment, tc.Comment, err == nil, want, err)
				}
				total++
				if err == nil {
					accepted++
				} else {
					refused++
				}
			}
		}
	}
	if total != 401+26+83+139 || len(odd) != len(defects) {
		t.Errorf("%d cases, and %v of %v", total, odd, defects)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}

// TestCookbook runs the examples of RFC 7520, 7797 and 8037. What is signed with
// a shared secret, has no or another serialization, leaves the payload out, or
// is encrypted, is refused.
func TestCookbook(t *testing.T) {
	var book map[string]json.RawMessage
	unpack(t, "testdata/cookbook.json.gz", &book)
	good := []string{
		"curve25519/jws.json", "jws/4_1.rsa_v15_signature.json", "jws/4_2.rsa-pss_signature.json", "jws/4_3.ecdsa_signature.json",
	}
	tried := 0
	for path, text := range book {
		if strings.HasPrefix(path, "jwk/") {
			continue
		}
		var page struct {
			Input struct {
				Payload string
				Key     json.RawMessage
			}
			Output map[string]json.RawMessage
			// Sign and Encrypt are the two halves of a nested token.
			Sign, Encrypt struct{ Output map[string]json.RawMessage }
		}
		if err := json.Unmarshal(text, &page); err != nil {
			t.Fatal(path, err)
		}
		for _, output := range []map[string]json.RawMessage{page.Output, page.Encrypt.Output} {
			for form, raw := range output {
				token := string(raw)
				if raw[0] == '"' {
					if err := json.Unmarshal(raw, &token); err != nil {
						t.Fatal(err)
					}
				}
				tried++
				payload, err := verify(token, publicOf(t, page.Input.Key))
				want := form == "compact" && slices.Contains(good, path)
				if (err == nil) != want {
					t.Errorf("%s as %s: accepted = %v, want %v (%v)", path, form, err == nil, want, err)
				}
				if err == nil && string(payload) != page.Input.Payload {
					t.Errorf("%s: %q was signed, want %q", path, payload, page.Input.Payload)
				}
			}
		}
	}
	if len(book) != 32 || tried < 60 {
		t.Errorf("%d pages and %d tokens: the book was not read", len(book), tried)
	}
}

// Only the two public keys of the cookbook can be of a key set.
func TestCookbookKeys(t *testing.T) {
	var book map[string]json.RawMessage
	unpack(t, "testdata/cookbook.json.gz", &book)
	usable := map[string]bool{"jwk/3_1.ec_public_key.json": true, "jwk/3_3.rsa_public_key.json": true}
	for path, key := range book {
		if !strings.HasPrefix(path, "jwk/") {
			continue
		}
		keys, passed, err := jose.ParseSet(slices.Concat([]byte(`{"keys":[`), key, []byte(`]}`)))
		if err != nil || (len(keys) == 1) != usable[path] || len(keys)+len(passed) != 1 {
			t.Errorf("%s: %d keys, passed over %v, %v", path, len(keys), passed, err)
		}
	}
}

// A key that somebody else can compute the private half of verifies nothing.
func TestWeakKey(t *testing.T) {
	text, err := os.ReadFile("testdata/boulder_fermat_csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	weak := request.PublicKey.(*rsa.PublicKey)
	keys, passed, err := jose.ParseSet([]byte(`{"keys":[` + jwk(t, weak, "weak", nil) + `]}`))
	if err != nil || len(keys) != 0 || len(passed) != 1 || !strings.Contains(passed[0].Error(), "can be factored") {
		t.Errorf("%d keys, passed over %v, %v", len(keys), passed, err)
	}
}

// A key set whose text is no JSON is refused as a whole, wherever it is broken.
func TestParseSetReadsJSON(t *testing.T) {
	good := jwk(t, ecKey(t, elliptic.P256()).Public(), "good", nil)
	for name, text := range vectors.JSON(t).Parsing {
		for _, set := range []string{
			`{"keys":[` + good + `],"more":` + string(text) + `}`, `{"keys":[` + string(text) + `,` + good + `]}`,
			`{"more":[1,` + string(text) + `],"keys":[` + good + `]}`,
		} {
			keys, _, err := jose.ParseSet([]byte(set))
			if name[0] == 'n' && err == nil {
				t.Errorf("%s: %.100q is accepted", name, set)
			}
			if name[0] == 'y' && (err != nil || len(keys) != 1) {
				t.Errorf("%s: %.100q: %d keys, %v", name, set, len(keys), err)
			}
		}
	}
}

// publicOf returns the public half of a JWK, or the secret of a symmetric one.
func publicOf(t *testing.T, key json.RawMessage) []byte {
	t.Helper()
	var several []map[string]any
	if len(key) == 0 || key[0] != '[' {
		key = slices.Concat([]byte{'['}, key, []byte{']'})
	}
	if err := json.Unmarshal(key, &several); err != nil {
		t.Fatal(err)
	}
	for _, each := range several {
		maps.DeleteFunc(each, func(name string, _ any) bool {
			return slices.Contains([]string{"d", "p", "q", "dp", "dq", "qi"}, name)
		})
	}
	text, err := json.Marshal(map[string]any{"keys": several})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unpack(t *testing.T, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.NewDecoder(r).Decode(into); err != nil {
		t.Fatal(err)
	}
}
