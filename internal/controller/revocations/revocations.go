// Package revocations deletes Revocations whose time is over.
//
// The idea is that a Revocation is in force for as long as it is there, and not
// for as long as a clock says: so the one process that deletes it lifts it for
// all of them, and where nobody deletes, nobody is let in. One is deleted only
// after a live look.
//
// It refuses to touch those that have no end.
package revocations

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/controller"
)

// A Controller deletes Revocations that have ended. All fields are required.
type Controller struct {
	Revocations cache.SharedIndexInformer // of *v1alpha1.Revocation
	Store       controller.Objects[*v1alpha1.Revocation]
	Log         *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Revocations, func(r *v1alpha1.Revocation) []string {
				if r.Spec.ExpiresAt == nil {
					return nil
				}
				return []string{r.Name}
			}),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// sync deletes the Revocation of a name if it has ended, and otherwise comes back
// when it will have.
func (c *Controller) sync(ctx context.Context, name string) error {
	cached, ok := controller.Cached[*v1alpha1.Revocation](c.Revocations, "", name)
	if !ok {
		return nil
	}
	if err := waiting(cached); err != nil || !due(cached) {
		return err
	}
	r, err := c.Store.Get(ctx, "", name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at a revocation that has ended: %w", err)
	}
	if err := waiting(r); err != nil || !due(r) {
		return err
	}
	err = c.Store.Delete(ctx, "", name, controller.Exactly(r))
	// If it changed since, that is an event, and it will be looked at again.
	if err := controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
		return fmt.Errorf("deleting a revocation that has ended: %w", err)
	}
	if err == nil {
		c.Log.InfoContext(ctx, "deleted a revocation that has ended", "revocation", name, "revoked", r.Spec.Target())
	}
	return nil
}

// due reports whether a Revocation has ended, and is not being deleted yet.
func due(r *v1alpha1.Revocation) bool {
	return r.Spec.ExpiresAt != nil && r.DeletionTimestamp == nil && !r.Spec.ExpiresAt.After(time.Now())
}

// waiting says when to come back to one that will end.
func waiting(r *v1alpha1.Revocation) error {
	if r.Spec.ExpiresAt == nil {
		return nil
	}
	if left := time.Until(r.Spec.ExpiresAt.Time); left > 0 {
		return &controller.Again{After: left, Reason: "the revocation has not ended"}
	}
	return nil
}
