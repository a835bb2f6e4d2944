package foreign_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gatehouse.dev/gatehouse/test/tools"
)

// An issued token, and an audience that it is for.
type issued struct {
	Token    string `json:"token"`
	Audience string `json:"audience"`
}

func TestTokens(t *testing.T) {
	w, many := start(t), many()
	tokens := make([]issued, many)
	accounts := 10
	for i := range accounts {
		w.must(t, "POST", "/api/v1/namespaces/default/serviceaccounts", fmt.Sprintf(`{"metadata":{"name":"sa-%d"}}`, i), nil)
	}
	w.each(t, many, func(i int) error {
		tokens[i].Audience = []string{"https://vault.example.org", "gatehouse", "a b", "Ünïcode"}[i%4]
		var answer authenticationv1.TokenRequest
		err := w.do("POST", fmt.Sprintf("/api/v1/namespaces/default/serviceaccounts/sa-%d/token", i%accounts),
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"other", tokens[i].Audience}}}, &answer)
		tokens[i].Token = answer.Status.Token
		return err
	})
	var keys map[string]any
	w.must(t, "GET", "/openid/v1/jwks", nil, &keys)
	changed := make([]issued, 0, len(tokens))
	for _, token := range tokens[:min(100, many)] {
		changed = append(changed, issued{change(token.Token), token.Audience}, issued{token.Token, "somebody else"})
	}

	jose := func(all []issued) (taken, refused int) {
		text, err := json.Marshal(map[string]any{"issuer": issuer, "keys": keys, "tokens": all})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "tokens.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "node", filepath.Join(tools.NodeProgram(t, filepath.Join("testdata", "jose")), "verify.js"), file).CombinedOutput()
		var said struct{ Taken, Refused int }
		if err != nil || json.Unmarshal(out, &said) != nil {
			t.Fatalf("jose (test/need.sh node npm): %v\n%s", err, out)
		}
		return said.Taken, said.Refused
	}
	if taken, refused := jose(tokens); taken != many || refused != 0 {
		t.Errorf("jose took %d and refused %d of %d", taken, refused, many)
	}
	if taken, _ := jose(changed); taken != 0 {
		t.Errorf("jose took %d tokens that were changed or are for others", taken)
	}

	public := publicKey(t, keys)
	for _, token := range tokens {
		if !verifiesInGo(public, token.Token) {
			t.Fatalf("Go refused %s", token.Token[:strings.LastIndexByte(token.Token, '.')])
		}
	}
	// OpenSSL is a process for each, so it gets some only.
	for i := range min(many, 50) {
		if out := openssl(t, public, tokens[i].Token); !strings.Contains(out, "Verified OK") {
			t.Errorf("OpenSSL refused a token: %s", out)
		}
		if out := openssl(t, public, change(tokens[i].Token)); !strings.Contains(out, "Verification failure") {
			t.Errorf("OpenSSL took a token that was changed: %s", out)
		}
	}
}

// change changes the signature of a token.
func change(token string) string {
	i := strings.LastIndexByte(token, '.') + 5
	other := byte('A')
	if token[i] == other {
		other = 'B'
	}
	return token[:i] + string(other) + token[i+1:]
}

// publicKey is the key of a set with one.
func publicKey(t *testing.T, set map[string]any) *ecdsa.PublicKey {
	t.Helper()
	all, _ := set["keys"].([]any)
	if len(all) != 1 {
		t.Fatalf("the key set has %d keys, want 1", len(all))
	}
	key := all[0].(map[string]any)
	if key["crv"] != "P-256" || key["alg"] != "ES256" {
		t.Fatalf("the key is %v", key)
	}
	point := []byte{4} // uncompressed (SEC 1 section 2.3.3)
	for _, name := range []string{"x", "y"} {
		raw, err := base64.RawURLEncoding.DecodeString(key[name].(string))
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, raw...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// parts returns what a token signs, and the two numbers of its signature.
func parts(token string) (signed string, r, s *big.Int) {
	i := strings.LastIndexByte(token, '.')
	raw, _ := base64.RawURLEncoding.DecodeString(token[i+1:])
	if len(raw) != 64 {
		return token[:i], new(big.Int), new(big.Int)
	}
	return token[:i], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
}

func verifiesInGo(public *ecdsa.PublicKey, token string) bool {
	signed, r, s := parts(token)
	sum := sha256.Sum256([]byte(signed))
	return ecdsa.Verify(public, sum[:], r, s)
}

// openssl has OpenSSL verify the signature of a token.
func openssl(t *testing.T, public *ecdsa.PublicKey, token string) string {
	t.Helper()
	signed, r, s := parts(token)
	signature, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{
		"key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), "signature": signature, "signed": []byte(signed),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "openssl", "dgst", "-sha256", "-verify", "key", "-signature", "signature", "signed")
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}
