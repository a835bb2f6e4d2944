package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
)

// A key that cannot be synced is tried again after firstRetry, then after twice
// that, and so on up to lastRetry. The first is client-go's; the last is short,
// because nobody tells a controller that what stood in its way has gone.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// defaultWorkers is upstream's usual number of concurrent syncs.
const defaultWorkers = 5

// A Loop calls Sync for every key that its sources name, until its context ends.
// A key named many times meanwhile is synced once; one key is never synced twice
// at a time. It may be run again after it has returned.
type Loop[K comparable] struct {
	// Sources name the keys. None is synced before all of them have named what
	// they know.
	Sources []Source[K]
	// Sync makes what K names as it should be. If it returns an error it is
	// called again: after a growing delay, or as an [Again] says.
	Sync func(ctx context.Context, key K) error
	// Workers is how many keys are synced at a time; 0 means 5.
	Workers int
	Log     *slog.Logger
}

// Again is the error of a Sync that found nothing wrong, but is not done: it is
// called again After so long, or after a growing delay if After is 0.
type Again struct {
	After time.Duration
	// Reason is for the log, at debug level.
	Reason string
}

// Error returns the reason.
func (a *Again) Error() string { return a.Reason }

// Run syncs keys until ctx is done, and then returns nil as soon as the syncs
// under way have returned. It returns an error if a source cannot be watched.
func (l *Loop[K]) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry))
	defer queue.ShutDown()

	var ready []<-chan struct{}
	for _, source := range l.Sources {
		synced, stop, err := source(ctx, queue.Add)
		if err != nil {
			return fmt.Errorf("watching: %w", err)
		}
		defer stop()
		ready = append(ready, synced)
	}
	for _, synced := range ready {
		select {
		case <-synced:
		case <-ctx.Done():
			return nil
		}
	}

	workers := l.Workers
	if workers == 0 {
		workers = defaultWorkers
	}
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for l.next(ctx, queue) {
			}
		})
	}
	<-ctx.Done()
	queue.ShutDown()
	running.Wait()
	return nil
}

// next syncs one key, and reports whether there may be another.
func (l *Loop[K]) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[K]) bool {
	key, closed := queue.Get()
	if closed {
		return false
	}
	defer queue.Done(key)
	if ctx.Err() != nil {
		return false
	}
	err := l.sync(ctx, key)
	if err == nil {
		queue.Forget(key)
		return true
	}
	if cancelled(ctx, err) {
		return true
	}
	again, ok := errors.AsType[*Again](err)
	switch {
	case ok:
		l.Log.DebugContext(ctx, "key not done yet", "key", key, "reason", again.Reason)
	case apierrors.IsConflict(err):
		// Somebody else wrote first, which is how it should be found out.
		l.Log.DebugContext(ctx, "key changed meanwhile", "key", key, "err", err)
	default:
		l.Log.WarnContext(ctx, "key not synced", "key", key, "attempt", queue.NumRequeues(key)+1, "err", err)
	}
	if ok && again.After > 0 {
		queue.Forget(key)
		queue.AddAfter(key, again.After)
	} else {
		queue.AddRateLimited(key)
	}
	return true
}

// sync calls Sync, and makes a panic of it an error with the stack.
func (l *Loop[K]) sync(ctx context.Context, key K) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("internal error: %v\n%s", v, debug.Stack())
		}
	}()
	return l.Sync(ctx, key)
}
