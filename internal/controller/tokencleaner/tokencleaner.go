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
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	ending := &controller.Ending[*corev1.Secret]{What: "bootstrap token", Cache: c.Secrets, Store: c.Store, Left: left, Log: c.Log}
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Secrets, func(s *corev1.Secret) []string {
				if !isToken(s) {
					return nil
				}
				return []string{s.Name}
			}),
		},
		Sync: func(ctx context.Context, name string) error {
			c.warn(ctx, name)
			return ending.Sync(ctx, bootstrap.Namespace, name)
		},
		Log: c.Log,
	}
	return loop.Run(ctx)
}

// warn tells of a token that never expires.
func (c *Controller) warn(ctx context.Context, name string) {
	secret, ok := controller.Cached[*corev1.Secret](c.Secrets, bootstrap.Namespace, name)
	if !ok || !isToken(secret) {
		return
	}
	if _, ends := read(secret).Expiration(); !ends {
		c.Log.WarnContext(ctx, "a bootstrap token never expires: write an expiration into its Secret, or delete it when it has done its work", "secret", name)
	}
}

// left is how long the token of a Secret is good still, if it is one and expires.
func left(s *corev1.Secret) (time.Duration, bool) {
	switch {
	case !isToken(s):
		return 0, false
	case read(s).Expired(time.Now()):
		return 0, true
	}
	end, ends := read(s).Expiration()
	return time.Until(end), ends
}

func isToken(s *corev1.Secret) bool {
	return s.Namespace == bootstrap.Namespace && s.Type == bootstrap.SecretType
}

func read(s *corev1.Secret) *bootstrap.Secret {
	return &bootstrap.Secret{Type: string(s.Type), Data: s.Data}
}
