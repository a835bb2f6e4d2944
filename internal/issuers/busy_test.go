package issuers_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/test/oidc"
	"gatehouse.dev/gatehouse/test/turncoat"
)

// kinds counts the kinds of what becomes of n tokens that come at once.
func kinds(n int, verify func(i int) error) map[authn.Kind]int {
	var work sync.WaitGroup
	var mu sync.Mutex
	all := map[authn.Kind]int{}
	for i := range n {
		work.Go(func() {
			err := verify(i)
			mu.Lock()
			defer mu.Unlock()
			if _, kind := authn.Blame(err); err != nil {
				all[kind]++
			} else {
				all[""]++
			}
		})
	}
	work.Wait()
	return all
}

// A token whose groups nobody got round to fetch is not one whose groups could
// not be fetched: there is nothing against it.
func TestTurnsThatDoNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 64 at a time, 9 s each, 30 s at most: four turns.
		const inTime, late = 4 * 64, 50
		live, g, elsewhere, groups := followGraph(t)
		g.Behave(turncoat.Slow(9*time.Second, "<html>"))
		texts := make([]string, inTime+late)
		for i := range texts {
			texts[i] = elsewhere(i)
		}
		got := kinds(len(texts), func(i int) error { _, err := verify(live, texts[i]); return err })
		if got[authn.Throttled] != late || len(got) != 2 {
			t.Errorf("refused %v, want %d that were throttled", got, late)
		}
		g.Behave(turncoat.Says(http.StatusOK, groups))
		time.Sleep(10 * time.Second)
		if got := kinds(late, func(i int) error { _, err := verify(live, texts[inTime+i]); return err }); got[""] != late {
			t.Errorf("again: %v, want all let in", got)
		}
	})
}

// A token whose key is not known and that finds no room to wait for the keys may
// be a good one; one that has waited for them is not.
func TestNoRoomToWaitForKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, more = 256, 44
		live, g, _, _ := followGraph(t)
		p := g.world["a.example.org"]
		unknown := &oidc.Provider{Issuer: p.Issuer, Keys: []oidc.Key{oidc.NewKey(t, "unknown", "ES256")}}
		present := func(i int) error {
			_, err := verify(live, unknown.Token(t, audience, map[string]any{"jti": fmt.Sprint(i)}))
			return err
		}
		_ = present(room + more) // has the keys looked at at once; the next look is later
		got := kinds(room+more, present)
		if got[authn.Throttled] != more || got[authn.Unknown] != room {
			t.Errorf("refused %v, want %d that were throttled, and the others unknown", got, more)
		}
	})
}

// Where a claim is kept is not asked again at once about a token that it had
// nothing for, however often that comes; and a second later it is.
func TestFailedClaimIsNotFetchedAtOnce(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"dead": turncoat.Dead, "garbage": turncoat.Says(http.StatusOK, "<html>"), "refuses": turncoat.Says(http.StatusForbidden, ""), "has an error": turncoat.Says(http.StatusInternalServerError, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, g, elsewhere, groups := followGraph(t)
				g.Behave(answer)
				text, other := elsewhere(1), elsewhere(2)
				_, first := verify(live, text)
				for range 1000 {
					if _, err := verify(live, text); err == nil || err.Error() != first.Error() {
						t.Fatalf("let in, or refused for another reason: %v, %v", err, first)
					}
				}
				if n := g.Counts().Asked; n != 1 {
					t.Errorf("asked %d times", n)
				}
				g.Behave(turncoat.Says(http.StatusOK, groups))
				if res, err := verify(live, other); err != nil || !res.Identity.InGroup("dev") {
					t.Errorf("another token: %v, %v", res, err)
				}
				time.Sleep(time.Second)
				if res, err := verify(live, text); err != nil || !res.Identity.InGroup("dev") {
					t.Errorf("a second later: %v, %v", res, err)
				}
			})
		})
	}
}

// What is remembered of failures is bounded, and what is past that is asked for.
func TestFailedClaimsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1024
		live, g, elsewhere, _ := followGraph(t)
		g.Behave(turncoat.Says(http.StatusForbidden, ""))
		texts := make([]string, most+10)
		for i := range texts {
			texts[i] = elsewhere(i)
		}
		ask := func() int {
			g.Behave(turncoat.Says(http.StatusForbidden, ""))
			for _, text := range texts {
				if _, err := verify(live, text); err == nil {
					t.Fatal("let in without its groups")
				}
			}
			return g.Counts().Asked
		}
		if first, second := ask(), ask(); first != len(texts) || second != len(texts)-most {
			t.Errorf("asked %d times, and then %d times, want %d and %d", first, second, len(texts), len(texts)-most)
		}
		time.Sleep(time.Second)
		if again, last := ask(), ask(); again != len(texts) || last != len(texts)-most {
			t.Errorf("later: asked %d times, and then %d times", again, last)
		}
	})
}
