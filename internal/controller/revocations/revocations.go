// Package revocations deletes Revocations whose time is over.
//
// The idea is that a Revocation is in force for as long as it is there, and not
// for as long as a clock says: so the one process that deletes it lifts it for
// all of them, and where nobody deletes, nobody is let in. One is deleted only
// after a live look.
//
// It refuses to touch those that have no end, and those of certificates from which
// one was renewed that lives on.
package revocations

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/controller"
)

// outlives is how much longer than the last of a chain of renewals a Revocation
// of the chain stays.
const outlives = time.Hour

// A Controller deletes Revocations that have ended. All fields are required.
type Controller struct {
	Revocations cache.SharedIndexInformer // of *v1alpha1.Revocation
	Store       controller.Objects[*v1alpha1.Revocation]
	// Ends returns when the last certificate of a chain of renewals ends, or has
	// ended; zero if none is known any more.
	Ends func(ctx context.Context, chain string) (time.Time, error)
	Log  *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	ending := &controller.Ending[*v1alpha1.Revocation]{
		What: "revocation", Cache: c.Revocations, Store: c.Store, Left: left, Log: c.Log,
		About: func(r *v1alpha1.Revocation) string { return r.Spec.Target() },
	}
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Revocations, func(r *v1alpha1.Revocation) []string {
				if r.Spec.ExpiresAt == nil {
					return nil
				}
				return []string{r.Name}
			}),
		},
		Sync: func(ctx context.Context, name string) error {
			if err := c.outlived(ctx, name); err != nil {
				return err
			}
			return ending.Sync(ctx, "", name)
		},
		Log: c.Log,
	}
	return loop.Run(ctx)
}

// outlived says when to come back to one that is over, and takes back a whole chain
// of renewals, of which some certificate lives on.
func (c *Controller) outlived(ctx context.Context, name string) error {
	r, ok := controller.Cached[*v1alpha1.Revocation](c.Revocations, "", name)
	if !ok || r.Spec.Certificate == nil || r.Spec.Certificate.Chain == "" {
		return nil
	}
	if left, bounded := left(r); !bounded || left > 0 {
		return nil
	}
	ends, err := c.Ends(ctx, r.Spec.Certificate.Chain)
	if err != nil {
		return fmt.Errorf("looking for what was renewed from a revoked certificate: %w", err)
	}
	if left := time.Until(ends.Add(outlives)); left > 0 {
		return &controller.Again{After: left, Reason: "a certificate that was renewed from the revoked one has not ended"}
	}
	return nil
}

// left is how long a Revocation is in force still, if it ends.
func left(r *v1alpha1.Revocation) (time.Duration, bool) {
	if r.Spec.ExpiresAt == nil {
		return 0, false
	}
	return time.Until(r.Spec.ExpiresAt.Time), true
}
