package verified_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
)

// A source verifies tokens by a configuration that changes. Whom a token stands
// for says everything that the answer was made from.
type source struct {
	method  identity.Method
	version atomic.Uint64 // of the configuration in force
	inForce authn.Generation
	// told is the version that everybody has been told of: what was taken back
	// before it must not be seen any more.
	told  atomic.Uint64
	calls atomic.Uint64
}

func (s *source) change() {
	v := s.version.Add(1)
	s.inForce.Bump()
	for {
		before := s.told.Load()
		if before >= v || s.told.CompareAndSwap(before, v) {
			return
		}
	}
}

func owner(method identity.Method, token string, audiences []string) string {
	return fmt.Sprintf("%q %q %q", method, token, audiences)
}

func (s *source) VerifyToken(_ context.Context, token string, audiences []string) (*authn.Result, error) {
	s.calls.Add(1)
	stamp := s.inForce.Stamp()
	version := s.version.Load()
	if strings.HasPrefix(token, "bad") {
		return nil, fmt.Errorf("bad %s", token)
	}
	res := &authn.Result{
		Identity:  &identity.Identity{Name: owner(s.method, token, audiences), UID: fmt.Sprint(version)},
		Audiences: audiences, Rests: []authn.Stamp{stamp},
	}
	if strings.HasPrefix(token, "old") {
		res.Until = time.Unix(1, 0)
	}
	return res, nil
}

// TestEveryAnswerIsItsAskers asks by many tokens, for many audiences, in several
// ways and while all configurations change, a table that is much too small. The
// identity is always that of the token that was presented, for the audiences that
// were asked for, by the way that was asked, and never from a configuration that
// was withdrawn before.
func TestEveryAnswerIsItsAskers(t *testing.T) {
	const size, askers = 256, 8
	rounds := 20_000
	switch {
	case testing.Short():
		rounds = 5_000
	case os.Getenv("GATEHOUSE_NIGHTLY") == "1":
		rounds = 130_000
	}
	tab := results(t, size)
	// The names are such that parts of one are parts of another.
	var sources []*source
	var verifiers []authn.TokenVerifier
	for _, method := range []identity.Method{"A", "B", "AB", "ABC", ""} {
		s := &source{method: method}
		sources = append(sources, s)
		verifiers = append(verifiers, verified.Tokens(tab, method, s))
	}
	audiences := [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"b", "a"}, {"ab"}, {""}, {"", ""}, {"A"}, {"\x00"}}
	heads := []string{"", "B", "BC", "C", "a", "ab", "bad", "old", "\x00", strings.Repeat("x", 1024)}
	var work sync.WaitGroup
	var asked, stale, mixed atomic.Uint64
	for w := range askers {
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for range rounds {
				if r.IntN(4000) == 0 {
					sources[r.IntN(len(sources))].change()
				}
				i := r.IntN(len(sources))
				token := heads[r.IntN(len(heads))] + fmt.Sprint(r.IntN(1+r.IntN(8)))
				auds := audiences[r.IntN(1+r.IntN(len(audiences)))]
				told := sources[i].told.Load()
				res, err := verifiers[i].VerifyToken(context.Background(), token, auds)
				asked.Add(1)
				switch {
				case err != nil:
					if !strings.HasSuffix(err.Error(), "bad "+token) {
						mixed.Add(1)
					}
				case strings.HasPrefix(token, "bad") || res.Identity.Name != owner(sources[i].method, token, auds) || !slices.Equal(res.Audiences, auds):
					mixed.Add(1)
				case versionOf(res) < told:
					stale.Add(1)
				}
			}
		})
	}
	work.Wait()
	calls := uint64(0)
	for _, s := range sources {
		calls += s.calls.Load()
	}
	if mixed.Load() != 0 || stale.Load() != 0 {
		t.Errorf("of %d answers %d were another's and %d were withdrawn", asked.Load(), mixed.Load(), stale.Load())
	}
	if n := tab.Len(); n > size+6 {
		t.Errorf("a table for %d has %d entries", size, n)
	}
	if calls == asked.Load() || calls < asked.Load()/20 || calls > asked.Load()*9/10 {
		t.Errorf("%d of %d had to be verified: nothing was remembered, or nothing forgotten", calls, asked.Load())
	}
	t.Logf("%d asked, %d verified", asked.Load(), calls)
}

func versionOf(res *authn.Result) (v uint64) {
	_, _ = fmt.Sscan(res.Identity.UID, &v)
	return v
}
