package oidc_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/oidc"
)

// A credential is a generated token, and what is odd about it.
type credential struct {
	token string
	// traits are the oddities that an entry of divergences may explain.
	traits map[string]bool
}

// A generator makes tokens of one provider. What it does is settled by its
// random numbers.
type generator struct {
	*rand.Rand
	t        testing.TB
	provider *oidc.Provider
	stranger oidc.Key
	traits   map[string]bool
}

func (g *generator) is(trait string) { g.traits[trait] = true }

// one returns one of the choices; the first is by far the most frequent.
func one[T any](g *generator, usual T, others ...T) T {
	if g.IntN(8) != 0 || len(others) == 0 {
		return usual
	}
	return others[g.IntN(len(others))]
}

// odd returns usual, or rarely another value under the name of a trait.
func (g *generator) odd(usual any, trait string, others ...any) any {
	if g.IntN(24) != 0 {
		return usual
	}
	g.is(trait)
	return others[g.IntN(len(others))]
}

func (g *generator) next() credential {
	g.traits = map[string]bool{}
	payload := g.payload()
	key := g.provider.Keys[0] // the quickest to sign and to verify with
	if g.IntN(48) == 0 {
		key = g.provider.Keys[g.IntN(len(g.provider.Keys))]
	}
	header := g.header(&key)
	return credential{g.form(key.Sign(g.t, []byte(header), []byte(payload))), g.traits}
}

// claims are values of every type for every claim that anybody reads.
func (g *generator) claims() map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": one[any](g, g.provider.Issuer, "https://other.example.org", g.provider.Issuer+"/", "", 7, nil),
		"aud": one[any](g, "gatehouse", "second", "other", "", []string{"x", "gatehouse"}, []string{"gatehouse", "gatehouse"}, []string{}, []any{1, "gatehouse"}, 7),
		"exp": one[any](g, now.Add(time.Hour).Unix(), float64(now.Add(time.Hour).Unix())+0.5, now.Add(-time.Hour).Unix(), 0, true),
		"sub": one[any](g, "jane", "jané \"x\"\n", "a:b", 7, []string{"jane"}, true),
	}
	c["exp"] = g.odd(c["exp"], "odd time", "4102444800", -5, 1e17, json.Number("1e308"), nil)
	c["sub"] = g.odd(c["sub"], "empty user", "", nil)
	c["sub"] = g.odd(c["sub"], "reserved", "system:admin", "system:")
	optional := map[string]any{
		"nbf":            one[any](g, now.Unix()-5, now.Unix()+40, now.Unix()+100, 0),
		"iat":            one[any](g, now.Unix(), now.Unix()+4000, 0),
		"jti":            one[any](g, "id-1", "", 7, []string{"x"}),
		"email":          one[any](g, "jane@example.org", "jane@evil.org@example.org", 5),
		"email_verified": one[any](g, true, false, "true", nil, 1),
		"groups":         one[any](g, []string{"dev", "ops"}, "dev", []string{}, "", []string{"", "a"}, []int{1}, map[string]any{"a": 1}),
		"uid":            one[any](g, "u-1", "", 5, nil),
		"hd":             one[any](g, "example.org", "evil.org", []string{"example.org"}, nil),
		"n":              one[any](g, 7, 7.5, -1, "7", json.Number("1e400"), json.Number("123456789012345678901234567890")),
		"nested":         one[any](g, map[string]any{"a.b": []any{map[string]any{"c/d": "deep"}}, "l": []any{"x", "y"}}, map[string]any{}, []any{}, "flat", nil),
	}
	optional["email"] = g.odd(optional["email"], "empty user", "", nil)
	for _, name := range slices.Sorted(maps.Keys(optional)) {
		if g.IntN(5) != 0 {
			c[name] = optional[name]
		}
	}
	if v, ok := c["groups"]; ok {
		c["groups"] = g.odd(v, "reserved", []string{"dev", "system:masters"}, "system:authenticated")
		c["groups"] = g.odd(c["groups"], "null in groups", []any{"a", nil})
	}
	if g.IntN(30) == 0 {
		c["_claim_names"] = one[any](g, map[string]any{"other": "s"}, map[string]any{"x": "missing"}, map[string]any{"x": ""}, []string{"x"})
		c["_claim_sources"] = map[string]any{"s": map[string]any{"endpoint": "https://nowhere.example.org"}}
	}
	if g.IntN(12) == 0 {
		delete(c, one(g, "exp", "aud", "iss", "sub"))
	}
	return c
}

func (g *generator) payload() string {
	text, err := json.Marshal(g.claims())
	if err != nil {
		g.t.Fatal(err)
	}
	payload := string(text)
	if g.IntN(12) != 0 {
		return payload
	}
	tail := payload[1:]
	switch g.IntN(9) {
	case 0:
		g.is("ambiguous JSON")
		return `{"sub":"admin",` + tail
	case 1:
		g.is("ambiguous JSON")
		return `{"x":{"y":1,"y":2},` + tail
	case 2:
		g.is("names in capitals")
		return `{"SUB":"admin","Aud":"gatehouse","EXP":4102444800,"Iss":"` + g.provider.Issuer + `",` + tail
	case 3:
		g.is("invalid UTF-8")
		return "{\"bad\":\"\xff\"," + tail
	case 4:
		g.is("half a surrogate")
		return `{"bad":"\ud800",` + tail
	case 5:
		g.is("deep JSON")
		return `{"deep":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "," + tail
	case 6:
		g.is("many members")
		var b strings.Builder
		for i := range 70 {
			fmt.Fprintf(&b, `"m%d":%d,`, i, i)
		}
		return "{" + b.String() + tail
	case 7:
		return " \n\t" + payload + " "
	}
	return []string{payload + "x", "[" + payload + "]", "", "null", "{}", payload[:len(payload)-1]}[g.IntN(6)]
}

// header returns a header for key, or makes key one that has not signed it.
func (g *generator) header(key *oidc.Key) string {
	header := fmt.Sprintf(`"alg":%q,"kid":%q,"typ":"JWT"`, key.Algorithm, key.ID)
	switch g.IntN(24) {
	case 0:
		header = fmt.Sprintf(`"alg":%q`, key.Algorithm)
	case 1:
		header = fmt.Sprintf(`"alg":%q,"kid":"unknown"`, key.Algorithm)
	case 2:
		header = fmt.Sprintf(`"alg":%q,"kid":%q`, []string{"none", "HS256", "RS256", "ES384", "EdDSA", "PS256", "es256", ""}[g.IntN(8)], key.ID)
	case 3:
		*key = oidc.Key{ID: key.ID, Algorithm: key.Algorithm, Signer: g.stranger.Signer}
		if key.Algorithm != g.stranger.Algorithm {
			key.Algorithm = g.stranger.Algorithm
		}
	case 4:
		g.is("key in the header")
		jwk, err := json.Marshal(g.stranger.JWK())
		if err != nil {
			g.t.Fatal(err)
		}
		header += []string{`,"jwk":` + string(jwk), `,"jku":"https://evil.example.org"`, `,"x5u":"https://evil"`, `,"x5c":["AAAA"]`}[g.IntN(4)]
	case 5:
		header += []string{`,"x5t":"AAAA"`, `,"nonce":"x"`, `,"x5t#S256":"AAAA"`, `,"foo":[1]`}[g.IntN(4)]
	case 6:
		odd := []string{`,"cty":"JWT"`, `,"crit":["exp"],"exp":1`, `,"b64":false`, `,"zip":"DEF"`, `,"enc":"A"`, `,"kid":"twice"`, `,"typ":5`}
		n := g.IntN(len(odd))
		if g.is("other header"); n > 4 {
			g.is("odd header")
		}
		header += odd[n]
	}
	return "{" + header + "}"
}

// form changes what a token looks like.
func (g *generator) form(token string) string {
	if g.IntN(16) != 0 {
		return token
	}
	parts := strings.Split(token, ".")
	switch g.IntN(10) {
	case 0:
		g.is("lenient base64")
		return token + "="
	case 1:
		g.is("lenient base64")
		return parts[0] + "." + parts[1] + ".\n" + parts[2]
	case 2:
		g.is("lenient base64")
		return " " + token
	case 3:
		return token[:len(token)-1-g.IntN(20)]
	case 4:
		b := []byte(token)
		b[g.IntN(len(b))] ^= 1 << g.IntN(7)
		g.is("lenient base64") // the bit may be one that stands for nothing
		return string(b)
	case 5:
		return token + "." + parts[0]
	case 6:
		return parts[0] + "." + parts[1] + "."
	case 7:
		return parts[0] + "." + parts[1]
	case 8:
		return `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
	}
	return parts[1] + "." + parts[0] + "." + parts[2]
}
