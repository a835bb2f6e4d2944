package oidc_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/union"

	"gatehouse.dev/gatehouse/test/oidc"
)

// BenchmarkToken compares what a token costs that was not seen before, in
// Kubernetes' authenticators as kube-apiserver joins them, and in Gatehouse's.
func BenchmarkToken(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256"} {
		p := &oidc.Provider{Issuer: issuer, CacheControl: "max-age=86400", Keys: []oidc.Key{oidc.NewKey(b, "k", alg)}}
		good := p.Token(b, "gatehouse", map[string]any{"groups": []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}, "email": "jane@example.org", "jti": "1"})
		tokens := map[string]string{alg: good}
		if alg == "ES256" {
			tokens["unknown issuer"] = p.Token(b, "gatehouse", map[string]any{"iss": "https://nobody.example.org"})
		}
		for _, n := range []int{1, 64} {
			theirs, ours := join(b, p, n)
			for name, token := range tokens {
				b.Run(fmt.Sprintf("%s/issuers=%d/kubernetes", name, n), func(b *testing.B) {
					for b.Loop() {
						_, _, _ = theirs.AuthenticateToken(context.Background(), token)
					}
				})
				b.Run(fmt.Sprintf("%s/issuers=%d/gatehouse", name, n), func(b *testing.B) {
					for b.Loop() {
						ours(token)
					}
				})
			}
		}
	}
}

// join returns both sides with n issuers, the last of which is p.
func join(b *testing.B, p *oidc.Provider, n int) (authenticator.Token, func(string) answer) {
	b.Helper()
	const mapping = "\n  claimMappings: {username: {claim: sub, prefix: 'o:'}, groups: {claim: groups, prefix: ''}}\n"
	head := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
	all := head
	var theirs []authenticator.Token
	for i := range n {
		url := p.Issuer
		if i < n-1 {
			url = fmt.Sprintf("https://issuer-%d.example.org", i)
		}
		entry := "- issuer: {url: '" + url + "', audiences: [gatehouse]}" + mapping
		all += entry
		theirs = append(theirs, authenticatorOf(b, everybody{p.Keys}, head+entry))
	}
	return union.NewFailOnError(theirs...), gatehouse(b, everybody{p.Keys}, all)
}

// everybody is all issuers, with the same keys.
type everybody struct{ keys []oidc.Key }

func (e everybody) RoundTrip(r *http.Request) (*http.Response, error) {
	p := oidc.Provider{Issuer: "https://" + r.URL.Host, CacheControl: "max-age=86400", Keys: e.keys}
	return p.RoundTrip(r)
}
