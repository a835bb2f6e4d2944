package api

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerr "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"

	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/defaults"
	"gatehouse.dev/gatehouse/internal/api/validation/core"
)

func namespaces() entry {
	k := &kind[*corev1.Namespace]{
		gv: corev1.SchemeGroupVersion, name: "Namespace", resource: "namespaces", singular: "namespace",
		short: []string{"ns"}, keepDeleted: true, table: columns.Namespace(),
		new:     func() *corev1.Namespace { return &corev1.Namespace{} },
		newList: func() runtime.Object { return &corev1.NamespaceList{} },
		fields: func(ns *corev1.Namespace) fields.Set {
			return fields.Set{"status.phase": string(ns.Status.Phase)}
		},
		ownedByStatus: []string{"status"}, keptByStatus: []string{"spec"},
		endedBy: finalized,
		rules: rules[*corev1.Namespace]{
			prepareCreate: prepareNamespace,
			prepareUpdate: func(_ context.Context, ns, old *corev1.Namespace) {
				ns.Spec.Finalizers, ns.Status = old.Spec.Finalizers, old.Status
			},
			validate: core.ValidateNamespace, validateUpdate: core.ValidateNamespaceUpdate,
			canonicalize: defaults.Namespace,
		},
		status: &rules[*corev1.Namespace]{
			prepareUpdate:  func(_ context.Context, ns, old *corev1.Namespace) { ns.Spec = old.Spec },
			validateUpdate: core.ValidateNamespaceStatusUpdate,
		},
	}
	k.extend = func(in *installer, store *registry.Store, group map[string]rest.Storage) {
		group["namespaces"] = &namespaceStorage{namespaceParts: served{store, k.short, nil}, store: store}
		k.subresource(in, store, "finalize", rules[*corev1.Namespace]{
			prepareUpdate:  func(_ context.Context, ns, old *corev1.Namespace) { ns.Status = old.Status },
			validateUpdate: core.ValidateNamespaceFinalizeUpdate,
		}, "status")
		group["namespaces/finalize"] = struct{ writable }{group["namespaces/finalize"].(*part)}
	}
	return k
}

// prepareNamespace puts the finalizer on that keeps a namespace until its
// contents are gone.
func prepareNamespace(_ context.Context, ns *corev1.Namespace) {
	ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	for _, f := range ns.Spec.Finalizers {
		if f == corev1.FinalizerKubernetes {
			return
		}
	}
	ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
}

// finalized reports whether an update took away the last thing that kept a
// deleted namespace.
func finalized(ctx context.Context, key string, obj, existing runtime.Object) bool {
	return len(obj.(*corev1.Namespace).Spec.Finalizers) == 0 &&
		registry.ShouldDeleteDuringUpdate(ctx, key, obj, existing)
}

// writable is what /finalize has of a subresource: nobody reads it, as upstream.
type writable interface {
	rest.Storage
	rest.Updater
	rest.ResetFieldsStrategy
}

// namespaceParts is what a namespace has of an ordinary resource. Deleting is
// its own, and a collection of namespaces cannot be deleted, as upstream.
type namespaceParts interface {
	rest.Storage
	rest.Scoper
	rest.SingularNameProvider
	rest.ShortNamesProvider
	rest.Lister
	rest.Getter
	rest.Creater
	rest.Updater
	rest.Watcher
	rest.ResetFieldsStrategy
	rest.StorageVersionProvider
}

type namespaceStorage struct {
	namespaceParts
	store *registry.Store
}

var _ rest.GracefulDeleter = &namespaceStorage{}

// Delete marks the namespace; the namespace controller empties it, takes the
// finalizer off, and only then it is gone.
func (n *namespaceStorage) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	obj, err := n.store.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, false, err
	}
	ns := obj.(*corev1.Namespace)
	pre, err := preconditions(ns, options)
	if err != nil {
		return nil, false, err
	}
	switch {
	case ns.DeletionTimestamp.IsZero():
		marked, err := n.terminate(ctx, ns, pre, validate, options)
		return marked, false, err
	case len(ns.Spec.Finalizers) > 0:
		return ns, false, nil
	}
	return n.store.Delete(ctx, name, validate, options)
}

// preconditions pins the delete to the very namespace that was read.
func preconditions(ns *corev1.Namespace, options *metav1.DeleteOptions) (*storage.Preconditions, error) {
	pre := &storage.Preconditions{UID: &ns.UID}
	if options.Preconditions == nil {
		return pre, nil
	}
	conflict := func(what string, want, have any) error {
		return apierrors.NewConflict(corev1.Resource("namespaces"), ns.Name,
			fmt.Errorf("Precondition failed: %s in precondition: %v, %s in object meta: %v", what, want, what, have)) //nolint:staticcheck // upstream's text
	}
	if uid := options.Preconditions.UID; uid != nil && *uid != ns.UID {
		return nil, conflict("UID", *uid, ns.UID)
	}
	if rv := options.Preconditions.ResourceVersion; rv != nil {
		if *rv != ns.ResourceVersion {
			return nil, conflict("ResourceVersion", *rv, ns.ResourceVersion)
		}
		pre.ResourceVersion = rv
	}
	return pre, nil
}

func (n *namespaceStorage) terminate(ctx context.Context, ns *corev1.Namespace, pre *storage.Preconditions, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, error) {
	key, err := n.store.KeyFunc(ctx, ns.Name)
	if err != nil {
		return nil, err
	}
	mark := func(existing runtime.Object) (runtime.Object, error) {
		ns := existing.(*corev1.Namespace)
		if err := validate(ctx, ns); err != nil {
			return nil, err
		}
		if ns.DeletionTimestamp.IsZero() {
			now := metav1.Now()
			ns.DeletionTimestamp = &now
		}
		ns.Status.Phase = corev1.NamespaceTerminating
		return ns, nil
	}
	out := n.store.NewFunc()
	err = n.store.Storage.GuaranteedUpdate(ctx, key, out, false, pre, storage.SimpleUpdate(mark), dryrun.IsDryRun(options.DryRun), nil)
	if err != nil {
		return nil, storageerr.InterpretUpdateError(err, corev1.Resource("namespaces"), ns.Name)
	}
	return out, nil
}
