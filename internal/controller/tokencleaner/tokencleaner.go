// Package tokencleaner deletes the Secrets of bootstrap tokens when they expire.
//
// The idea is that this is only tidiness: an expired token lets nobody in
// whether its Secret is there or not. So there is no hurry, and a Secret is
// deleted only after a live look, and only if it did not change since: whoever
// prolongs a token at the last moment wins.
//
// It refuses to touch Secrets of other types and other namespaces. One whose
// expiration cannot be read counts as expired, as upstream.
//
// Upstream: pkg/controller/bootstrap/tokencleaner.go.
package tokencleaner

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/internal/controller"
)

// A Controller deletes expired tokens. All fields are required.
type Controller struct {
	Secrets cache.SharedIndexInformer // of *corev1.Secret
	Store   controller.Objects[*corev1.Secret]
	Log     *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Secrets, func(s *corev1.Secret) []string {
				if !isToken(s) {
					return nil
				}
				return []string{s.Name}
			}),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// sync deletes the token Secret of a name if it has expired, and otherwise comes
// back when it will have.
func (c *Controller) sync(ctx context.Context, name string) error {
	cached, ok := controller.Cached[*corev1.Secret](c.Secrets, bootstrap.Namespace, name)
	if !ok {
		return nil
	}
	if _, ends := read(cached).Expiration(); !ends && isToken(cached) {
		c.Log.WarnContext(ctx, "a bootstrap token never expires: write an expiration into its Secret, or delete it when it has done its work", "secret", name)
	}
	if err := waiting(cached); err != nil || !due(cached) {
		return err
	}
	secret, err := c.Store.Get(ctx, bootstrap.Namespace, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at a bootstrap token that has expired: %w", err)
	}
	if err := waiting(secret); err != nil || !due(secret) {
		return err
	}
	err = c.Store.Delete(ctx, bootstrap.Namespace, name, controller.Exactly(secret))
	// If it changed since, that is an event, and it will be judged as it is then.
	if err := controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
		return fmt.Errorf("deleting a bootstrap token that has expired: %w", err)
	}
	if err == nil {
		c.Log.InfoContext(ctx, "deleted a bootstrap token that has expired", "secret", name)
	}
	return nil
}

// due reports whether a Secret is that of a token that has expired, and is not
// being deleted yet.
func due(s *corev1.Secret) bool {
	return isToken(s) && s.DeletionTimestamp == nil && read(s).Expired(time.Now())
}

// waiting says when to come back to the Secret of a token that will expire.
func waiting(s *corev1.Secret) error {
	end, ends := read(s).Expiration()
	if left := time.Until(end); isToken(s) && ends && left > 0 {
		return &controller.Again{After: left, Reason: "the token has not expired"}
	}
	return nil
}

func isToken(s *corev1.Secret) bool {
	return s.Namespace == bootstrap.Namespace && s.Type == bootstrap.SecretType
}

func read(s *corev1.Secret) *bootstrap.Secret {
	return &bootstrap.Secret{Type: string(s.Type), Data: s.Data}
}
