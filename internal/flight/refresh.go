package flight

import (
	"context"
	"sync"
	"time"
)

// A Refresh does one thing for all who want it to have been done after they
// asked: at most once in Every, and never twice at a time. Work and Every are
// set before its first use.
//
// Nobody is turned away for being one too many; who comes too soon waits for the
// next time, of which there is one for all.
type Refresh struct {
	// Work is called with a context that ends after Limit.
	Work  func(context.Context) error
	Every time.Duration
	Limit time.Duration

	mu   sync.Mutex // guards what follows
	next *round     // not begun yet
	now  *round     // the last that has begun
	last time.Time  // when that was
}

type round struct {
	done chan struct{} // closed when err is set
	err  error
}

// Do returns the outcome of a time that began after it was called, or the cause
// of the end of ctx.
func (r *Refresh) Do(ctx context.Context) error {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
		go r.run(r.next, r.now, time.Until(r.last.Add(r.Every)))
	}
	mine := r.next
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run does the work when the round before is over and its time has come.
func (r *Refresh) run(this, before *round, wait time.Duration) {
	if before != nil {
		<-before.done
	}
	time.Sleep(wait)
	r.mu.Lock()
	r.next, r.now, r.last = nil, this, time.Now()
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), r.Limit)
	defer cancel()
	defer close(this.done)
	this.err = r.Work(ctx)
}
