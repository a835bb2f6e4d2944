// Package flight does once what many want at the same time.
//
// The one idea: the work belongs to nobody who waits for it. When the one who
// caused it leaves, it goes on for the others; when the last has left its context
// ends, so that what has not begun yet never does.
//
// It remembers nothing: who comes when the work is over causes it again.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// A Group is work of one kind, told apart by keys. The zero value is ready to
// use.
type Group[K comparable, V any] struct {
	mu sync.Mutex
	of map[K]*flight[V]
}

type flight[V any] struct {
	done   chan struct{} // closed when value, err and panicked are set
	value  V
	err    error
	panics string // with its stack, if the work panicked

	cancel context.CancelFunc
	// What follows is guarded by the mutex of the group.
	waiting   int
	abandoned bool // nobody waited at some time, so it was cancelled
}

// Do returns what work returns for key. It is not called while it is at work for
// the same key, and has the values of the context of whoever came first, but not
// its end: that is after limit. A panic of work becomes one of all who wait.
func (g *Group[K, V]) Do(ctx context.Context, key K, limit time.Duration, work func(context.Context) (V, error)) (V, error) {
	for {
		one := g.join(ctx, key, limit, work)
		select {
		case <-one.done:
		case <-ctx.Done():
			g.leave(one)
			var none V
			return none, context.Cause(ctx)
		}
		g.mu.Lock()
		again := one.abandoned && errors.Is(one.err, context.Canceled)
		g.mu.Unlock()
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
func (g *Group[K, V]) join(ctx context.Context, key K, limit time.Duration, work func(context.Context) (V, error)) *flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one := g.of[key]; one != nil {
		one.waiting++
		return one
	}
	working, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	one := &flight[V]{done: make(chan struct{}), cancel: cancel, waiting: 1}
	if g.of == nil {
		g.of = map[K]*flight[V]{}
	}
	g.of[key] = one
	go g.fly(working, key, one, work)
	return one
}

func (g *Group[K, V]) fly(ctx context.Context, key K, one *flight[V], work func(context.Context) (V, error)) {
	defer func() {
		if p := recover(); p != nil {
			one.panics = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
		one.cancel()
		g.mu.Lock()
		delete(g.of, key)
		g.mu.Unlock()
		close(one.done)
	}()
	one.value, one.err = work(ctx)
}

// leave counts one who waits no longer.
func (g *Group[K, V]) leave(one *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.waiting--; one.waiting == 0 {
		one.abandoned = true
		one.cancel()
	}
}
