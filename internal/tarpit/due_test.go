package tarpit_test

import (
	"strconv"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/tarpit"
)

var second = tarpit.Pace{Interval: time.Second, Burst: 5, Longest: 8 * time.Second}

func TestDue(t *testing.T) {
	now := time.Unix(1e9, 0)
	var d tarpit.Due
	if d.Owed(now) > 0 {
		t.Error("nothing has failed, and something is owed")
	}
	for i := range 20 {
		want := min(time.Duration(i+1-second.Burst)*time.Second, second.Longest)
		if got := d.Fail(second, now); got != want {
			t.Errorf("failure %d waits %v, want %v", i+1, got, want)
		}
	}
	if got := d.Owed(now.Add(3 * time.Second)); got != 5*time.Second {
		t.Errorf("after 3 s %v is owed, want 5 s", got)
	}
	d.Forgive(second)
	if got := d.Owed(now); got != 7*time.Second {
		t.Errorf("with one forgiven %v is owed, want 7 s", got)
	}
	if got := d.Fail(second, now.Add(time.Hour)); got > 0 {
		t.Errorf("after an hour a failure waits %v", got)
	}
}

func TestSketch(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := tarpit.NewSketch(second)
	for range 20 {
		s.Fail("victim", now)
	}
	if got := s.Fail("victim", now); got != second.Longest {
		t.Errorf("a key that has failed often waits %v", got)
	}
	if got := s.Fail("other", now); got > 0 {
		t.Errorf("another key waits %v", got)
	}
	for range 21 {
		s.Forgive("victim")
	}
	if got := s.Fail("victim", now); got > 0 {
		t.Errorf("a key that was forgiven waits %v", got)
	}
}

// Many keys that fail neither make others wait, nor have a counter forgotten.
func TestSketchUnderSpray(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := tarpit.NewSketch(second)
	for range 20 {
		s.Fail("victim", now)
	}
	const names, perSecond = 1_000_000, 10_000
	for i := range names {
		s.Fail("name"+strconv.Itoa(i), now.Add(time.Duration(i)*time.Second/perSecond))
		if i%perSecond == 0 {
			s.Fail("victim", now.Add(time.Duration(i)*time.Second/perSecond))
		}
	}
	end := now.Add(names * time.Second / perSecond)
	if got := s.Fail("victim", end); got < second.Longest-time.Second {
		t.Errorf("after a million others the key that goes on failing waits %v", got)
	}
	slow := 0
	for i := range 1000 {
		if s.Fail("honest"+strconv.Itoa(i), end) > 0 {
			slow++
		}
	}
	if slow > 0 {
		t.Errorf("%d of 1000 keys wait that never failed", slow)
	}
}
