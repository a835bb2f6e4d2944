package issuers_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/oidc"
)

func from(ctx context.Context, peer string) context.Context {
	return authn.WithConn(ctx, &authn.Conn{Peer: netip.MustParseAddr(peer)})
}

// An issuer rotates its keys while people log in and strangers make up tokens of
// keys that nobody has: nobody who has a good one is refused, nobody waits for
// more than five seconds, and the issuer is asked a bounded number of times.
func TestRotationAmongStrangers(t *testing.T) {
	for name, strangers := range map[string]struct {
		peer  string
		every time.Duration
		kids  int
	}{
		"nobody":                                {"", 0, 0},
		"one key, from elsewhere":               {"198.51.100.1", 500 * time.Millisecond, 1},
		"many keys, from elsewhere":             {"198.51.100.1", 5 * time.Millisecond, 1000},
		"one key, from behind the same proxy":   {"192.0.2.1", 500 * time.Millisecond, 1},
		"many keys, from behind the same proxy": {"192.0.2.1", 50 * time.Millisecond, 1000},
		"the next key, from elsewhere":          {"198.51.100.1", 500 * time.Millisecond, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rotations, apart = 4, 30 * time.Second
				w := newWorld(t, "a.example.org")
				p := w["a.example.org"]
				live, _ := follow(t, write(t, configuration(entry("a.example.org", plain))), w, nil)
				keys := make([]oidc.Key, rotations)
				for i := range keys {
					keys[i] = oidc.NewKey(t, fmt.Sprint("k", i+2), "ES256")
				}
				var work sync.WaitGroup
				over := make(chan struct{})
				if strangers.every != 0 {
					forgeries := forge(t, p, strangers.kids, keys)
					work.Go(func() { annoy(from(t.Context(), strangers.peer), live, forgeries, strangers.every, over) })
				}
				var longest atomic.Int64
				for i := range int(rotations * apart / (100 * time.Millisecond)) {
					if at := time.Duration(i) * 100 * time.Millisecond; at%apart == apart/3 {
						p.Lock()
						p.Keys = []oidc.Key{keys[at/apart]}
						p.Unlock()
					}
					work.Go(func() {
						start := time.Now()
						if _, err := live.Verifier().VerifyToken(from(t.Context(), "192.0.2.1"), p.Token(t, audience, nil), nil); err != nil {
							t.Errorf("a good token is refused: %v", err)
						}
						longest.Store(max(longest.Load(), int64(time.Since(start))))
					})
					time.Sleep(100 * time.Millisecond)
				}
				close(over)
				work.Wait()
				if longest.Load() > int64(5*time.Second) {
					t.Errorf("a good token waits for %v", time.Duration(longest.Load()))
				}
				// One at the start, and in two minutes one in five seconds with
				// four more whenever something was new.
				if n := p.Fetches; n > 1+24+4*(rotations+1) || n < 1+rotations {
					t.Errorf("the issuer is asked %d times", n)
				}
			})
		})
	}
}

// forge returns tokens that p has not signed: of n keys, or of those to come.
func forge(t *testing.T, p *oidc.Provider, n int, next []oidc.Key) (tokens []string) {
	evil := oidc.NewKey(t, "", "ES256")
	ids := make([]string, 0, max(n, len(next)))
	for i := range n {
		ids = append(ids, fmt.Sprint("made up ", i))
	}
	if n < 0 {
		for _, key := range next {
			ids = append(ids, key.ID)
		}
	}
	for _, id := range ids {
		evil.ID = id
		tokens = append(tokens, (&oidc.Provider{Issuer: p.Issuer, Keys: []oidc.Key{evil}}).Token(t, audience, nil))
	}
	return tokens
}

// annoy presents tokens one after the other, and waits for no answer.
func annoy(ctx context.Context, live *issuers.Live, tokens []string, every time.Duration, over <-chan struct{}) {
	var work sync.WaitGroup
	defer work.Wait()
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		case <-time.After(every):
			work.Go(func() { _, _ = live.Verifier().VerifyToken(ctx, tokens[i%len(tokens)], nil) })
		}
	}
}
