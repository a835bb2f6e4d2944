package outcall

import (
	"errors"
	"sync"
	"time"
)

const (
	// tripAfter is how many exchanges in a row have to fail before no more are
	// tried: as many as one call makes.
	tripAfter = 5
	// While the service is taken to be down, one call is let through after
	// firstProbe, and then after twice as long each time, up to longestProbe.
	// So a service that is back is asked again after 5 s at the most.
	firstProbe   = time.Second
	longestProbe = 5 * time.Second
)

// ErrDown is why a call was not made: the service has not answered of late, and
// the next try is not due yet.
var ErrDown = errors.New("it did not answer the last calls, and is asked again in a few seconds")

// A breaker keeps calls from a service that does not answer. What counts is
// whether it answers, not what: a caller who provokes bad answers must not be
// able to turn others away.
type breaker struct {
	mu       sync.Mutex
	failures int // in a row
	probe    time.Time
	interval time.Duration
}

// refuses reports whether no call may be made now.
func (b *breaker) refuses(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= tripAfter && now.Before(b.probe)
}

// allow returns nil if a call may be made now. It is then the probe of a service
// that is down, if it is.
func (b *breaker) allow(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < tripAfter {
		return nil
	}
	if now.Before(b.probe) {
		return ErrDown
	}
	b.interval = min(2*b.interval, longestProbe)
	b.probe = now.Add(b.interval)
	return nil
}

// ended notes how an exchange ended. It reports whether that has opened or
// closed the breaker.
func (b *breaker) ended(answered bool, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answered {
		changed = b.failures >= tripAfter
		b.failures = 0
		return changed
	}
	b.failures++
	if b.failures == tripAfter {
		b.interval = firstProbe
		b.probe = now.Add(firstProbe)
		return true
	}
	return false
}

// open reports whether calls are kept back.
func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= tripAfter
}
