package issuers_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/oidc"
	"gatehouse.dev/gatehouse/test/turncoat"
)

// Whatever a provider does when it is asked for keys or for claims: it is asked
// for the same thing once at a time, everybody has an answer in the end, another
// issuer's tokens wait for nothing, and nothing is left running.
func TestProviderThatMisbehaves(t *testing.T) {
	const tokens, callers = 100, 4
	for what, with := range map[string]func(n int) map[string]any{
		"keys": func(n int) map[string]any { return map[string]any{"jti": fmt.Sprint(n)} },
		"claims": func(n int) map[string]any {
			return map[string]any{
				"_claim_names":   map[string]string{"groups": "s"},
				"_claim_sources": map[string]any{"s": map[string]string{"endpoint": "https://a.example.org/groups", "access_token": fmt.Sprint(n)}},
			}
		},
	} {
		for how, bad := range map[string]turncoat.Answer{
			"slow": turncoat.Slow(30*time.Second, "{}"), "dead": turncoat.Dead, "garbage": turncoat.Garbage,
		} {
			t.Run(what+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					claims := plain + "    groups: {claim: groups, prefix: ''}\n"
					w := newWorld(t, "a.example.org", "b.example.org")
					p, other := w["a.example.org"], w["b.example.org"].Token(t, audience, nil)
					c := &turncoat.Service{Good: w, Key: func(r *http.Request) string {
						if r.URL.Host != "a.example.org" {
							return ""
						}
						return r.URL.Path + " " + r.Header.Get("Authorization")
					}}
					path := write(t, configuration(entry("a.example.org", claims), entry("b.example.org", claims)))
					live, _ := follow(t, path, w, func(cfg *issuers.Config) { cfg.Transport = c })
					signs := p
					if what == "keys" {
						signs = &oidc.Provider{Issuer: p.Issuer, Keys: []oidc.Key{oidc.NewKey(t, "unknown", "ES256")}}
					}
					texts := make([]string, tokens)
					for i := range texts {
						texts[i] = signs.Token(t, audience, with(i))
					}
					c.Behave(bad)
					before := turncoat.Running()
					start := time.Now()
					work := turncoat.Crowd(t.Context(), tokens, callers, func(ctx context.Context, n int) {
						if res, err := live.Verifier().VerifyToken(ctx, texts[n], nil); err == nil {
							t.Errorf("let in: %+v", res.Identity)
						}
					})
					synctest.Wait()
					if _, err := verify(live, other); err != nil || time.Since(start) != 0 {
						t.Errorf("another issuer's token: %v after %v", err, time.Since(start))
					}
					work.Wait()
					if took := time.Since(start); took > 31*time.Second {
						t.Errorf("somebody waits for %v", took)
					}
					if n := c.Counts(); n.Twice != "" || n.Asked == 0 {
						t.Errorf("asked %d times, twice at a time for %q", n.Asked, n.Twice)
					}
					turncoat.Settle(t, before)
				})
			})
		}
	}
}
