// Package leader elects which of several processes controls, by a Lease in the
// store that they share.
//
// The idea is client-go's (tools/leaderelection), with the same fields and
// figures, so that the Lease reads as any other: the holder renews it, and
// whoever has seen it unrenewed for its duration may take it. No two clocks are
// compared: each process times what it has seen itself. client-go's own package
// is not used because it links the typed clientset, 13 MB of stripped binary.
//
// It refuses to hold on: a holder that could not renew in time ends the work,
// and a holder that is stopped releases the Lease only when the work has ended.
// Even so, an election over a store cannot keep a stalled process from one last
// write; what it leads must be safe when two run at once.
package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gatehouse.dev/gatehouse/internal/controller"
)

// Where the Lease is, and its figures, which are those of
// kube-controller-manager.
const (
	Namespace = "kube-system"
	Name      = "gatehouse-controllers"

	// duration is how long a Lease that is not renewed keeps others away.
	duration = 15 * time.Second
	// renewal is how long a holder that cannot renew works on.
	renewal = 10 * time.Second
	// retry is the pause between attempts to take the Lease, and to renew it. One
	// who waits adds up to a fifth, so that not all come at once.
	retry = 2 * time.Second
	// releasing is how long a holder that ends tries to say so.
	releasing = 5 * time.Second
)

// errLost ends the work of a holder that is one no longer.
var errLost = errors.New("lease lost")

// An Election is the part of one process in an election.
type Election struct {
	leases   controller.Objects[*coordinationv1.Lease]
	identity string
	log      *slog.Logger

	// held is the Lease as this process last saw it, nil before the first time,
	// and seen is when it first saw it so.
	held *coordinationv1.Lease
	seen time.Time
}

// New returns the part of the process that is called identity, such as its host
// name, an underscore and something random. Two living processes must not have
// the same. One that cannot have a twin, because it has locked the data
// directory, does well to keep its identity when it is started anew: then it has
// not to wait for its own Lease.
func New(leases controller.Objects[*coordinationv1.Lease], identity string, log *slog.Logger) (*Election, error) {
	if identity == "" {
		return nil, errors.New("leader election needs an identity")
	}
	return &Election{leases: leases, identity: identity, log: log.With("lease", Namespace+"/"+Name, "identity", identity)}, nil
}

// Run waits until this process holds the Lease, and calls lead with a context
// that ends when it no longer does, which lead must heed within five seconds;
// and so on until ctx is done. It returns when lead has returned and the Lease
// is released: nil, or the error with which lead ended by itself.
func (e *Election) Run(ctx context.Context, lead func(context.Context) error) error {
	for {
		since, ok := e.acquire(ctx)
		if !ok {
			// The last attempt may have succeeded without our hearing of it.
			e.release(context.WithoutCancel(ctx))
			return nil
		}
		e.log.InfoContext(ctx, "leading")
		err := e.hold(ctx, since, lead)
		e.release(context.WithoutCancel(ctx))
		e.log.InfoContext(ctx, "not leading", "err", err)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, errLost) {
			return err
		}
	}
}

// acquire tries to take the Lease until it has, and returns since when; or
// reports false when ctx is done.
func (e *Election) acquire(ctx context.Context) (time.Time, bool) {
	for {
		now := time.Now()
		err := e.try(ctx, now)
		if ctx.Err() != nil {
			return time.Time{}, false
		}
		if err == nil {
			return now, true
		}
		if _, held := errors.AsType[*heldError](err); held || apierrors.IsConflict(err) {
			e.log.DebugContext(ctx, "lease not acquired", "err", err)
		} else {
			e.log.WarnContext(ctx, "lease not acquired", "err", err)
		}
		select {
		case <-time.After(retry + rand.N(retry/5)):
		case <-ctx.Done():
			return time.Time{}, false
		}
	}
}

// hold calls lead and renews the Lease, held since then, until lead returns,
// ctx is done, or the Lease is lost. It returns when lead has returned.
func (e *Election) hold(ctx context.Context, since time.Time, lead func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// The timer, not the outcome of a call, ends the work: a store that does not
	// answer at all must not keep an old leader at it.
	expiry := time.AfterFunc(time.Until(since.Add(renewal)), func() { stop(errLost) })
	defer expiry.Stop()

	ended := make(chan error, 1)
	go func() { ended <- lead(ctx) }()
	ticker := time.NewTicker(retry)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if cause := context.Cause(ctx); errors.Is(cause, errLost) {
				return cause
			}
			return err
		case <-ctx.Done():
			// Whatever the reason, nothing is left but to wait for lead.
			ticker.Stop()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				e.log.WarnContext(ctx, "leading failed while stopping", "err", err)
			}
			return context.Cause(ctx)
		case <-ticker.C:
			e.renew(ctx, stop, expiry)
		}
	}
}

// renew renews the Lease once, and puts expiry off if it did. If another holds
// it, the work is stopped.
func (e *Election) renew(ctx context.Context, stop context.CancelCauseFunc, expiry *time.Timer) {
	now := time.Now()
	err := e.try(ctx, now)
	switch {
	case err == nil:
		expiry.Reset(time.Until(now.Add(renewal)))
	case ctx.Err() != nil:
	default:
		e.log.WarnContext(ctx, "lease not renewed", "err", err)
		if _, taken := errors.AsType[*heldError](err); taken {
			stop(errLost)
		}
	}
}

// A heldError says that another process holds the Lease.
type heldError struct{ holder string }

func (e *heldError) Error() string { return fmt.Sprintf("lease is held by %q", e.holder) }
