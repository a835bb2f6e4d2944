package verified

import (
	"sync/atomic"
	"time"
)

// rereads is how often a [Clock] looks at the clock on the wall.
const rereads = time.Second

// A Clock tells the time for half of what [time.Now] costs, which reads two
// counters: it reads the one that nobody sets, and how the other stood to it at
// most a second ago. So a clock that is set, or was asleep, is seen a second late.
//
// The zero value is ready to use.
type Clock struct{ last atomic.Pointer[time.Time] }

// Now returns the time.
func (c *Clock) Now() time.Time {
	if last := c.last.Load(); last != nil {
		if since := time.Since(*last); since >= 0 && since < rereads {
			return last.Add(since)
		}
	}
	now := time.Now()
	c.last.Store(&now)
	return now
}
