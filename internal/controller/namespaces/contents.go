package namespaces

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/controller"
)

// Contents is one namespaced resource. See [Of].
type Contents interface {
	Resource() schema.GroupVersionResource
	// DeleteAll deletes the objects of a namespace, and returns those that are
	// still there because something holds them. It may be called any number of
	// times.
	DeleteAll(ctx context.Context, namespace string) (Remaining, error)
}

// Remaining is what is left of one resource in a namespace.
type Remaining struct {
	Objects int
	// Finalizers counts the objects that each finalizer holds.
	Finalizers map[string]int
}

// Of returns a resource as contents: it is listed, and what is there is deleted
// one by one. No collection is deleted at once, because only this way is the
// number of finalizers known, and nothing is deleted that was not listed.
func Of[T metav1.Object](resource schema.GroupVersionResource, store controller.Objects[T]) Contents {
	return &objects[T]{resource, store}
}

type objects[T metav1.Object] struct {
	resource schema.GroupVersionResource
	store    controller.Objects[T]
}

func (o *objects[T]) Resource() schema.GroupVersionResource { return o.resource }

func (o *objects[T]) DeleteAll(ctx context.Context, namespace string) (Remaining, error) {
	list, err := o.store.List(ctx, namespace)
	if err != nil {
		return Remaining{}, err
	}
	if len(list) == 0 {
		return Remaining{}, nil
	}
	var failed []error
	for _, obj := range list {
		if obj.GetDeletionTimestamp() != nil {
			continue
		}
		err := o.store.Delete(ctx, namespace, obj.GetName(), controller.ThisOne(obj))
		// Another one of that name is seen by the second list.
		failed = append(failed, controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict))
	}
	if err := errors.Join(failed...); err != nil {
		return Remaining{}, err
	}
	return o.remaining(ctx, namespace)
}

// remaining counts what is left. That something is there that is not even
// marked as deleted is an error, with upstream's message.
func (o *objects[T]) remaining(ctx context.Context, namespace string) (Remaining, error) {
	list, err := o.store.List(ctx, namespace)
	if err != nil {
		return Remaining{}, err
	}
	left := Remaining{Objects: len(list), Finalizers: make(map[string]int)}
	for _, obj := range list {
		if obj.GetDeletionTimestamp() == nil {
			err = fmt.Errorf("unexpected items still remain in namespace: %s for gvr: %v", namespace, o.resource)
		}
		for _, finalizer := range obj.GetFinalizers() {
			left.Finalizers[finalizer]++
		}
	}
	return left, err
}
