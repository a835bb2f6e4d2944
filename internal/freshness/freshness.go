// Package freshness knows since when a process has had no proof that what it
// knows of the store is what the store holds.
//
// Decisions rest on what a process has read and follows: roles, accounts, what
// was revoked. A process that is cut off from its store does not notice by
// itself: nothing comes, as on a quiet day. So a [View] has it proved again and
// again, and each proof holds from the moment when it was begun. Past a limit
// without one the view is stale, and whoever asks is told, from the first moment
// on and at the cost of reading a number.
//
// It refuses to take for a proof what came too late to be one.
package freshness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// method is whose the refusals are that say that a view is stale.
const method identity.Method = "Freshness"

// A Config is what a [View] needs. All fields must be set but Changed.
type Config struct {
	// Limit is for how long a view is fresh after a proof was begun.
	Limit time.Duration
	// Prove returns nil when it has shown that what this process knows is no
	// older than the moment of the call. It is called once at a time.
	Prove func(context.Context) error
	// Changed is told once when the view becomes stale, with the reason, and once
	// with nil when it is fresh again.
	Changed func(error)
	Log     *slog.Logger
}

// A View is what a process knows of the store. Make one with [New].
type View struct {
	Config
	begun time.Time
	// proven is when the last good proof was begun, since begun.
	proven atomic.Int64
	// problem is why the last attempt failed, or nil.
	problem atomic.Pointer[error]
	// period is the one in which the view is fresh, or the last one.
	period atomic.Pointer[period]
	// tried has something in it when an attempt has ended.
	tried chan struct{}
}

// A period ends when the view becomes stale.
type period struct {
	ctx context.Context
	end context.CancelCauseFunc
}

// New returns a view that is fresh from since on.
func New(cfg Config, since time.Time) *View {
	v := &View{Config: cfg, begun: since, tried: make(chan struct{}, 1)}
	v.begin()
	return v
}

// begin begins a period, unless one is going on.
func (v *View) begin() {
	if last := v.period.Load(); last != nil && last.ctx.Err() == nil {
		return
	}
	ctx, end := context.WithCancelCause(context.Background())
	v.period.Store(&period{ctx, end})
}

// Fresh returns a context that ends when the view becomes stale. Its cause says
// why. Who waits for the store by then waits in vain.
func (v *View) Fresh() context.Context { return v.period.Load().ctx }

// Age returns how old the last proof is.
func (v *View) Age(now time.Time) time.Duration {
	return now.Sub(v.begun) - time.Duration(v.proven.Load())
}

// Stale returns nil if the view is fresh at now, and otherwise a refusal that
// says since when it is not, and why.
func (v *View) Stale(now time.Time) error {
	age := v.Age(now)
	if age <= v.Limit {
		return nil
	}
	refusal := &authn.Refusal{Method: method, Facts: authn.Facts{
		Kind: authn.Unavailable,
		Mend: "make the store reachable from this process, and ask another process meanwhile; docs/operations.md says what is refused and why",
	}}
	refusal.Reason = fmt.Sprintf("for %v there was no proof that what this process knows of the store is true, and --max-staleness is %v",
		age.Round(100*time.Millisecond), v.Limit)
	if problem := v.problem.Load(); problem != nil {
		refusal.Cause = *problem
	}
	return refusal
}

// Run has the view proved until ctx is done.
func (v *View) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.prove(ctx)
	}()
	v.watch(ctx)
	<-done
}

// prove makes four attempts in the time of the limit, and more when one fails.
func (v *View) prove(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		began := time.Now()
		// Two that take no longer follow each other within the limit.
		attempt, cancel := context.WithTimeoutCause(ctx, v.Limit/2, errLate)
		err := v.Prove(attempt)
		if err == nil {
			v.begin()
			v.proven.Store(int64(began.Sub(v.begun)))
			v.problem.Store(nil)
			pause.Reset(v.Limit/4 - time.Since(began))
		} else {
			if attempt.Err() != nil {
				err = fmt.Errorf("%w: %w", context.Cause(attempt), err)
			}
			v.problem.Store(&err)
			pause.Reset(min(v.Limit/10, time.Second))
		}
		cancel()
		select {
		case v.tried <- struct{}{}:
		default: // it is about to be looked at
		}
	}
}

var errLate = errors.New("the store did not answer in time")

// watch says when the view becomes stale, at that moment, and when it is fresh
// again.
func (v *View) watch(ctx context.Context) {
	timer := time.NewTimer(v.Limit)
	defer timer.Stop()
	for stale := false; ; {
		now := time.Now()
		err := v.Stale(now)
		if is := err != nil; is != stale {
			stale = is
			v.say(ctx, err)
		}
		if !stale {
			timer.Reset(v.Limit - v.Age(now) + 1)
		}
		select {
		case <-ctx.Done():
			return
		case <-v.tried:
		case <-timer.C:
		}
	}
}

func (v *View) say(ctx context.Context, err error) {
	if err != nil {
		v.period.Load().end(err)
		v.Log.ErrorContext(ctx, "what this process knows of the store is stale", "err", err)
	} else {
		v.begin()
		v.Log.InfoContext(ctx, "what this process knows of the store is fresh again")
	}
	if v.Changed != nil {
		v.Changed(err)
	}
}
