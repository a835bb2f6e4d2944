package verified_test

import (
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

func BenchmarkClock(b *testing.B) {
	var c verified.Clock
	for b.Loop() {
		c.Soon()
	}
}
