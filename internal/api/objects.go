package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/tools/cache"
)

// Objects reads and writes the objects of one resource inside the process. It
// goes to the store and not through HTTP, so nobody has to be authenticated
// and there is no credential that could do everything. Validation applies;
// admission and authorization do not. Errors are API errors.
type Objects[T Object] struct {
	store *registry.Store
	api   *API
}

// ObjectsOf returns the objects of a stored resource, or of a subresource such
// as "namespaces/status", which reads whole objects and writes its part.
func ObjectsOf[T Object](a *API, group, resource string) (Objects[T], error) {
	store, ok := a.stores[schema.GroupResource{Group: group, Resource: resource}]
	if !ok {
		return Objects[T]{}, fmt.Errorf("no resource %s in API group %q", resource, group)
	}
	if _, ok := store.NewFunc().(T); !ok {
		return Objects[T]{}, fmt.Errorf("%s are %T", resource, store.NewFunc())
	}
	return Objects[T]{store, a}, nil
}

// Namespaced returns the resources that live in namespaces, by group and name.
func (a *API) Namespaced() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for gr, store := range a.stores {
		if store.CreateStrategy != nil && store.NamespaceScoped() {
			gv, _ := versionOf(gr.Group)
			out = append(out, gr.WithVersion(gv.Version))
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupVersionResource) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// Get returns the object as it is in the store now, not in a cache.
func (o Objects[T]) Get(ctx context.Context, namespace, name string) (T, error) {
	return typed[T](o.store.Get(o.inside(ctx, namespace), name, &metav1.GetOptions{}))
}

// List returns the objects of a namespace, or of all if it is empty.
func (o Objects[T]) List(ctx context.Context, namespace string) ([]T, error) {
	list, err := o.store.List(o.inside(ctx, namespace), &metainternalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(items))
	for i, item := range items {
		out[i] = item.(T)
	}
	return out, nil
}

// Create stores a new object and returns it as stored.
func (o Objects[T]) Create(ctx context.Context, obj T) (T, error) {
	return typed[T](o.store.Create(o.inside(ctx, obj.GetNamespace()), obj, rest.ValidateAllObjectFunc, &metav1.CreateOptions{}))
}

// Update replaces the object. It is a conflict if obj has a resource version
// that is not the stored one.
func (o Objects[T]) Update(ctx context.Context, obj T) (T, error) {
	updated, _, err := o.store.Update(o.inside(ctx, obj.GetNamespace()), obj.GetName(), rest.DefaultUpdatedObjectInfo(obj),
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	return typed[T](updated, err)
}

// Delete removes the object, or marks it while finalizers hold it.
func (o Objects[T]) Delete(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error {
	_, _, err := o.store.Delete(o.inside(ctx, namespace), name, rest.ValidateAllObjectFunc, &opts)
	return err
}

// Informer returns an informer straight on the store. [API.CaughtUp] is about it
// from then on, so it has to be run.
func (o Objects[T]) Informer() cache.SharedIndexInformer {
	following := o.api.follow(o.store)
	all := func(options metav1.ListOptions) (*metainternalversion.ListOptions, error) {
		var internal metainternalversion.ListOptions
		err := metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&options, &internal, nil)
		return &internal, err
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			internal, err := all(options)
			if err != nil {
				return nil, err
			}
			return o.store.List(o.inside(ctx, ""), internal)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			internal, err := all(options)
			if err != nil {
				return nil, err
			}
			internal.TimeoutSeconds = nil
			w, err := o.store.Watch(o.inside(ctx, ""), internal)
			if err != nil {
				return nil, err
			}
			return following.begin(w, internal.SendInitialEvents != nil && *internal.SendInitialEvents, internal.ResourceVersion), nil
		},
	}
	return following.informer(lw)
}

// inside returns the context of an operation in a namespace. If ctx is that of
// a request, it says what the request is for, and errors would name that instead
// of these objects.
func (o Objects[T]) inside(ctx context.Context, namespace string) context.Context {
	gr := o.store.DefaultQualifiedResource
	ctx = genericapirequest.WithRequestInfo(ctx, &genericapirequest.RequestInfo{APIGroup: gr.Group, Resource: gr.Resource})
	return genericapirequest.WithNamespace(ctx, namespace)
}

func typed[T Object](obj runtime.Object, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	out, ok := obj.(T)
	if !ok {
		return none, fmt.Errorf("the store returned %T", obj)
	}
	return out, nil
}
