package siege

import (
	"fmt"
	"slices"
	"time"
)

// Times are a distribution.
type Times struct {
	Count         int
	P50, P99, Max time.Duration
}

func (t Times) String() string {
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v", t.Count, round(t.P50), round(t.P99), round(t.Max))
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// A clock keeps times. It is small enough to keep them all.
type clock struct{ all []time.Duration }

func (c *clock) add(d time.Duration) { c.all = append(c.all, d) }

func (c *clock) times() Times {
	slices.Sort(c.all)
	n := len(c.all)
	if n == 0 {
		return Times{}
	}
	return Times{Count: n, P50: c.all[n/2], P99: c.all[min(n-1, n*99/100)], Max: c.all[n-1]}
}
