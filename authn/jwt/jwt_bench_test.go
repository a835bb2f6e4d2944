package jwt_test

import (
	"fmt"
	"testing"

	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/test/oidc"
)

// The cost of a token that was not seen before: it has to be that of its
// signature, and not to grow with the number of issuers.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256"} {
		p := &oidc.Provider{Issuer: url, Keys: []oidc.Key{oidc.NewKey(b, "k", alg)}}
		token := p.Token(b, audience, map[string]any{
			"groups": []string{"dev", "ops", "a", "b", "c", "d", "e", "f", "g", "h"}, "email": "jane@example.org", "jti": "4711",
		})
		for _, n := range []int{1, 64} {
			v := many(b, p, n)
			b.Run(fmt.Sprintf("%s/issuers=%d", alg, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := v.VerifyToken(b.Context(), token, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	p := oidc.New(b, url)
	for name, token := range map[string]string{
		"unknown issuer": p.Token(b, audience, map[string]any{"iss": "https://other.example.org"}),
		"expired":        p.Token(b, audience, map[string]any{"exp": 1}),
		"no JWT":         "0123456789abcdef0123456789abcdef",
	} {
		v := many(b, p, 64)
		b.Run(name+"/issuers=64", func(b *testing.B) {
			for b.Loop() {
				if _, err := v.VerifyToken(b.Context(), token, nil); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// many returns a verifier of n issuers, one of which is p.
func many(b *testing.B, p *oidc.Provider, n int) *jwt.Verifier {
	all := []jwt.Issuer{issuer(b, p)}
	for i := range n - 1 {
		other := all[0]
		other.URL = fmt.Sprintf("https://issuer-%d.example.org", i)
		all = append(all, other)
	}
	return verifier(b, all...)
}
