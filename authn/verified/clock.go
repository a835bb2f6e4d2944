package verified

import (
	"sync/atomic"
	"time"
)

const (
	// ahead is how far a [Clock] is at most ahead of the time, and tick how often
	// it is set. The difference is how late a tick may come without any harm, on a
	// machine that has more to do than it can.
	ahead = 2 * time.Second
	tick  = ahead / 20
)

// A Clock tells a time that has not come yet, for a twentieth of what [time.Now]
// costs, which reads counters of the machine. What is still good then is good
// now; for what is not, whoever asks looks at the time itself.
//
// It is set ten times a second as long as somebody asks, and stands still, with
// nothing left behind, when nobody does. That a process was stopped, or that a
// machine was asleep or its time set, is seen with the next tick: until then, a
// tenth of a second at most, it is as much behind.
//
// The zero value is ready to use.
type Clock struct {
	soon  atomic.Pointer[time.Time] // nil while it stands still
	asked atomic.Bool               // since the last tick
}

// Soon returns a time between now and two seconds from now.
func (c *Clock) Soon() time.Time {
	soon := c.soon.Load()
	if soon == nil {
		return c.start()
	}
	if !c.asked.Load() { // or all who ask would write it
		c.asked.Store(true)
	}
	return *soon
}

func (c *Clock) start() time.Time {
	soon := time.Now().Add(ahead)
	if c.soon.CompareAndSwap(nil, &soon) {
		time.AfterFunc(tick, c.turn)
	}
	return soon
}

func (c *Clock) turn() {
	if !c.asked.Swap(false) {
		c.soon.Store(nil)
		return
	}
	soon := time.Now().Add(ahead)
	c.soon.Store(&soon)
	time.AfterFunc(tick, c.turn)
}
