package verified_test

import (
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn/verified"
)

// The clock says what the library's says, however long it was not looked at.
func TestClock(t *testing.T) {
	var c verified.Clock
	if before, now, after := time.Now(), c.Now(), time.Now(); now.Before(before) || now.After(after) {
		t.Errorf("%v is not between %v and %v", now, before, after)
	}
	synctest.Test(t, func(t *testing.T) {
		// A clock that was read in another time.
		for _, wait := range []time.Duration{0, 1, time.Millisecond, 999 * time.Millisecond, time.Second, time.Hour, 0, 1} {
			time.Sleep(wait)
			if got, want := c.Now(), time.Now(); !got.Equal(want) || got.Sub(want) != 0 {
				t.Errorf("after %v: %v, want %v", wait, got, want)
			}
		}
	})
	if before, now, after := time.Now(), c.Now(), time.Now(); now.Before(before) || now.After(after) {
		t.Errorf("back: %v is not between %v and %v", now, before, after)
	}
	for range 1000 {
		before, now, after := time.Now(), c.Now(), time.Now()
		if now.Before(before) || now.After(after) {
			t.Fatalf("%v is not between %v and %v", now, before, after)
		}
	}
}

func BenchmarkClock(b *testing.B) {
	var c verified.Clock
	for b.Loop() {
		c.Now()
	}
}
