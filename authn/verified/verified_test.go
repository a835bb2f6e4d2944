package verified_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
)

func result(name string, rests ...authn.Stamp) *authn.Result {
	return &authn.Result{Identity: &identity.Identity{Name: name}, Rests: rests}
}

func table(t testing.TB, size int) *verified.Table[authn.Result, *authn.Result] {
	t.Helper()
	tab, err := verified.NewTable[authn.Result](size)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func results(t testing.TB, size int) *verified.Results {
	t.Helper()
	tab, err := verified.NewResults(size)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// Two different triples must never share a key, however the bytes are split.
func TestKeyBindsEveryPart(t *testing.T) {
	all := []struct {
		kind, credential string
		audiences        []string
	}{
		{"a", "token", nil},
		{"b", "token", nil},
		{"", "atoken", nil},
		{"a", "token", []string{}},
		{"a", "token", []string{""}},
		{"a", "token", []string{"x"}},
		{"a", "token", []string{"x", "y"}},
		{"a", "token", []string{"y", "x"}},
		{"a", "token", []string{"xy"}},
		{"a", "ken", []string{"to"}},
		{"a", "token\x00", nil},
		{"a", "token" + strings.Repeat("\x00", 16), nil},
		{"a", "", nil},
		{"", "", nil},
		// What is digested of others, with the length of the kind and their number.
		{"", "\x01a\x00token", nil},
		{"", "a\x00token", nil},
		{"", "\x01a\x01\x01xtoken", nil},
		{"\x00", "token", nil},
		// The longest kind that is in the label, and longer ones.
		{"elevenbytes", "token", nil},
		{"elevenbytes", "ttoken", nil},
		{"elevenbytest", "token", nil},
		{"elevenbytestt", "oken", nil},
		{"", "\x0celevenbytest\x00token", nil},
	}
	digesters, err := verified.Digesters()
	if err != nil {
		t.Fatal(err)
	}
	for name, sum := range digesters {
		seen := map[verified.Key]int{}
		for i, c := range all {
			k := sum(c.kind, c.credential, c.audiences)
			if k != sum(c.kind, c.credential, c.audiences) {
				t.Errorf("%s: key of %+v is not always the same", name, c)
			}
			// nil and no audiences are the same question.
			if j, dup := seen[k]; dup && !(i == 3 && j == 0) {
				t.Errorf("%s: %+v and %+v share a key", name, c, all[j])
			}
			seen[k] = i
		}
	}
}

func TestEveryTableHasItsOwnKey(t *testing.T) {
	one, other := table(t, 8), table(t, 8)
	if one.Key("k", "token", nil) == other.Key("k", "token", nil) {
		t.Error("two tables give one credential the same key")
	}
}

func TestLookup(t *testing.T) {
	now := time.Now()
	var gen authn.Generation
	tab := table(t, 100)
	k := tab.Key("bearer", "secret", nil)
	if got := tab.Lookup(k, now); got != nil {
		t.Fatalf("an empty table has %v", got)
	}
	want := result("jane", gen.Stamp())
	tab.Store(k, want, now)
	if got := tab.Lookup(k, now); got == nil || got.Identity != want.Identity {
		t.Fatalf("Lookup = %v, want %v", got, want)
	}
	if got := tab.Lookup(tab.Key("bearer", "secret", []string{"other"}), now); got != nil {
		t.Errorf("another audience got %v", got)
	}
	gen.Bump()
	if got := tab.Lookup(k, now); got != nil {
		t.Errorf("after a change Lookup = %v, want nil", got)
	}
	next := result("jane", gen.Stamp())
	tab.Store(k, next, now)
	if got := tab.Lookup(k, now); got == nil || got.Identity != next.Identity || tab.Len() != 1 {
		t.Errorf("Lookup = %v of %d entries, want the new one alone", got, tab.Len())
	}
	if tab.Store(k, next, now); tab.Len() != 1 {
		t.Errorf("storing one key twice gives %d entries", tab.Len())
	}
	if hits, misses := tab.Stats(); hits != 2 || misses != 3 {
		t.Errorf("%d hits and %d misses, want 2 and 3", hits, misses)
	}
	next.Until = now.Add(time.Minute)
	if got := tab.Lookup(k, now.Add(time.Minute)); got == nil {
		t.Error("an entry changes with what it was made from")
	}
	tab.Store(k, next, now)
	if tab.Lookup(k, now.Add(time.Minute)) != nil {
		t.Error("an entry is used at the moment it ends")
	}
}

// Two keys in one bucket with one tag are told apart by the rest.
func TestWholeKeyCounts(t *testing.T) {
	var gen authn.Generation
	tab, now := table(t, 8), time.Now()
	a := verified.Key{7: 1, 15: 9}
	b := verified.Key{7: 2, 15: 9}
	tab.Store(a, result("a", gen.Stamp()), now)
	if got := tab.Lookup(b, now); got != nil {
		t.Errorf("another key got the identity of %q", got.Identity.Name)
	}
	tab.Store(b, result("b", gen.Stamp()), now)
	if got := tab.Lookup(a, now); got == nil || got.Identity.Name != "a" {
		t.Errorf("Lookup = %v, want a", got)
	}
}

func TestTableIsBounded(t *testing.T) {
	var gen authn.Generation
	tab, now := table(t, 1000), time.Now()
	for i := range 20_000 {
		tab.Store(tab.Key("k", fmt.Sprint(i), nil), result("u", gen.Stamp()), now)
	}
	if n := tab.Len(); n > 1006 {
		t.Errorf("a table for 1000 has %d entries, want at most 1006", n)
	}
	last := tab.Key("k", "19999", nil)
	if tab.Lookup(last, now) == nil {
		t.Error("a full table does not take a new entry")
	}
}

// The owner of an answer is always the one who asked for it (CVE-2026-71326,
// CVE-2026-33496: caches that mixed up two callers).
func TestAnswersBelongToWhoAsks(t *testing.T) {
	var gen authn.Generation
	tab := table(t, 512)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20_000 {
				name := fmt.Sprint((i*7 + w*13) % 3000)
				aud := []string{fmt.Sprint(i % 3)}
				k := tab.Key("k", name, aud)
				if got := tab.Lookup(k, time.Time{}); got != nil && got.Identity.Name != name+aud[0] {
					t.Errorf("%q for %q got the identity of %q", name, aud, got.Identity.Name)
					return
				}
				tab.Store(k, result(name+aud[0], gen.Stamp()), time.Time{})
				if i%5000 == 0 {
					gen.Bump()
				}
			}
		})
	}
	wg.Wait()
}

type counter struct {
	calls  int
	answer *authn.Result
	err    error
}

func (c *counter) VerifyToken(context.Context, string, []string) (*authn.Result, error) {
	c.calls++
	return c.answer, c.err
}

func TestTokensRemembers(t *testing.T) {
	var gen authn.Generation
	tests := []struct {
		name   string
		token  string
		answer *authn.Result
		err    error
		calls  int // of three
	}{
		{"verified", "good", result("jane", gen.Stamp()), nil, 1},
		{"refused", "bad", nil, errors.New("bad"), 3},
		{"unknown", "unknown", nil, authn.ErrNoCredential, 3},
		{"without an end", "eternal", result("jane"), nil, 3},
		{"already ended", "old", &authn.Result{Identity: &identity.Identity{Name: "jane"}, Until: time.Unix(1, 0)}, nil, 3},
		{"about to end", "short", &authn.Result{Identity: &identity.Identity{Name: "jane"}, Until: time.Now().Add(time.Second)}, nil, 3},
		{"too long", strings.Repeat("a", authn.MaxToken+1), result("jane", gen.Stamp()), nil, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &counter{answer: tt.answer, err: tt.err}
			v := verified.Tokens(results(t, 8), "StaticToken", c)
			for range 3 {
				got, err := v.VerifyToken(t.Context(), tt.token, nil)
				if !alike(got, tt.answer) || err != tt.err {
					t.Fatalf("VerifyToken = %v, %v, want %v, %v", got, err, tt.answer, tt.err)
				}
			}
			if c.calls != tt.calls {
				t.Errorf("three requests verified %d times, want %d", c.calls, tt.calls)
			}
		})
	}
}

// However many things a result rests on, each of them ends it.
func TestEveryRestCounts(t *testing.T) {
	for n := range 8 {
		gens := make([]authn.Generation, n+1)
		var rests []authn.Stamp
		for i := range gens {
			rests = append(rests, gens[i].Stamp())
		}
		for i := range gens {
			c := &counter{answer: result("jane", rests...)}
			v := verified.Tokens(results(t, 8), "m", c)
			for range 2 {
				if _, err := v.VerifyToken(t.Context(), "token", nil); err != nil {
					t.Fatal(err)
				}
			}
			if c.calls != 1 {
				t.Fatalf("of %d: verified %d times before a change, want 1", n+1, c.calls)
			}
			gens[i].Bump()
			if _, err := v.VerifyToken(t.Context(), "token", nil); err != nil || c.calls != 2 {
				t.Errorf("of %d: change of number %d is not seen", n+1, i+1)
			}
			rests[i] = gens[i].Stamp()
		}
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	var gen authn.Generation
	v := verified.Tokens(results(t, 8), "m", &counter{answer: result("jane", gen.Stamp())})
	token, auds := strings.Repeat("x", 1000), []string{"api"}
	n := testing.AllocsPerRun(100, func() { v.VerifyToken(t.Context(), token, auds) })
	// The race detector empties pools at random.
	if n > 0 && !raceEnabled {
		t.Errorf("a hit makes %v allocations, want none", n)
	}
}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var gen authn.Generation
			tab, now := table(b, 2*size), time.Now()
			creds := make([]string, size)
			tail := strings.Repeat("x", 1000)
			for i := range creds {
				// Only the head differs, so that a million fit into memory.
				creds[i] = fmt.Sprintf("%07d", i)
				tab.Store(tab.Key(creds[i], tail, nil), result("u", gen.Stamp()), now)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if tab.Lookup(tab.Key(creds[i*7919%size], tail, nil), now) == nil && size == 1 {
					b.Fatal("miss")
				}
			}
		})
	}
}

// An entry of another size would begin in the middle of a line of the cache.
func TestEntryFillsLines(t *testing.T) {
	if verified.EntrySize != 256 {
		t.Errorf("an entry has %d bytes, want 256", verified.EntrySize)
	}
}

// alike reports whether two results say the same.
func alike(a, b *authn.Result) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := a.Copy(), b.Copy()
	return reflect.DeepEqual(&x, &y)
}
