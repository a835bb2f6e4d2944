package api

import (
	"context"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// strategy drives the library's generic store for one kind, or for one
// subresource of it.
type strategy[T Object] struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind *kind[T]
	// rules are those of the kind itself or of the subresource.
	rules rules[T]
	// reset are fields that a write through this strategy does not own.
	reset *fieldpath.Set
}

var (
	_ rest.RESTCreateStrategy  = strategy[Object]{}
	_ rest.RESTUpdateStrategy  = strategy[Object]{}
	_ rest.RESTDeleteStrategy  = strategy[Object]{}
	_ rest.ResetFieldsStrategy = strategy[Object]{}
)

func (s strategy[T]) NamespaceScoped() bool                         { return s.kind.namespaced }
func (s strategy[T]) AllowCreateOnUpdate(context.Context) bool      { return s.kind.createOnUpdate }
func (s strategy[T]) AllowUnconditionalUpdate(context.Context) bool { return !s.kind.versioned }

func (s strategy[T]) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	if s.rules.prepareCreate != nil {
		s.rules.prepareCreate(ctx, obj.(T))
	}
}

func (s strategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	if s.rules.prepareUpdate != nil {
		s.rules.prepareUpdate(ctx, obj.(T), old.(T))
	}
}

func (s strategy[T]) Canonicalize(obj runtime.Object) {
	if s.rules.canonicalize != nil {
		s.rules.canonicalize(obj.(T))
	}
}

func (s strategy[T]) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return s.rules.validate(obj.(T))
}

func (s strategy[T]) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return s.rules.validateUpdate(obj.(T), old.(T))
}

func (s strategy[T]) WarningsOnCreate(_ context.Context, obj runtime.Object) []string {
	if s.rules.warnings == nil {
		return nil
	}
	return s.rules.warnings(obj.(T))
}

func (s strategy[T]) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// GetResetFields returns the fields that server-side apply must not let this
// strategy's callers own.
func (s strategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	if s.reset == nil {
		return nil
	}
	return map[fieldpath.APIVersion]*fieldpath.Set{fieldpath.APIVersion(s.kind.gv.String()): s.reset}
}

// selectable returns the labels of obj and the fields it can be selected by.
func (k *kind[T]) selectable(obj runtime.Object) (labels.Set, fields.Set, error) {
	o := obj.(T)
	set := fields.Set{"metadata.name": o.GetName()}
	if k.namespaced {
		set["metadata.namespace"] = o.GetNamespace()
	}
	if k.fields != nil {
		for name, value := range k.fields(o) {
			set[name] = value
		}
	}
	return o.GetLabels(), set, nil
}

func (k *kind[T]) predicate(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: k.selectable}
}

func (k *kind[T]) options(getter generic.RESTOptionsGetter) *generic.StoreOptions {
	return &generic.StoreOptions{RESTOptions: getter, AttrFunc: k.selectable}
}
