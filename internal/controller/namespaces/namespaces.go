// Package namespaces deletes what is in a deleted namespace, and then lets go of
// the namespace.
//
// The idea is that a namespace with the finalizer "kubernetes" stays, marked as
// deleted, until it has been seen empty; its conditions say what it waits for.
// Pods go first (KEP-5080: while one runs, what protects it must not go away),
// and nothing else is touched before they are gone. A namespace is not let go of
// in the first moments even if it is empty, so that other replicas have seen its
// deletion and admit nothing more into it; it is swept again before the end.
//
// It refuses to force anything: an object that finalizers hold holds the
// namespace, however long.
//
// Upstream: pkg/controller/namespace.
package namespaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// DefaultGrace is how long a deleted namespace stays even if it is empty, so
// that every replica's watch has seen that it is deleted. Upstream waits for 5 s
// before it begins; here the deleting begins at once, and only the end waits.
const DefaultGrace = 2 * time.Second

// pods are deleted first.
var pods = schema.GroupResource{Resource: "pods"}

// A Controller empties deleted namespaces. All fields but Grace are required.
type Controller struct {
	Namespaces cache.SharedIndexInformer // of *corev1.Namespace
	// Get returns a namespace from the store, not from a cache.
	Get func(ctx context.Context, name string) (*corev1.Namespace, error)
	// UpdateStatus stores the status of ns, and only that, if ns has the stored
	// resource version. It returns the namespace as stored.
	UpdateStatus func(ctx context.Context, ns *corev1.Namespace) (*corev1.Namespace, error)
	// Finalize stores spec.finalizers of ns, and only that, if ns has the stored
	// resource version; and removes the namespace if nothing holds it any more.
	Finalize func(ctx context.Context, ns *corev1.Namespace) error
	// Contents are all namespaced resources, in the order in which they are to
	// be deleted; but pods are first, wherever they stand.
	Contents []Contents
	// Grace is in place of [DefaultGrace]; below 0 there is none, which is right
	// for a server alone.
	Grace time.Duration
	Log   *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Namespaces, func(ns *corev1.Namespace) []string {
				if !ours(ns) {
					return nil
				}
				return []string{ns.Name}
			}),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// ours reports whether a namespace is deleted and waits for us.
func ours(ns *corev1.Namespace) bool {
	return ns.DeletionTimestamp != nil && slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
}

// sync takes a deleted namespace as far as it goes.
func (c *Controller) sync(ctx context.Context, name string) error {
	ns, err := c.Get(ctx, name)
	if err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	if !ours(ns) {
		return nil
	}
	if ns.Status.Phase != corev1.NamespaceTerminating {
		ns.Status.Phase = corev1.NamespaceTerminating
		if ns, err = c.UpdateStatus(ctx, ns); err != nil {
			return controller.Ignore(err, apierrors.IsNotFound)
		}
	}

	found := c.empty(ctx, name)
	if setConditions(&ns.Status, found.conditions(), time.Now()) {
		if ns, err = c.UpdateStatus(ctx, ns); err != nil {
			return controller.Ignore(err, apierrors.IsNotFound)
		}
	}
	if err := errors.Join(found.failed...); err != nil {
		return err
	}
	if len(found.remaining) > 0 {
		return &controller.Again{Reason: "namespace is not empty"}
	}
	if wait := c.grace() - time.Since(ns.DeletionTimestamp.Time); wait > 0 {
		return &controller.Again{After: wait, Reason: "namespace was deleted a moment ago"}
	}
	return c.finalize(ctx, ns)
}

// finalize lets go of a namespace that is empty.
func (c *Controller) finalize(ctx context.Context, ns *corev1.Namespace) error {
	ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f corev1.FinalizerName) bool {
		return f == corev1.FinalizerKubernetes
	})
	if err := c.Finalize(ctx, ns); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("finalizing namespace: %w", err)
	}
	c.Log.InfoContext(ctx, "namespace emptied", "namespace", ns.Name)
	return nil
}

func (c *Controller) grace() time.Duration {
	if c.Grace == 0 {
		return DefaultGrace
	}
	return c.Grace
}

// empty deletes what is in a namespace: the pods, and if none is left of them,
// everything else. What fails does not keep it from the rest.
func (c *Controller) empty(ctx context.Context, namespace string) *sweep {
	var found sweep
	for _, first := range []bool{true, false} {
		for _, contents := range c.Contents {
			if resource := contents.Resource(); (resource.GroupResource() == pods) == first {
				remaining, err := contents.DeleteAll(ctx, namespace)
				found.add(resource, remaining, err)
			}
		}
		if len(found.failed) > 0 || len(found.remaining) > 0 {
			break
		}
	}
	return &found
}
