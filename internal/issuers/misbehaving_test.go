package issuers_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/oidc"
)

// A turncoat is a.example.org, which misbehaves from some time on, in all that it
// is asked for, and the others, which do not.
type turncoat struct {
	good   http.RoundTripper
	mu     sync.Mutex
	bad    func(*http.Request) (*http.Response, error)
	flying map[string]int
	asked  int
	twice  string // what was asked for twice at the same time
}

func (c *turncoat) RoundTrip(r *http.Request) (*http.Response, error) {
	what := r.URL.Host + r.URL.Path + " " + r.Header.Get("Authorization")
	c.mu.Lock()
	if c.flying[what]++; c.flying[what] > 1 {
		c.twice = what
	}
	if r.URL.Host == "a.example.org" {
		c.asked++
	}
	bad := c.bad
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flying[what]--
	}()
	if bad != nil && r.URL.Host == "a.example.org" {
		return bad(r)
	}
	return c.good.RoundTrip(r)
}

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
		for how, bad := range map[string]func(*http.Request) (*http.Response, error){
			"slow": slow(30*time.Second, "{}"), "dead": dead, "garbage": says(http.StatusOK, "<html>\x00"),
		} {
			t.Run(what+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					claims := plain + "    groups: {claim: groups, prefix: ''}\n"
					w := newWorld(t, "a.example.org", "b.example.org")
					p, other := w["a.example.org"], w["b.example.org"].Token(t, audience, nil)
					c := &turncoat{good: w, flying: map[string]int{}}
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
					c.mu.Lock()
					c.bad, c.asked = bad, 0
					c.mu.Unlock()
					before := running()
					start := time.Now()
					var work sync.WaitGroup
					for i := range tokens * callers {
						ctx, leave := context.WithCancel(t.Context())
						if i%callers == 0 {
							time.AfterFunc(time.Second, leave)
						}
						work.Go(func() {
							defer leave()
							if res, err := live.Verifier().VerifyToken(ctx, texts[i%tokens], nil); err == nil {
								t.Errorf("let in: %+v", res.Identity)
							}
						})
					}
					synctest.Wait()
					if _, err := verify(live, other); err != nil || time.Since(start) != 0 {
						t.Errorf("another issuer's token: %v after %v", err, time.Since(start))
					}
					work.Wait()
					if took := time.Since(start); took > 31*time.Second {
						t.Errorf("somebody waits for %v", took)
					}
					if c.twice != "" || c.asked == 0 {
						t.Errorf("asked %d times, twice at a time for %q", c.asked, c.twice)
					}
					time.Sleep(time.Minute) // what has begun ends
					synctest.Wait()
					if after := running(); after > before {
						t.Errorf("%d goroutines before, %d after", before, after)
					}
				})
			})
		}
	}
}

// running counts the goroutines of the bubble that a test is in.
func running() int {
	text := make([]byte, 1<<20)
	return strings.Count(string(text[:runtime.Stack(text, true)]), "synctest bubble")
}
