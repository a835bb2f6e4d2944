package password_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/password"
	"gatehouse.dev/gatehouse/test/ladder"
)

var (
	home      = netip.MustParseAddr("192.0.2.1")
	elsewhere = netip.MustParseAddr("192.0.2.2")
)

// from returns a context whose peer is an address.
func from(ctx context.Context, peer netip.Addr) context.Context {
	return authn.WithConn(ctx, &authn.Conn{Peer: peer})
}

// stranger returns the n-th of very many peers.
func stranger(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// attempt logs in from peer, and returns whether it did and how long it took.
func attempt(ctx context.Context, a *password.Authenticator, peer netip.Addr, name, pw string) (ok bool, took time.Duration) {
	start := time.Now()
	res, err := a.Authenticate(login(from(ctx, peer), name, pw))
	if err == nil && res.Identity.Name != name {
		panic("somebody else is let in")
	}
	return err == nil, time.Since(start)
}

// jane returns an authenticator that knows jane, whose password is right.
func jane(t testing.TB) *password.Authenticator {
	t.Helper()
	source, err := openCSV(t, "right,jane,1\n")
	if err != nil {
		t.Fatal(err)
	}
	return authenticator(t, source)
}

func TestMistakesAreSlowed(t *testing.T) {
	for _, name := range []string{"jane", "nobody"} {
		synctest.Test(t, func(t *testing.T) {
			a := jane(t)
			for i := range 30 {
				want := max(0, min(time.Duration(i+1-password.ByPair.Burst)*time.Second, time.Second))
				ok, took := attempt(t.Context(), a, home, name, "wrong")
				if ok || took != want {
					t.Fatalf("%s: mistake %d took %v, want %v", name, i+1, took, want)
				}
			}
			// At the same time it gets slower, but never for ever.
			var all sync.WaitGroup
			start := time.Now()
			for i := range password.MostSlowed {
				all.Go(func() { attempt(t.Context(), a, home, name, "wrong"+strconv.Itoa(i)) })
			}
			all.Wait()
			if took := time.Since(start); took != password.ByPair.Longest {
				t.Errorf("%s: %d mistakes at once took %v, want %v", name, password.MostSlowed, took, password.ByPair.Longest)
			}
		})
	}
}

// Known and unknown names are slowed alike, so that nobody learns from it.
func TestRightPasswordIsNeverLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := jane(t)
		for range 100 {
			attempt(t.Context(), a, home, "jane", "wrong")
		}
		if ok, took := attempt(t.Context(), a, home, "jane", "right"); !ok || took > password.ByPair.Longest {
			t.Errorf("after 100 mistakes the right password: %v after %v", ok, took)
		}
		if ok, took := attempt(t.Context(), a, home, "jane", "right"); !ok || took != 0 {
			t.Errorf("once more: %v after %v", ok, took)
		}
	})
}

// A stranger who hammers a name from other peers does not slow its user at a
// place where he was before, and little at a new one.
func TestStrangersDoNotSlowTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := jane(t)
		attempt(t.Context(), a, home, "jane", "right")
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for n := range 200 {
			for range 5 {
				all.Go(func() {
					for ctx.Err() == nil {
						attempt(ctx, a, stranger(n), "jane", "wrong")
					}
				})
			}
		}
		for range 60 {
			time.Sleep(time.Second + time.Millisecond)
			// A typing mistake at a known place does not wait for strangers.
			if _, took := attempt(t.Context(), a, home, "jane", "mistake"); took > password.ByPair.Longest {
				t.Fatalf("a mistake at a known place took %v", took)
			}
			if ok, took := attempt(t.Context(), a, home, "jane", "right"); !ok || took != 0 {
				t.Fatalf("the user is %v after %v", ok, took)
			}
		}
		if ok, took := attempt(t.Context(), a, elsewhere, "jane", "right"); !ok || took > password.ByName.Longest {
			t.Errorf("at a new place the user is %v after %v", ok, took)
		}
		if ok, took := attempt(t.Context(), a, elsewhere, "jane", "right"); !ok || took != 0 {
			t.Errorf("and the next time %v after %v", ok, took)
		}
		stop()
		all.Wait()
	})
}

// A known place waits for no strangers, also where the password has to be
// compared again.
func TestKnownPlaceWaitsForNoStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := jane(t)
		attempt(t.Context(), a, home, "jane", "right")
		time.Sleep(password.Remember + time.Second)
		for n := range 100 {
			attempt(t.Context(), a, stranger(n), "jane", "wrong")
		}
		if ok, took := attempt(t.Context(), a, home, "jane", "right"); !ok || took != 0 {
			t.Errorf("at a known place: %v after %v", ok, took)
		}
		time.Sleep(password.Lately + time.Second)
		for n := range 100 {
			attempt(t.Context(), a, stranger(n), "jane", "wrong")
		}
		if ok, took := attempt(t.Context(), a, home, "jane", "right"); !ok || took == 0 {
			t.Errorf("at a place of long ago: %v after %v", ok, took)
		}
	})
}

// Only who knows the password can have a peer forgotten.
func TestVisits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := jane(t)
		attempt(t.Context(), a, home, "jane", "right")
		for n := range 1000 {
			attempt(t.Context(), a, stranger(n), "jane", "wrong")
		}
		if _, took := attempt(t.Context(), a, home, "jane", "mistake"); took != 0 {
			t.Errorf("after strangers a known place waits %v", took)
		}
		for n := range password.MostVisits {
			attempt(t.Context(), a, stranger(n), "jane", "right")
		}
		time.Sleep(time.Minute)
		for n := range 100 {
			attempt(t.Context(), a, stranger(1000+n), "jane", "wrong")
		}
		if _, took := attempt(t.Context(), a, home, "jane", "mistake"); took == 0 {
			t.Error("more places are known than are counted")
		}
	})
}

// A million names that nobody has take no memory, and leave the counter of a
// name that somebody has alone.
func TestSpray(t *testing.T) {
	n := 100_000
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		n = 1_000_000
	}
	synctest.Test(t, func(t *testing.T) {
		a := jane(t)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { attempt(t.Context(), a, stranger(i), "jane", "wrong") })
		}
		all.Wait()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			attempt(t.Context(), a, stranger(i), "name"+strconv.Itoa(i), "wrong")
			if i%10_000 == 0 { // far more in a second than can be compared
				time.Sleep(time.Second)
				all.Go(func() { attempt(t.Context(), a, stranger(n+i), "jane", "wrong") })
				all.Go(func() { attempt(t.Context(), a, stranger(n+i+1), "jane", "wrong") })
			}
		}
		all.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("%d names have taken %d bytes", n, grown)
		}
		if _, took := attempt(t.Context(), a, elsewhere, "jane", "wrong"); took == 0 {
			t.Error("the failures of a name were forgotten")
		}
		if ok, took := attempt(t.Context(), a, home, "joe", "wrong"); ok || took > 0 {
			t.Errorf("another name: %v after %v", ok, took)
		}
		if a.Stats().Waiting != 0 {
			t.Errorf("%d requests are counted that are over", a.Stats().Waiting)
		}
	})
}

// A wrong password of a name that is known costs the same comparisons as one of
// a name that is not; a right one ends with its own.
func TestConstantWork(t *testing.T) {
	var compared atomic.Int32
	no := func(string) bool { compared.Add(1); return false }
	yes := func(pw string) bool { compared.Add(1); return pw == "right" }
	a := authenticator(t,
		password.Fixed(map[string]password.Slow{"a": yes, "b": yes, "c": yes}, no),
		password.Fixed(map[string]password.Slow{"d": yes}, no))
	for _, tt := range []struct {
		name, password string
		want           int32
	}{
		{"a", "wrong", 4}, {"b", "wrong", 4}, {"c", "wrong", 4}, {"d", "wrong", 4}, {"nobody", "wrong", 4}, {"e", "right", 4},
		{"a", "right", 1}, {"a", "right", 0},
	} {
		compared.Store(0)
		_, _ = a.Authenticate(login(t.Context(), tt.name, tt.password))
		if got := compared.Load(); got != tt.want {
			t.Errorf("%s with %s: %d comparisons, want %d", tt.name, tt.password, got, tt.want)
		}
	}
}

// blocked is a source of jane, whose password takes until release is called to be
// compared.
func blocked(t testing.TB) (a *password.Authenticator, running *atomic.Int32, release chan struct{}) {
	running, release = new(atomic.Int32), make(chan struct{})
	slow := func(pw string) bool {
		running.Add(1)
		defer running.Add(-1)
		<-release
		return pw == "right"
	}
	return authenticator(t, password.Fixed(map[string]password.Slow{"jane": slow}, slow)), running, release
}

// Few passwords are compared at the same time, peers take turns, and who gives
// up leaves nothing behind.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, running, release := blocked(t)
		half := max(1, runtime.GOMAXPROCS(0)/2)
		ctx, stop := context.WithCancel(t.Context())
		var crowd, other sync.WaitGroup
		for i := range 100 {
			crowd.Go(func() { attempt(ctx, a, home, "name"+strconv.Itoa(i), "wrong") })
		}
		synctest.Wait()
		if got := int(running.Load()); got != half {
			t.Errorf("%d passwords are compared at the same time, want %d", got, half)
		}
		var in atomic.Bool
		other.Go(func() {
			ok, _ := attempt(t.Context(), a, elsewhere, "jane", "right")
			in.Store(ok)
		})
		synctest.Wait()
		for range 2 + half {
			release <- struct{}{}
			synctest.Wait()
		}
		if !in.Load() {
			t.Errorf("another peer waits behind a crowd")
		}
		if got := a.Stats().Waiting; got < 80 {
			t.Errorf("%d are counted as waiting", got)
		}
		stop()
		close(release)
		crowd.Wait()
		other.Wait()
		if a.Stats().Waiting != 0 {
			t.Errorf("%d requests are counted that are over", a.Stats().Waiting)
		}
		if ok, _ := attempt(t.Context(), a, home, "jane", "right"); !ok {
			t.Error("nobody gets in after a crowd has given up")
		}
	})
}

// Requests of one client that come together are compared once for each turn.
func TestParallelRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var compared atomic.Int32
		a := authenticator(t, password.Fixed(map[string]password.Slow{"jane": func(pw string) bool {
			compared.Add(1)
			time.Sleep(100 * time.Millisecond)
			return pw == "right"
		}}, func(string) bool { return false }))
		var all sync.WaitGroup
		var in atomic.Int32
		for range 50 {
			all.Go(func() {
				if ok, _ := attempt(t.Context(), a, home, "jane", "right"); ok {
					in.Add(1)
				}
			})
		}
		all.Wait()
		if got := a.Stats(); got.Waiting != 0 || got.Right != uint64(compared.Load()) || got.Wrong != 0 {
			t.Errorf("counted %+v", got)
		}
		if most := int32(max(1, runtime.GOMAXPROCS(0)/2)); compared.Load() > most || in.Load() != 50 {
			t.Errorf("%d comparisons for %d of 50 requests, want %d at most for all", compared.Load(), in.Load(), most)
		}
	})
}

// Past what may wait, a peer is refused unlooked, and another one is not.
func TestMostInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, release := blocked(t)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range password.MostTogether + password.MostInside {
			all.Go(func() {
				attempt(ctx, a, stranger(i/(password.MostInside)), "name"+strconv.Itoa(i), "wrong")
			})
		}
		synctest.Wait()
		if got := a.Stats().Waiting; got < password.MostTogether || got > password.MostTogether+2 {
			t.Errorf("%d wait, want %d", got, password.MostTogether)
		}
		_, err := a.Authenticate(login(from(ctx, stranger(0)), "jane", "right"))
		if err == nil || errors.Is(err, authn.ErrNoCredential) || !strings.Contains(err.Error(), "not looked at") {
			t.Errorf("past the bound: %v", err)
		}
		var in atomic.Bool
		all.Go(func() { ok, _ := attempt(t.Context(), a, elsewhere, "jane", "right"); in.Store(ok) })
		synctest.Wait()
		if got := a.Stats().Waiting; got < password.MostTogether+1 {
			t.Errorf("a peer that has none waiting is kept out: %d wait", got)
		}
		stop()
		close(release)
		all.Wait()
		if !in.Load() {
			t.Error("a peer that has none waiting is refused")
		}
	})
}

// What a refusal says is for the operator, and holds no secret: an unknown name
// may be a password in the wrong place.
func TestRefusals(t *testing.T) {
	a := jane(t)
	for _, tt := range []struct{ name, password, want, why string }{
		{"jane", "hunter2", `wrong password of user "jane" (`, "bad-proof: "},
		{"jane", "", "the password is empty", "malformed: "},
		{"hunter2", "jane", "no password file has this user name", "unknown: "},
		{"", "right", "the user name is empty", "malformed: "},
	} {
		_, err := a.Authenticate(login(t.Context(), tt.name, tt.password))
		if err == nil || errors.Is(err, authn.ErrNoCredential) || !strings.HasPrefix(err.Error(), "Password: "+tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if why := ladder.Why(t, err); why != tt.why {
			t.Errorf("%v is explained by %q, want %q", err, why, tt.why)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 100 { // or it was compared in time
		_, err := a.Authenticate(login(ctx, "jane", "right"))
		if err != nil && (errors.Is(err, authn.ErrNoCredential) || !strings.Contains(err.Error(), "not looked at") || ladder.Why(t, err) != "throttled: ") {
			t.Errorf("a request whose client is gone: %v", err)
		}
	}
}

// Remembering is bound to the whole pair, and ends.
func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var compared atomic.Int32
		yes := func(pw string) bool { compared.Add(1); return pw == "right" }
		a := authenticator(t, password.Fixed(map[string]password.Slow{"jane": yes, "jan": yes}, func(string) bool { return false }))
		for _, tt := range []struct {
			name, password string
			wait           time.Duration
			want           int32
		}{
			{"jane", "right", 0, 1}, {"jane", "right", 0, 0}, {"jane", "Right", 0, 1}, {"jane", "Right", 0, 1},
			{"jan", "right", 0, 1}, {"jane", "right", password.Remember - time.Second, 0}, {"jane", "right", 2 * time.Second, 1},
		} {
			time.Sleep(tt.wait)
			compared.Store(0)
			ok, _ := attempt(t.Context(), a, home, tt.name, tt.password)
			if ok != (tt.password == "right") || compared.Load() != tt.want {
				t.Errorf("%s with %s after %v: %v, %d comparisons, want %d", tt.name, tt.password, tt.wait, ok, compared.Load(), tt.want)
			}
		}
	})
}

func BenchmarkRemembered(b *testing.B) {
	a := jane(b)
	r := login(from(b.Context(), home), "jane", "right")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// A rehearsal counts nothing: neither against who guesses nor for who is right.
func TestRehearsal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := jane(t)
		ctx := authn.Rehearsal(from(t.Context(), home))
		for range 100 {
			if _, err := a.Authenticate(login(ctx, "jane", "wrong")); err == nil {
				t.Fatal("a wrong password is right in a rehearsal")
			}
			if _, err := a.Authenticate(login(ctx, "nobody", "wrong")); err == nil {
				t.Fatal("nobody is somebody in a rehearsal")
			}
		}
		res, err := a.Authenticate(login(ctx, "jane", "right"))
		if err != nil || res.Identity.Name != "jane" {
			t.Errorf("the right password: %v, %v", res, err)
		}
		if ok, took := attempt(t.Context(), a, home, "jane", "wrong"); ok || took != 0 {
			t.Errorf("a mistake after it took %v, want nothing owed", took)
		}
	})
}
