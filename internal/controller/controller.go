// Package controller is what the controllers of the API have in common: how they
// read and write objects ([Objects]), how they are called when something changed
// ([Loop]), and how they are kept running ([Runner]).
//
// The one idea is that a controller is level-triggered: an event only names a
// key, and Sync compares what is with what should be, whatever it was that
// happened. Events may be lost, repeated or seen by two processes at once, and
// the outcome is the same. Reading is done from informers, which may lag, so
// whatever cannot be undone is decided on a live read and carries preconditions.
//
// It refuses to let a controller take the process down with it: controllers run
// beside the handlers that authenticate, so a panic becomes an error and a
// retry, never the end of the front door.
package controller

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Objects reads and writes one resource in the store, past every cache. T is
// the pointer type of a versioned object, such as *corev1.Secret. All errors are
// those of the API (apierrors.IsNotFound and its like hold). What is returned
// belongs to the caller; what is handed in is not kept.
//
// For a resource without namespaces, namespace is empty.
type Objects[T any] interface {
	// Get returns the object, or a not-found error.
	Get(ctx context.Context, namespace, name string) (T, error)
	// List returns the objects of a namespace, or of all if it is empty.
	List(ctx context.Context, namespace string) ([]T, error)
	// Create stores a new object and returns it as stored.
	Create(ctx context.Context, obj T) (T, error)
	// Update replaces the object; it is a conflict error if obj has a resource
	// version, and that is not the stored one.
	Update(ctx context.Context, obj T) (T, error)
	// Delete removes the object, or marks it as deleted while finalizers hold it.
	Delete(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error
}

// Cached returns an object from the cache of an informer. It is shared: the
// caller must not change it. An object of another type counts as absent.
func Cached[T any](informer cache.SharedIndexInformer, namespace, name string) (T, bool) {
	var none T
	obj, found, err := informer.GetIndexer().GetByKey(cache.NewObjectName(namespace, name).String())
	if err != nil || !found {
		return none, false
	}
	typed, ok := obj.(T)
	return typed, ok
}

// Exactly returns options to delete the object that was looked at and no other:
// not one of the same name made since, nor this one changed since. Dependents
// are left to run after it, never to hold it up.
func Exactly(obj metav1.Object) metav1.DeleteOptions {
	opts := ThisOne(obj)
	if version := obj.GetResourceVersion(); version != "" {
		opts.Preconditions.ResourceVersion = &version
	}
	return opts
}

// ThisOne returns options to delete the object that was looked at, however
// changed since, but not another one of the same name.
func ThisOne(obj metav1.Object) metav1.DeleteOptions {
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: &metav1.Preconditions{}}
	if uid := obj.GetUID(); uid != "" {
		opts.Preconditions.UID = &uid
	}
	return opts
}

// NamespaceGone reports whether a create failed because the namespace is
// missing or being deleted, so that there is nothing to be done, nor retried.
func NamespaceGone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// Ignore returns err, or nil if it is what one of the functions reports. They
// are asked about err itself, so that wrapping is left to the caller.
func Ignore(err error, expected ...func(error) bool) error {
	for _, is := range expected {
		if is(err) {
			return nil
		}
	}
	return err
}

// cancelled reports whether err only says that ctx is done.
func cancelled(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}
