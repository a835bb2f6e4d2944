package issuers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/turncoat"
)

// A graph is where the groups of one issuer are kept, beside the issuers.
type graph struct {
	turncoat.Service
	world world
}

// followGraph starts two issuers; the groups of a.example.org are kept at
// graph.example.org, and elsewhere(n) is its n-th token that says so.
func followGraph(t *testing.T) (live *issuers.Live, g *graph, elsewhere func(n int) string, groups string) {
	t.Helper()
	claims := plain + "    groups: {claim: groups, prefix: ''}\n"
	g = &graph{world: newWorld(t, "a.example.org", "b.example.org")}
	g.Good, g.Key = g.world, func(r *http.Request) string {
		if r.URL.Path != "/groups" {
			return ""
		}
		return "groups " + r.Header.Get("Authorization")
	}
	path := write(t, configuration(entry("a.example.org", claims), entry("b.example.org", claims)))
	live, _ = follow(t, path, g.world, func(c *issuers.Config) {
		c.ClaimSources, c.Transport = []string{"https://graph.example.org"}, g
	})
	p := g.world["a.example.org"]
	elsewhere = func(n int) string {
		return p.Token(t, audience, map[string]any{
			"_claim_names":   map[string]string{"groups": "s"},
			"_claim_sources": map[string]any{"s": map[string]string{"endpoint": "https://graph.example.org/groups", "access_token": fmt.Sprint(n)}},
		})
	}
	return live, g, elsewhere, p.Token(t, audience, map[string]any{"groups": []string{"dev"}})
}

// TestSlowClaimSourceCostsNobodyElse has 200 tokens wait for where their groups
// are kept, four callers for each, and counts what is asked and who is let in
// meanwhile.
func TestSlowClaimSourceCostsNobodyElse(t *testing.T) {
	const tokens, callers, bound = 200, 4, 64
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"hangs": turncoat.Hangs, "is slow and has nothing": turncoat.Slow(5*time.Second, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, _ := followGraph(t)
				g.Behave(answer)
				other := g.world["b.example.org"].Token(t, audience, map[string]any{"groups": []string{"ops"}})
				texts := make([]string, tokens)
				for i := range texts {
					texts[i] = elsewhere(i)
				}
				var work sync.WaitGroup
				for i := range tokens * callers {
					work.Go(func() {
						if res, err := verify(live, texts[i%tokens]); err == nil {
							t.Errorf("let in without its groups: %+v", res.Identity)
						}
					})
				}
				synctest.Wait()
				start := time.Now()
				for range 100 {
					if res, err := verify(live, other); err != nil || !res.Identity.InGroup("ops") {
						t.Fatal(err)
					}
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("a token of another issuer waits for %v", took)
				}
				if n := g.Counts().Asked; n != bound {
					t.Errorf("%d claims are being fetched, want %d", n, bound)
				}
				work.Wait()
				if n := g.Counts(); n.Most != bound || n.Twice != "" {
					t.Errorf("%d at the same time, twice %q", n.Most, n.Twice)
				}
				if took := time.Since(start); took > 31*time.Second {
					t.Errorf("callers waited for %v", took)
				}
			})
		})
	}
}

// Who does not wait until it is clear that nobody answers makes it clear all the
// same, and then waits for nothing.
func TestClaimSourceThatIsDown(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"hangs": turncoat.Hangs, "is dead": turncoat.Dead, "is overloaded": turncoat.Says(http.StatusServiceUnavailable, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, groups := followGraph(t)
				g.Behave(answer)
				text := elsewhere(1)
				for range 100 {
					ctx, leave := context.WithTimeout(t.Context(), 2*time.Second)
					if _, err := live.Verifier().VerifyToken(ctx, text, nil); err == nil {
						t.Error("let in without its groups")
					}
					leave()
					time.Sleep(100 * time.Millisecond)
				}
				if n := g.Counts().Asked; n < 5 || n > 20 {
					t.Errorf("asked %d times", n)
				}
				go func() { _, _ = verify(live, elsewhere(2)) }() // if one is let through now
				synctest.Wait()
				start := time.Now()
				if _, err := verify(live, elsewhere(3)); err == nil || !strings.Contains(err.Error(), "https://graph.example.org: it did not answer the last calls") || time.Since(start) != 0 {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				g.Behave(turncoat.Says(http.StatusOK, groups))
				time.Sleep(10 * time.Second) // also for what hangs still
				if res, err := verify(live, text); err != nil || !res.Identity.InGroup("dev") {
					t.Errorf("once it is back: %v, %v", res, err)
				}
			})
		})
	}
}

// What a place answers, be it refusals or garbage, does not make it one that is
// down: other people's groups are kept there.
func TestClaimSourceThatAnswers(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"garbage": turncoat.Says(http.StatusOK, "<html>"), "refuses": turncoat.Says(http.StatusForbidden, ""), "has an error": turncoat.Says(http.StatusInternalServerError, ""),
		"talks too long": turncoat.Says(http.StatusOK, strings.Repeat("x", 1<<20+1)),
		"redirects": func(r *http.Request) (*http.Response, error) {
			res, _ := turncoat.Says(http.StatusFound, "")(r)
			res.Header.Set("Location", "https://evil.example.org/")
			return res, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, groups := followGraph(t)
				g.Behave(answer)
				for i := range 20 {
					if _, err := verify(live, elsewhere(i)); err == nil {
						t.Error("let in without its groups")
					}
				}
				if n := g.Counts().Asked; n != 20 {
					t.Errorf("asked %d times about 20 tokens", n)
				}
				g.Behave(turncoat.Says(http.StatusOK, groups))
				time.Sleep(time.Second) // for as long as a failure is remembered
				if res, err := verify(live, elsewhere(0)); err != nil || !res.Identity.InGroup("dev") {
					t.Errorf("when it has the groups: %v, %v", res, err)
				}
			})
		})
	}
}

// Everybody who waits for the same groups gets them from one fetch.
func TestClaimIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, g, elsewhere, groups := followGraph(t)
		g.Behave(turncoat.Slow(3*time.Second, groups))
		text := elsewhere(1)
		var work sync.WaitGroup
		for i := range 500 {
			ctx, leave := context.WithCancel(t.Context())
			impatient := i < 100
			if impatient {
				time.AfterFunc(time.Second, leave)
			}
			work.Go(func() {
				defer leave()
				res, err := live.Verifier().VerifyToken(ctx, text, nil)
				switch {
				case impatient && (err == nil || !strings.Contains(err.Error(), "did not wait")):
					t.Errorf("somebody who left: %v, %v", res, err)
				case !impatient && (err != nil || !res.Identity.InGroup("dev")):
					t.Errorf("somebody who waited: %v, %v", res, err)
				}
			})
			if i == 0 {
				synctest.Wait() // who comes first leaves first
			}
		}
		work.Wait()
		if g.Counts().Asked != 1 {
			t.Errorf("asked %d times", g.Counts().Asked)
		}
	})
}
