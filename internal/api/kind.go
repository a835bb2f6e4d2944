package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/apiserver/pkg/util/dryrun"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/api/columns"
)

// An Object is an API object of a stored kind.
type Object interface {
	runtime.Object
	metav1.Object
}

// A kind is one entry of the table of resources: what the library cannot know
// about it. [kind.install] makes the rest of it.
type kind[T Object] struct {
	gv         schema.GroupVersion
	name       string // as in the kind of an object
	resource   string // as in a URL
	singular   string
	short      []string
	categories []string
	namespaced bool
	// createOnUpdate lets a PUT create what is not there, as upstream does for
	// a few kinds.
	createOnUpdate bool
	// keepDeleted lets a delete return the object and not a Status.
	keepDeleted bool
	// versioned refuses an update that does not name the resource version it
	// is based on.
	versioned bool
	// ttl is how long an object lives, in seconds; 0 is for ever.
	ttl uint64

	new     func() T
	newList func() runtime.Object
	// fields are what the kind can be selected by, besides name and namespace.
	fields func(T) fields.Set
	table  *columns.Table

	rules rules[T]
	// status makes a /status subresource with rules of its own.
	status *rules[T]
	// ownedByStatus are the top-level fields that only subresources may write,
	// and keptByStatus those that /status does not write.
	ownedByStatus, keptByStatus []string
	// endedBy, which may be nil, reports whether an update of any part of a
	// deleted object takes away the last thing that kept it.
	endedBy func(ctx context.Context, key string, obj, existing runtime.Object) bool
	// extend adds subresources to the group and changes what the store does.
	extend func(in *installer, store *registry.Store, group map[string]rest.Storage)
}

// rules are what upstream calls a strategy: what becomes of an object before
// it is written, and what is wrong with it.
type rules[T Object] struct {
	prepareCreate  func(context.Context, T)
	prepareUpdate  func(ctx context.Context, obj, old T)
	validate       func(T) field.ErrorList
	validateUpdate func(obj, old T) field.ErrorList
	warnings       func(T) []string
	// canonicalize finishes an object that is valid. By then it has a name,
	// even if its client left that to the server.
	canonicalize func(T)
}

// A served resource is the store behind one, as REST sees it.
type served struct {
	*registry.Store
	short, category []string
}

func (s served) ShortNames() []string { return s.short }
func (s served) Categories() []string { return s.category }

// An entry of the table of resources.
type entry interface {
	install(*installer) error
}

// install makes the store of the kind and its subresources.
func (k *kind[T]) install(in *installer) error {
	gr := schema.GroupResource{Group: k.gv.Group, Resource: k.resource}
	main := strategy[T]{ObjectTyper: in.scheme, NameGenerator: names.SimpleNameGenerator, kind: k, rules: k.rules, reset: paths(k.ownedByStatus...)}
	store := &registry.Store{
		NewFunc:                   func() runtime.Object { return k.new() },
		NewListFunc:               k.newList,
		PredicateFunc:             k.predicate,
		DefaultQualifiedResource:  gr,
		SingularQualifiedResource: schema.GroupResource{Group: k.gv.Group, Resource: k.singular},
		CreateStrategy:            main,
		UpdateStrategy:            main,
		DeleteStrategy:            main,
		ResetFieldsStrategy:       main,
		TableConvertor:            k.table,
		ReturnDeletedObject:       k.keepDeleted,
		ShouldDeleteDuringUpdate:  k.endedBy,
		AfterCreate: func(obj runtime.Object, o *metav1.CreateOptions) {
			if !dryrun.IsDryRun(o.DryRun) {
				in.created(k.resource, obj.(T))
			}
		},
		AfterDelete: func(obj runtime.Object, o *metav1.DeleteOptions) {
			if !dryrun.IsDryRun(o.DryRun) {
				in.changed(k.resource, obj.(T))
				in.deleted(k.resource, obj.(T))
			}
		},
		AfterUpdate: func(obj runtime.Object, o *metav1.UpdateOptions) {
			if !dryrun.IsDryRun(o.DryRun) {
				in.changed(k.resource, obj.(T))
			}
		},
	}
	if k.ttl > 0 {
		store.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return k.ttl, nil }
	}
	if err := store.CompleteWithOptions(k.options(in)); err != nil {
		return fmt.Errorf("making the store of %s: %w", gr, err)
	}
	in.stores[gr] = store
	if err := in.addFieldLabels(k.gv.WithKind(k.name), k.selectableNames()); err != nil {
		return err
	}
	group := in.group(k.gv)
	group[k.resource] = served{store, k.short, k.categories}
	if k.gv.Group == v1alpha1.Group {
		in.named = append(in.named, metav1.APIResource{
			Name: k.resource, SingularName: k.singular, Namespaced: k.namespaced, Kind: k.name, ShortNames: k.short, Categories: k.categories,
			Verbs: metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
		})
	}
	if k.status != nil {
		k.subresource(in, store, "status", *k.status, k.keptByStatus...)
	}
	if k.extend != nil {
		k.extend(in, store, group)
	}
	return nil
}

// paths is the set of the fields with the given dotted names, or nil.
func paths(names ...string) *fieldpath.Set {
	if len(names) == 0 {
		return nil
	}
	set := fieldpath.NewSet()
	for _, name := range names {
		var parts []any
		for part := range strings.SplitSeq(name, ".") {
			parts = append(parts, part)
		}
		set.Insert(fieldpath.MakePathOrDie(parts...))
	}
	return set
}

// subresource adds a part of the objects: a view of their store that reads as
// the store does and writes by rules of its own, leaving the fields named by
// reset alone.
func (k *kind[T]) subresource(in *installer, main *registry.Store, name string, r rules[T], reset ...string) {
	s := strategy[T]{ObjectTyper: in.scheme, NameGenerator: names.SimpleNameGenerator, kind: k, rules: r, reset: paths(reset...)}
	store := *main
	store.CreateStrategy, store.DeleteStrategy = nil, nil
	store.UpdateStrategy, store.ResetFieldsStrategy = s, s
	in.stores[schema.GroupResource{Group: k.gv.Group, Resource: k.resource + "/" + name}] = &store
	in.group(k.gv)[k.resource+"/"+name] = &part{&store}
}

// selectableNames are the fields that an object of the kind can be selected by.
func (k *kind[T]) selectableNames() []string {
	_, set, err := k.selectable(k.new())
	if err != nil {
		return nil
	}
	return slices.Collect(maps.Keys(set))
}
