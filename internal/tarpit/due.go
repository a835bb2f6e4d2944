package tarpit

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// A Pace is how fast something may fail.
type Pace struct {
	// Interval is what each failure has to wait for once there were Burst of
	// them at once.
	Interval time.Duration
	Burst    int
	// Longest is what anything waits at most.
	Longest time.Duration
}

// Due counts failures by the time until when they are paid for: each adds an
// interval. (The generic cell rate algorithm.) The zero value has counted none.
type Due struct{ at atomic.Int64 } // Unix nanoseconds

// Fail counts a failure at now, and returns how long its sender waits.
func (d *Due) Fail(p Pace, now time.Time) time.Duration {
	n := now.UnixNano()
	for {
		before := d.at.Load()
		due := max(before, n-int64(p.Burst)*int64(p.Interval)) + int64(p.Interval)
		due = min(due, n+int64(p.Longest))
		if d.at.CompareAndSwap(before, due) {
			return time.Duration(due - n)
		}
	}
}

// Forgive takes back one failure: what was counted before it was known has
// succeeded.
func (d *Due) Forgive(p Pace) { d.at.Add(-int64(p.Interval)) }

// Owed returns how long the next one would wait: 0 or less if it would not.
func (d *Due) Owed(now time.Time) time.Duration { return time.Duration(d.at.Load() - now.UnixNano()) }

const (
	rows    = 4
	columns = 1 << 14
)

// A Sketch counts the failures of any number of keys in half a megabyte. (A
// count-min sketch.) Each key has a counter in each row, and owes what the least
// of them says: it owes too much only if others share all of its counters, which
// nobody outside can bring about but by failing thousands of times a second.
// Nothing is ever evicted. Use [NewSketch].
type Sketch struct {
	pace Pace
	seed maphash.Seed
	due  [rows][columns]Due
}

// NewSketch returns a sketch in which each key has this pace.
func NewSketch(p Pace) *Sketch { return &Sketch{pace: p, seed: maphash.MakeSeed()} }

// Fail counts a failure of key at now, and returns how long its sender waits.
func (s *Sketch) Fail(key string, now time.Time) time.Duration {
	wait := s.pace.Longest
	for _, d := range s.counters(key) {
		wait = min(wait, d.Fail(s.pace, now))
	}
	return wait
}

// Forgive takes back one failure of key.
func (s *Sketch) Forgive(key string) {
	for _, d := range s.counters(key) {
		d.Forgive(s.pace)
	}
}

// counters are those of key: one 64-bit hash gives a place in each row.
func (s *Sketch) counters(key string) (all [rows]*Due) {
	h := maphash.String(s.seed, key)
	for row := range all {
		all[row] = &s.due[row][h%columns]
		h /= columns
	}
	return all
}
