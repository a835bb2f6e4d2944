// Package measure tells what work costs: processor time and allocations for one
// operation, of two ways to do the same thing side by side.
//
// The two take turns, so that a neighbour that makes the machine slow for a
// while slows both, and what counts is the median of the rounds. Processor time
// is that of the whole process, with its garbage collection.
//
// The package does not measure elapsed time, which on a shared machine is
// mostly other people's.
package measure

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"syscall"
	"time"
)

const (
	// Rounds is how often each side has its turn.
	Rounds = 9
	// turn is about how long a turn lasts. It is many times the length of a
	// garbage collection, so that each round has its share of them.
	turn = 40 * time.Millisecond
)

// A Cost is what one operation costs.
type Cost struct {
	// CPU is the median of the rounds, user and system time together.
	CPU time.Duration
	// Noise is half of the range in which the middle half of the rounds is.
	Noise  time.Duration
	Allocs float64
}

// A Ratio is what the first of two ways costs, in parts of the second.
type Ratio struct{ Value, Noise float64 }

// An Operation does something n times.
type Operation func(n int)

// Batched work is done in parts, of which only the doing counts: what it needs is
// prepared before each.
type Batched struct {
	Size    int
	Prepare func(from int) // number from, and those behind it
	Do      func(from, n int)
}

// do does it n times, and returns the processor time.
func (b Batched) do(n int) (used time.Duration) {
	for from := 0; from < n; from += b.Size {
		if b.Prepare != nil {
			b.Prepare(from)
		}
		start := cpu()
		b.Do(from, min(b.Size, n-from))
		used += cpu() - start
	}
	return used
}

// whole is an operation as one part.
func (op Operation) whole() Batched {
	return Batched{Size: math.MaxInt, Do: func(_, n int) { op(n) }}
}

// One measures a single operation.
func One(ours Operation) Cost {
	b := ours.whole()
	n := calibrate(b)
	var rounds []sample
	for range Rounds {
		rounds = append(rounds, take(b, n))
	}
	return summary(rounds)
}

// Both measures two operations, and how the first compares with the second.
func Both(ours, theirs Operation) (Cost, Cost, Ratio) {
	return BothBatched(ours.whole(), theirs.whole())
}

// BothBatched is [Both] of what is done in batches.
func BothBatched(ours, theirs Batched) (Cost, Cost, Ratio) {
	n, m := calibrate(ours), calibrate(theirs)
	var a, b []sample
	var ratios []float64
	for range Rounds {
		x, y := take(ours, n), take(theirs, m)
		a, b = append(a, x), append(b, y)
		ratios = append(ratios, x.cpu/y.cpu)
	}
	value, noise := middle(ratios)
	return summary(a), summary(b), Ratio{value, noise}
}

// Once measures something that is done a single time, without a warm-up.
func Once(do func()) Cost {
	s := take(Operation(func(int) { do() }).whole(), 1)
	return Cost{CPU: time.Duration(s.cpu), Allocs: s.allocs}
}

// A sample is nanoseconds and allocations for one operation.
type sample struct{ cpu, allocs float64 }

// calibrate warms up, and returns how many operations fill a turn.
func calibrate(b Batched) int {
	b.do(1)
	for n := 1; ; n *= 2 {
		if used := b.do(n); used > turn/4 || n > 1<<28 {
			return max(1, int(float64(n)*float64(turn)/float64(used)))
		}
	}
}

func take(b Batched, n int) sample {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used := b.do(n)
	runtime.ReadMemStats(&after)
	return sample{float64(used) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}
}

// cpu returns the processor time that this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // there is no such error for one's own process
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func summary(rounds []sample) Cost {
	var times, allocs []float64
	for _, r := range rounds {
		times, allocs = append(times, r.cpu), append(allocs, r.allocs)
	}
	value, noise := middle(times)
	count, _ := middle(allocs)
	return Cost{CPU: time.Duration(math.Round(value)), Noise: time.Duration(noise), Allocs: count}
}

// middle returns the median, and half the distance of the quartiles.
func middle(values []float64) (median, spread float64) {
	s := slices.SortedFunc(slices.Values(values), cmp.Compare[float64])
	n := len(s)
	return s[n/2], (s[n*3/4] - s[n/4]) / 2
}

// Median returns the middle one of durations, and half the distance of the
// quartiles.
func Median(durations []time.Duration) (median, spread time.Duration) {
	var values []float64
	for _, d := range durations {
		values = append(values, float64(d))
	}
	m, s := middle(values)
	return time.Duration(m), time.Duration(s)
}
