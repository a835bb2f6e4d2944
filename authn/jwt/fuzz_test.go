package jwt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/oidc"
)

// signer is the key of the issuer, the same in every process, as the inputs come
// from other ones. So are the times in claimsToTry.
var signer = oidc.Key{ID: "k1", Algorithm: "EdDSA", Signer: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}

func fuzzed(f *testing.F) (*oidc.Provider, *jwt.Verifier) {
	p := &oidc.Provider{Issuer: url, Keys: []oidc.Key{signer}}
	i := issuer(f, p)
	i.Distributed = "groups"
	return p, verifier(f, i)
}

// claimsToTry are claims of tokens, the first two of good ones.
func claimsToTry(f *testing.F, p *oidc.Provider) (payloads [][]byte) {
	for _, with := range []map[string]any{
		nil,
		{"aud": []string{"a", audience}, "groups": []string{"a", "b"}, "jti": "j", "nbf": 1},
		{"_claim_names": map[string]string{"groups": "s"}, "_claim_sources": map[string]any{"s": map[string]string{"endpoint": "https://a"}}},
		{"exp": "x", "aud": []any{1, nil}},
		{"iss": "https://other"},
		{"sub": ""},
	} {
		claims := map[string]any{"iat": 1, "exp": 1 << 32}
		maps.Copy(claims, with)
		text, err := json.Marshal(p.Claims(audience, claims))
		if err != nil {
			f.Fatal(err)
		}
		payloads = append(payloads, text)
	}
	return payloads
}

// Whatever is sent, nobody gets in whom the issuer has not signed for.
func FuzzVerifyToken(f *testing.F) {
	p, v := fuzzed(f)
	for _, payload := range claimsToTry(f, p) {
		f.Add(signer.Token(f, payload))
	}
	good := signer.Token(f, claimsToTry(f, p)[0])
	if _, err := v.VerifyToken(f.Context(), good, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		res, err := v.VerifyToken(t.Context(), token, nil)
		if err != nil {
			return
		}
		signed, signature := token[:strings.LastIndexByte(token, '.')], token[strings.LastIndexByte(token, '.')+1:]
		raw, err := base64.RawURLEncoding.Strict().DecodeString(signature)
		if err != nil || !ed25519.Verify(signer.Signer.Public().(ed25519.PublicKey), []byte(signed), raw) {
			t.Errorf("accepted as %s", res.Identity.Name)
		}
	})
}

// Whatever an issuer signs, who gets in is who the claims are about, as another
// parser reads them.
func FuzzClaims(f *testing.F) {
	p, v := fuzzed(f)
	for i, payload := range claimsToTry(f, p) {
		f.Add(payload)
		if res, err := v.VerifyToken(f.Context(), signer.Token(f, payload), nil); (err == nil) != (i < 2) {
			f.Fatalf("%s: %v, %v", payload, res, err)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		res, err := v.VerifyToken(t.Context(), signer.Token(t, payload), nil)
		if err != nil {
			return
		}
		if why := wrongly(payload, res.Identity); why != "" {
			t.Errorf("%s is accepted as %+v: %s", payload, res.Identity, why)
		}
	})
}

// wrongly says why claims are not about somebody, or not for us.
func wrongly(payload []byte, who *identity.Identity) string {
	claims := map[string]json.RawMessage{} // and no struct, for which case is nothing
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err.Error()
	}
	var issuer, subject string
	var expires float64
	for name, into := range map[string]any{"iss": &issuer, "sub": &subject, "exp": &expires} {
		if err := json.Unmarshal(claims[name], into); err != nil {
			return name + ": " + err.Error()
		}
	}
	groups := []string{identity.GroupAuthenticated}
	for _, group := range listOf(claims["groups"]) {
		groups = append(groups, "g:"+group)
	}
	got := slices.Clone(who.Groups)
	slices.Sort(got)
	slices.Sort(groups)
	switch {
	case issuer != url || !slices.Contains(listOf(claims["aud"]), audience):
		return "it is of another issuer, or for somebody else"
	case expires < float64(time.Now().Unix()-1):
		return "it has expired"
	case subject == "" || who.Name != "o:"+subject || who.Credential.Method != identity.JWT:
		return "it is about somebody else"
	case !slices.Equal(got, groups):
		return fmt.Sprintf("the groups are %q", groups)
	}
	return ""
}

// listOf are the strings of a claim that is one or many.
func listOf(claim json.RawMessage) (many []string) {
	if claim = bytes.TrimSpace(claim); len(claim) > 0 && claim[0] == '"' {
		claim = slices.Concat([]byte("["), claim, []byte("]"))
	}
	_ = json.Unmarshal(claim, &many) // or there are none
	return many
}
