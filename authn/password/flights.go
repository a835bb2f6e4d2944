package password

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
)

// flights are the attempts that are under way. The zero value has none.
type flights struct {
	mu sync.Mutex // guards what follows
	by map[flightKey]*flight
}

// A flightKey is a pair as one peer sends it.
type flightKey struct {
	pair verified.Key
	peer netip.Addr
}

// A flight is one attempt, for all who have sent the same meanwhile.
type flight struct {
	done chan struct{} // closed when the rest is set
	res  *authn.Result
	err  error
	// over is unset if the attempt ended before it was known how it ends.
	over bool
}

// do returns what attempt returns, or what another one under way for the same
// key does. If the client of that one goes away, somebody else begins anew.
func (f *flights) do(ctx context.Context, key flightKey, attempt func() (*authn.Result, error)) (*authn.Result, error) {
	for {
		at, mine := f.join(key)
		if mine {
			return f.fly(ctx, key, at, attempt)
		}
		select {
		case <-at.done:
			if at.over {
				return at.res, at.err
			}
		case <-ctx.Done():
			return nil, unlooked(fmt.Errorf("waiting for the same attempt: %w", context.Cause(ctx)))
		}
	}
}

// join returns the flight of a key, and whether it is the caller who makes it.
func (f *flights) join(key flightKey) (at *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.by[key]; at != nil {
		return at, false
	}
	if f.by == nil {
		f.by = map[flightKey]*flight{}
	}
	at = &flight{done: make(chan struct{})}
	f.by[key] = at
	return at, true
}

func (f *flights) fly(ctx context.Context, key flightKey, at *flight, attempt func() (*authn.Result, error)) (*authn.Result, error) {
	defer func() {
		f.mu.Lock()
		delete(f.by, key)
		f.mu.Unlock()
		close(at.done)
	}()
	at.res, at.err = attempt()
	at.over = at.err == nil || ctx.Err() == nil
	return at.res, at.err
}
