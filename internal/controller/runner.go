package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// A controller that fails is started again after firstRestart, then after twice
// that, and so on up to lastRestart. One that ran for longer than lastRestart
// begins anew.
const (
	firstRestart = time.Second
	lastRestart  = time.Minute
)

// A Named is a controller and its name in the log.
type Named struct {
	Name string
	// Run works until ctx is done, then returns nil. It may be called again once
	// it has returned.
	Run func(ctx context.Context) error
}

// A Leader calls lead whenever this process is the one that controls, and ends
// the context of lead when it no longer is. See package leader.
type Leader interface {
	Run(ctx context.Context, lead func(ctx context.Context) error) error
}

// A Runner runs controllers while this process leads.
type Runner struct {
	// Leader says when. If it is nil, this process always leads: right where no
	// other process can write to the same store.
	Leader      Leader
	Controllers []Named
	// Everywhere are those that every process runs, whether it leads or not: what
	// they know by having watched must not be lost with a leader, and what they do
	// may be done twice.
	Everywhere []Named
	Log        *slog.Logger
}

// Run runs the controllers until ctx is done and all of them have returned. A
// controller that fails, or returns before it is told to, is started again and
// does not disturb the others. An error comes from the leader only.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var everywhere sync.WaitGroup
	everywhere.Go(func() { r.run(ctx, r.Everywhere) })
	defer everywhere.Wait()
	defer cancel()
	if r.Leader == nil {
		return r.lead(ctx)
	}
	return r.Leader.Run(ctx, r.lead)
}

// lead keeps the leader's controllers running until ctx is done.
func (r *Runner) lead(ctx context.Context) error {
	r.run(ctx, r.Controllers)
	return nil
}

// run keeps controllers running until ctx is done.
func (r *Runner) run(ctx context.Context, all []Named) {
	var running sync.WaitGroup
	for _, c := range all {
		running.Go(func() { r.keep(ctx, c) })
	}
	running.Wait()
}

// keep keeps one controller running until ctx is done.
func (r *Runner) keep(ctx context.Context, c Named) {
	log := r.Log.With("controller", c.Name)
	pause := firstRestart
	for {
		log.DebugContext(ctx, "controller started")
		began := time.Now()
		err := run(ctx, c)
		if ctx.Err() != nil {
			if err != nil && !cancelled(ctx, err) {
				log.WarnContext(ctx, "controller failed while stopping", "err", err)
			}
			log.DebugContext(ctx, "controller stopped")
			return
		}
		if time.Since(began) > lastRestart {
			pause = firstRestart
		}
		log.ErrorContext(ctx, "controller failed", "err", err, "restart_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			log.DebugContext(ctx, "controller stopped")
			return
		}
		pause = min(2*pause, lastRestart)
	}
}

// run runs a controller once, and makes a panic of it an error with the stack.
func run(ctx context.Context, c Named) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("internal error: %v\n%s", v, debug.Stack())
		}
	}()
	if err := c.Run(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	return errors.New("returned before it was stopped")
}
