package verified_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn/verified"
)

// The clock is never behind, and never more than two seconds ahead, however long it
// was not looked at.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c verified.Clock
		for _, wait := range []time.Duration{0, 1, time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond,
			199 * time.Millisecond, 999 * time.Millisecond, time.Second, 2 * time.Second, time.Hour, 0, 1} {
			time.Sleep(wait)
			if ahead := time.Until(c.Soon()); ahead < 0 || ahead > 2*time.Second {
				t.Errorf("after %v: it is %v ahead", wait, ahead)
			}
		}
	})
}

// While it is asked all the time it goes on being set: it does not stand still
// and fall behind.
func TestClockGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c verified.Clock
		for range 10_000 {
			time.Sleep(7 * time.Millisecond)
			// A tick at the very same time may be before or after.
			if ahead := time.Until(c.Soon()); ahead < 1900*time.Millisecond || ahead > 2*time.Second {
				t.Fatalf("it is %v ahead", ahead)
			}
		}
	})
}

// Many may ask at the same time, and while it stands still and begins again.
func TestClockOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c verified.Clock
		var work sync.WaitGroup
		for i := range 50 {
			work.Go(func() {
				for j := range 200 {
					// At the very time of a tick, and longer than between two.
					time.Sleep(time.Duration(i%5*j%7) * 50 * time.Millisecond)
					if ahead := time.Until(c.Soon()); ahead < 1800*time.Millisecond || ahead > 2*time.Second {
						t.Errorf("it is %v ahead", ahead)
						return
					}
				}
			})
		}
		work.Wait()
		// Nothing goes on when nobody asks: see synctest.Test.
	})
}

func BenchmarkClock(b *testing.B) {
	var c verified.Clock
	for b.Loop() {
		c.Soon()
	}
}
