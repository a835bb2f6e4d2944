package issuers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/issuers"
)

// A graph is where the groups of one issuer are kept.
type graph struct {
	world
	answer func(r *http.Request) (*http.Response, error)

	mu     sync.Mutex
	asked  int
	flying map[string]int // by access token
	most   int            // that were flying at the same time
	twice  bool           // one access token was
}

func (g *graph) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/groups" {
		return g.world.RoundTrip(r)
	}
	bearer := r.Header.Get("Authorization")
	g.mu.Lock()
	g.asked++
	g.flying[bearer]++
	g.twice = g.twice || g.flying[bearer] > 1
	n := 0
	for _, each := range g.flying {
		n += each
	}
	g.most = max(g.most, n)
	answer := g.answer
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.flying[bearer]--
	}()
	return answer(r)
}

func (g *graph) behave(answer func(r *http.Request) (*http.Response, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer, g.asked = answer, 0
}

func (g *graph) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func says(code int, text string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	}
}

// hangs never answers.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func slow(by time.Duration, text string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(by):
			return says(http.StatusOK, text)(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func dead(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// followGraph starts two issuers; the groups of a.example.org are kept at
// graph.example.org, and elsewhere(n) is its n-th token that says so.
func followGraph(t *testing.T) (live *issuers.Live, g *graph, elsewhere func(n int) string, groups string) {
	t.Helper()
	claims := plain + "    groups: {claim: groups, prefix: ''}\n"
	g = &graph{world: newWorld(t, "a.example.org", "b.example.org"), flying: map[string]int{}}
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
		"hangs": hangs, "is slow and has nothing": slow(5*time.Second, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, _ := followGraph(t)
				g.behave(answer)
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
				if n := g.count(); n != bound {
					t.Errorf("%d claims are being fetched, want %d", n, bound)
				}
				work.Wait()
				if g.most != bound || g.twice {
					t.Errorf("%d at the same time, one token twice: %t", g.most, g.twice)
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
		"hangs": hangs, "is dead": dead, "is overloaded": says(http.StatusServiceUnavailable, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, groups := followGraph(t)
				g.behave(answer)
				text := elsewhere(1)
				for range 100 {
					ctx, leave := context.WithTimeout(t.Context(), 2*time.Second)
					if _, err := live.Verifier().VerifyToken(ctx, text, nil); err == nil {
						t.Error("let in without its groups")
					}
					leave()
					time.Sleep(100 * time.Millisecond)
				}
				if n := g.count(); n < 5 || n > 20 {
					t.Errorf("asked %d times", n)
				}
				go func() { _, _ = verify(live, elsewhere(2)) }() // if one is let through now
				synctest.Wait()
				start := time.Now()
				if _, err := verify(live, elsewhere(3)); err == nil || !strings.Contains(err.Error(), "https://graph.example.org: it did not answer the last calls") || time.Since(start) != 0 {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				g.behave(says(http.StatusOK, groups))
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
		"garbage": says(http.StatusOK, "<html>"), "refuses": says(http.StatusForbidden, ""), "has an error": says(http.StatusInternalServerError, ""),
		"talks too long": says(http.StatusOK, strings.Repeat("x", 1<<20+1)),
		"redirects": func(r *http.Request) (*http.Response, error) {
			res, _ := says(http.StatusFound, "")(r)
			res.Header.Set("Location", "https://evil.example.org/")
			return res, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, groups := followGraph(t)
				g.behave(answer)
				for i := range 20 {
					if _, err := verify(live, elsewhere(i)); err == nil {
						t.Error("let in without its groups")
					}
				}
				if n := g.count(); n != 20 {
					t.Errorf("asked %d times about 20 tokens", n)
				}
				g.behave(says(http.StatusOK, groups))
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
		g.behave(slow(3*time.Second, groups))
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
		if g.count() != 1 {
			t.Errorf("asked %d times", g.count())
		}
	})
}
