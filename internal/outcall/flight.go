package outcall

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Flights does for all who want the same at the same time what one of them
// would do. The zero value is ready to use.
//
// The work belongs to nobody who waits: when the first of them leaves, it goes
// on for the others. When the last has left its context ends, so that what has
// not begun yet never does.
type Flights[K comparable, V any] struct {
	mu sync.Mutex
	of map[K]*flight[V]
}

type flight[V any] struct {
	done   chan struct{} // closed when value, err and panicked are set
	value  V
	err    error
	panics string // with its stack, if the work panicked

	cancel context.CancelFunc
	// What follows is guarded by the mutex of the Flights.
	waiting   int
	abandoned bool // nobody waited at some time, so it was cancelled
}

// Do returns what work returns for key. It is not called while it is at work for
// the same key, and has the values of the context of whoever came first, but not
// its end: that is after limit. A panic of work becomes one of all who wait.
func (f *Flights[K, V]) Do(ctx context.Context, key K, limit time.Duration, work func(context.Context) (V, error)) (V, error) {
	for {
		one := f.join(ctx, key, limit, work)
		select {
		case <-one.done:
		case <-ctx.Done():
			f.leave(one)
			var none V
			return none, context.Cause(ctx)
		}
		f.mu.Lock()
		again := one.abandoned && errors.Is(one.err, context.Canceled)
		f.mu.Unlock()
		switch {
		case one.panics != "":
			panic(one.panics)
		case !again:
			return one.value, one.err
		}
		// It was cancelled before we came. It is over now, so the next is ours.
	}
}

// join returns the flight for key, a new one if there is none.
func (f *Flights[K, V]) join(ctx context.Context, key K, limit time.Duration, work func(context.Context) (V, error)) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.of[key]; one != nil {
		one.waiting++
		return one
	}
	working, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	one := &flight[V]{done: make(chan struct{}), cancel: cancel, waiting: 1}
	if f.of == nil {
		f.of = map[K]*flight[V]{}
	}
	f.of[key] = one
	go f.fly(working, key, one, work)
	return one
}

func (f *Flights[K, V]) fly(ctx context.Context, key K, one *flight[V], work func(context.Context) (V, error)) {
	defer func() {
		if p := recover(); p != nil {
			one.panics = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
		one.cancel()
		f.mu.Lock()
		delete(f.of, key)
		f.mu.Unlock()
		close(one.done)
	}()
	one.value, one.err = work(ctx)
}

// leave counts one who waits no longer.
func (f *Flights[K, V]) leave(one *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.waiting--; one.waiting == 0 {
		one.abandoned = true
		one.cancel()
	}
}
