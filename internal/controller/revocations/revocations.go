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
	"log/slog"
	"time"

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
		Sync: func(ctx context.Context, name string) error { return ending.Sync(ctx, "", name) },
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// left is how long a Revocation is in force still, if it ends.
func left(r *v1alpha1.Revocation) (time.Duration, bool) {
	if r.Spec.ExpiresAt == nil {
		return 0, false
	}
	return time.Until(r.Spec.ExpiresAt.Time), true
}
