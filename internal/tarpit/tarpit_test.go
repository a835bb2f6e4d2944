package tarpit_test

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/tarpit"
)

const (
	burst       = 20
	longest     = 2 * time.Second
	mostHeld    = 1024
	mostEntered = 64
)

var (
	liar   = netip.MustParseAddr("192.0.2.1")
	honest = netip.MustParseAddr("192.0.2.2")
)

// hold returns how long a failure of peer was held.
func hold(ctx context.Context, pit *tarpit.Tarpit, peer netip.Addr) time.Duration {
	start := time.Now()
	pit.Hold(ctx, peer)
	return time.Since(start)
}

// flood fails n times at once, and returns when what is held is held.
func flood(t *testing.T, pit *tarpit.Tarpit, peer netip.Addr, n int) {
	for range n {
		go pit.Hold(t.Context(), peer)
	}
	synctest.Wait()
}

func TestAFewFailuresAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		for i := range burst {
			if took := hold(t.Context(), pit, liar); took != 0 {
				t.Fatalf("failure %d was held for %v, want none of the first %d", i+1, took, burst)
			}
		}
		if took := hold(t.Context(), pit, liar); took == 0 {
			t.Errorf("failure %d was told at once", burst+1)
		}
		if pit.Held() != 1 {
			t.Errorf("Held() = %d, want 1", pit.Held())
		}
	})
}

func TestASteadyFewAreNeverHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		for range 500 {
			if took := hold(t.Context(), pit, liar); took != 0 {
				t.Fatalf("one of ten failures a second was held for %v", took)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A flood is as fast as its width allows: each answer takes the longest wait.
func TestFloodIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		start := time.Now()
		const wide, long = 300, 10
		var all sync.WaitGroup
		for range wide {
			all.Go(func() {
				for range long {
					pit.Hold(context.Background(), liar)
				}
			})
		}
		all.Wait()
		if took, want := time.Since(start), (long-1)*longest; took < want {
			t.Errorf("%d failures, %d at a time, took %v, want at least %v", wide*long, wide, took, want)
		}
	})
}

func TestOthersAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		flood(t, pit, liar, 500)
		if took := hold(t.Context(), pit, honest); took != 0 {
			t.Errorf("the first failure of another peer was held for %v", took)
		}
	})
}

func TestPeerIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		flood(t, pit, liar, 500)
		// At most the longest wait is owed, and then the burst is earned again.
		time.Sleep(2 * longest)
		for i := range burst {
			if took := hold(t.Context(), pit, liar); took != 0 {
				t.Fatalf("failure %d after a quiet time was held for %v", i+1, took)
			}
		}
	})
}

func TestCallerWhoLeavesIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		flood(t, pit, liar, 100)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if took := hold(ctx, pit, liar); took != time.Millisecond {
			t.Errorf("a caller who left after 1ms was held for %v", took)
		}
	})
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		flood(t, pit, liar, 2*mostHeld)
		if took := hold(t.Context(), pit, liar); took != 0 {
			t.Errorf("one more than may be held was held for %v", took)
		}
		if held := pit.Held(); held != mostHeld {
			t.Errorf("Held() = %d, want %d", held, mostHeld)
		}
		time.Sleep(2 * longest)
	})
}

// enter lets n look at a credential, and returns how many may so far.
func enter(t *testing.T, pit *tarpit.Tarpit, peer netip.Addr, n int) (entered *atomic.Int64, leave func()) {
	entered = new(atomic.Int64)
	ctx, cancel := context.WithCancel(t.Context())
	for range n {
		go func() {
			leave, err := pit.Enter(ctx, peer)
			if err != nil {
				return
			}
			entered.Add(1)
			<-ctx.Done()
			leave()
		}()
	}
	synctest.Wait()
	return entered, cancel
}

func TestThoseWhoFailOftenEnterAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		flood(t, pit, liar, 500)
		liars, leave := enter(t, pit, liar, 500)
		if n := liars.Load(); n != mostEntered {
			t.Errorf("%d of a peer that fails often were let in, want %d", n, mostEntered)
		}
		honestOnes, leaveToo := enter(t, pit, honest, 500)
		if n := honestOnes.Load(); n != 500 {
			t.Errorf("%d of a peer that does not fail were let in, want all of 500", n)
		}
		leave()
		leaveToo()
		synctest.Wait()
		if again, leave := enter(t, pit, liar, mostEntered); again.Load() != mostEntered {
			t.Errorf("after all have left %d were let in, want %d", again.Load(), mostEntered)
			leave()
		} else {
			leave()
		}
	})
}

func TestAFewFailuresDoNotKeepOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pit := tarpit.New()
		flood(t, pit, liar, burst)
		entered, leave := enter(t, pit, liar, 500)
		defer leave()
		if n := entered.Load(); n != 500 {
			t.Errorf("after %d failures %d were let in, want all of 500", burst, n)
		}
	})
}
