package jose_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	oracle "github.com/go-jose/go-jose/v4"

	"gatehouse.dev/gatehouse/internal/jose"
)

// jwk returns the text of one key, with members changed or added.
func jwk(t testing.TB, key any, id string, with map[string]any) string {
	t.Helper()
	text, err := json.Marshal(oracle.JSONWebKey{Key: key, KeyID: id})
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range with {
		members[name] = value
	}
	text, err = json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseSetKeeps(t *testing.T) {
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := jwk(t, rsaKey(t).Public(), "good", nil)
	ec := ecKey(t, elliptic.P256())
	tests := []struct {
		name, key, passed string
	}{
		{"RSA", jwk(t, rsaKey(t).Public(), "k", nil), ""},
		{"RSA with use, alg and key_ops", jwk(t, rsaKey(t).Public(), "k", map[string]any{"use": "sig", "alg": "RS256", "key_ops": []string{"verify"}}), ""},
		{"ECDSA", jwk(t, ec.Public(), "k", nil), ""},
		{"Ed25519", jwk(t, edwards, "k", nil), ""},
		{"no kid", jwk(t, ec.Public(), "", nil), ""},
		{"for encryption", jwk(t, ec.Public(), "k", map[string]any{"use": "enc"}), "not meant for signatures"},
		{"to sign with", jwk(t, ec.Public(), "k", map[string]any{"key_ops": []string{"sign"}}), "do not allow to verify"},
		{"odd key_ops", jwk(t, ec.Public(), "k", map[string]any{"key_ops": 1}), "no list of strings"},
		{"private", jwk(t, ec, "k", nil), "not a public key"},
		{"private RSA", jwk(t, rsaKey(t), "k", nil), "not a public key"},
		{"symmetric", `{"kty":"oct","kid":"k","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, "not a public key"},
		{"unknown type", `{"kty":"AKP","kid":"k","pub":"AAAA"}`, "unknown type"},
		{"unknown curve", `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, "unknown type"},
		{"other curve's point", strings.Replace(jwk(t, ec.Public(), "k", nil), "P-256", "P-384", 1), "not valid"},
		{"not an object", `1`, "not valid"},
		{"two members of one name", `{"kty":"RSA","kty":"EC"}`, "not valid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, passed, err := jose.ParseSet([]byte(`{"keys":[` + tt.key + `,` + good + `],"more":1}`))
			if err != nil {
				t.Fatal(err)
			}
			if tt.passed == "" {
				if len(keys) != 2 || len(passed) != 0 {
					t.Errorf("got %d keys and passed over %v, want 2 and none", len(keys), passed)
				}
				return
			}
			if len(keys) != 1 || keys[0].ID != "good" {
				t.Errorf("got %v, want the good key alone", keys)
			}
			if len(passed) != 1 || !strings.Contains(passed[0].Error(), tt.passed) {
				t.Errorf("passed over %v, want one with %q", passed, tt.passed)
			}
		})
	}
}

func TestParseSetRefuses(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"keys":null}`, `{"keys":{}}`, `{"KEYS":[]}`, `{"keys":[]} x`, `{"keys":[],"keys":[]}`,
		`{"keys":[` + strings.Repeat(`{},`, 256) + `{}]}`, `<html>`,
	} {
		if keys, _, err := jose.ParseSet([]byte(text)); err == nil {
			t.Errorf("%.40s: got %d keys, want an error", text, len(keys))
		}
	}
	if keys, passed, err := jose.ParseSet([]byte(`{"keys":[]}`)); err != nil || len(keys)+len(passed) != 0 {
		t.Errorf("empty set: %v %v %v, want nothing", keys, passed, err)
	}
}

// Wycheproof's keys: those of the groups that are about a bad key are left out.
func TestWycheproofKeys(t *testing.T) {
	data, err := os.ReadFile("testdata/wycheproof_jwk.json")
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		TestGroups []struct {
			Comment string
			Public  json.RawMessage
			Private json.RawMessage
		}
	}
	if err := json.Unmarshal(data, &suite); err != nil {
		t.Fatal(err)
	}
	usable := map[string]int{}
	for _, g := range suite.TestGroups {
		set := g.Public
		if set == nil {
			set = g.Private
		}
		keys, _, err := jose.ParseSet(set)
		if err != nil {
			t.Errorf("%s: %v", g.Comment, err)
		}
		usable[g.Comment] += len(keys)
	}
	// What names a wrong algorithm is for its reader to refuse: the key itself
	// is good, and there is no token with such an algorithm.
	want := map[string]int{"rs256": 1, "jws_mixedSymmetryKeyset": 1, "wrong_algorithm": 1, "invalid_algorithm": 1}
	for comment, n := range usable {
		if n != want[comment] {
			t.Errorf("%s: %d keys are usable, want %d", comment, n, want[comment])
		}
	}
	if len(usable) < 15 {
		t.Errorf("%d groups: the suite was not read", len(usable))
	}
}

// The errors about a key never repeat it: it may be private by mistake.
func TestParseSetTellsNoKey(t *testing.T) {
	private := jwk(t, ecKey(t, elliptic.P256()), "k", nil)
	_, passed, err := jose.ParseSet([]byte(`{"keys":[` + private + `,` + strings.Replace(private, `"x"`, `"q"`, 1) + `]}`))
	if err != nil || len(passed) != 2 {
		t.Fatalf("got %v, %v, want two keys passed over", passed, err)
	}
	var members map[string]string
	if err := json.Unmarshal([]byte(private), &members); err != nil {
		t.Fatal(err)
	}
	if told := fmt.Sprint(passed); strings.Contains(told, members["d"]) || strings.Contains(told, members["x"]) {
		t.Errorf("the key is told: %s", told)
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte(`{"keys":[` + jwk(f, ecKey(f, elliptic.P256()).Public(), "a", nil) + `]}`))
	f.Add([]byte(`{"keys":[` + jwk(f, rsaKey(f).Public(), "b", map[string]any{"use": "sig"}) + `]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, passed, err := jose.ParseSet(text)
		if err != nil && len(keys)+len(passed) > 0 {
			t.Error("keys together with an error")
		}
		for _, k := range keys {
			if k.Public == nil {
				t.Error("a key without a key")
			}
		}
	})
}

func BenchmarkParseSet(b *testing.B) {
	text := []byte(`{"keys":[` + jwk(b, rsaKey(b).Public(), "b", nil) + `]}`)
	for b.Loop() {
		if _, passed, err := jose.ParseSet(text); err != nil || len(passed) > 0 {
			b.Fatal(passed, err)
		}
	}
}
