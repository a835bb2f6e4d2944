// Package serviceaccounts gives every active namespace the ServiceAccount that
// pods run as when they name none, and makes it again when it is deleted.
//
// The idea is that only its absence is mended: labels, secrets and all else on
// an existing account are its owner's, and are left alone. It refuses to create
// anything in a namespace that is being deleted.
//
// Upstream: pkg/controller/serviceaccount/serviceaccounts_controller.go.
package serviceaccounts

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// Name is the name of the account that every namespace has.
const Name = "default"

// A Controller keeps the account in being. All fields are required.
type Controller struct {
	Namespaces cache.SharedIndexInformer // of *corev1.Namespace
	Accounts   cache.SharedIndexInformer // of *corev1.ServiceAccount
	Store      controller.Objects[*corev1.ServiceAccount]
	Log        *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Namespaces, func(ns *corev1.Namespace) []string { return []string{ns.Name} }),
			controller.Watch(c.Accounts, func(account *corev1.ServiceAccount) []string {
				if account.Name != Name {
					return nil
				}
				return []string{account.Namespace}
			}),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// sync creates the account if the namespace is active and has none.
func (c *Controller) sync(ctx context.Context, namespace string) error {
	ns, ok := controller.Cached[*corev1.Namespace](c.Namespaces, "", namespace)
	if !ok || ns.Status.Phase != corev1.NamespaceActive {
		return nil
	}
	if _, ok := controller.Cached[*corev1.ServiceAccount](c.Accounts, namespace, Name); ok {
		return nil
	}
	_, err := c.Store.Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name},
	})
	// The account of that name may be one that the cache has not seen yet, or one
	// that finalizers hold: then its deletion will be an event.
	if err := controller.Ignore(err, apierrors.IsAlreadyExists, controller.NamespaceGone); err != nil {
		return fmt.Errorf("creating service account: %w", err)
	}
	return nil
}
