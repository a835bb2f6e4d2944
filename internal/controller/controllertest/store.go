// Package controllertest is a store for the tests of controllers: objects in
// memory that behave as they do behind the API.
//
// The one idea is that a controller is tested against behaviour, not against
// expected calls: a [Store] has resource versions and conflicts, UIDs,
// finalizers, preconditions and a watch that feeds a real SharedIndexInformer,
// and the test looks at what is in it in the end.
//
// It refuses what the API refuses: a name taken, an old resource version, an
// object that is not there. It validates nothing else.
package controllertest

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// An Object is what a Store can keep: a pointer to a versioned type.
type Object interface {
	comparable
	runtime.Object
	metav1.Object
}

// A Store keeps objects of one type. It satisfies controller.Objects.
type Store[T Object] struct {
	// Held reports whether a deleted object has to stay, marked as deleted. It
	// is asked besides metadata.finalizers, and may be nil.
	Held func(T) bool
	// Before is called before each get, list, create, update and delete, without
	// any lock, so that it can write as somebody else would at that moment. If
	// it returns an error, that is the outcome. It may be nil.
	Before func(verb, namespace, name string) error

	resource schema.GroupResource

	mu      sync.Mutex // guards what follows
	version uint64
	objects map[types.NamespacedName]T
	events  []watch.Event // all of them, oldest first; number i has version i+1
	changed chan struct{} // closed, and made anew, with every event
	oldest  int           // the first event that can be watched from
	cut     chan struct{} // closed, and made anew, to end all watches
}

// NewStore returns an empty store of the resource, which error messages name.
func NewStore[T Object](resource string) *Store[T] {
	return &Store[T]{
		resource: schema.GroupResource{Resource: resource},
		objects:  make(map[types.NamespacedName]T),
		changed:  make(chan struct{}),
		cut:      make(chan struct{}),
	}
}

// Get returns a copy of the object.
func (s *Store[T]) Get(_ context.Context, namespace, name string) (T, error) {
	var none T
	if err := s.before("get", namespace, name); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, ok := s.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return none, apierrors.NewNotFound(s.resource, name)
	}
	return clone(obj), nil
}

// List returns copies of the objects of a namespace, or of all.
func (s *Store[T]) List(_ context.Context, namespace string) ([]T, error) {
	if err := s.before("list", namespace, ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []T
	for key, obj := range s.objects {
		if namespace == "" || key.Namespace == namespace {
			list = append(list, clone(obj))
		}
	}
	return list, nil
}

// Create stores a copy of obj under its name, with a new UID.
func (s *Store[T]) Create(_ context.Context, obj T) (T, error) {
	var none T
	if err := s.before("create", obj.GetNamespace(), obj.GetName()); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(obj)
	if _, taken := s.objects[key]; taken {
		return none, apierrors.NewAlreadyExists(s.resource, key.Name)
	}
	obj = clone(obj)
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(fmt.Sprintf("%s-uid-%d", s.resource.Resource, s.version+1)))
	}
	obj.SetCreationTimestamp(metav1.Now())
	return s.put(watch.Added, obj), nil
}

// Update replaces the object of that name. If obj is deleted already and
// nothing holds it any more, that removes it.
func (s *Store[T]) Update(_ context.Context, obj T) (T, error) {
	var none T
	if err := s.before("update", obj.GetNamespace(), obj.GetName()); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(obj)
	old, ok := s.objects[key]
	if !ok {
		return none, apierrors.NewNotFound(s.resource, key.Name)
	}
	if v := obj.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		return none, s.conflict(key.Name, "the object has been modified")
	}
	obj = clone(obj)
	obj.SetUID(old.GetUID())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	if obj.GetDeletionTimestamp() != nil && !s.held(obj) {
		return s.put(watch.Deleted, obj), nil
	}
	return s.put(watch.Modified, obj), nil
}

// Delete removes the object, or marks it as deleted if something holds it.
func (s *Store[T]) Delete(_ context.Context, namespace, name string, opts metav1.DeleteOptions) error {
	if err := s.before("delete", namespace, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return apierrors.NewNotFound(s.resource, name)
	}
	if p := opts.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.GetUID() {
			return s.conflict(name, "the UID in the precondition does not match")
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return s.conflict(name, "the resource version in the precondition does not match")
		}
	}
	obj := clone(old)
	if !s.held(obj) {
		s.put(watch.Deleted, obj)
		return nil
	}
	if obj.GetDeletionTimestamp() == nil {
		now := metav1.Now()
		obj.SetDeletionTimestamp(&now)
		s.put(watch.Modified, obj)
	}
	return nil
}

// Writes returns how often the store was written to.
func (s *Store[T]) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// put stores obj under a new resource version, or removes it, and tells the
// watches. It returns a copy for the caller. s.mu is held.
func (s *Store[T]) put(event watch.EventType, obj T) T {
	s.version++
	obj.SetResourceVersion(strconv.FormatUint(s.version, 10))
	if event == watch.Deleted {
		delete(s.objects, keyOf(obj))
	} else {
		s.objects[keyOf(obj)] = obj
	}
	s.events = append(s.events, watch.Event{Type: event, Object: obj})
	close(s.changed)
	s.changed = make(chan struct{})
	return clone(obj)
}

func (s *Store[T]) held(obj T) bool {
	return len(obj.GetFinalizers()) > 0 || s.Held != nil && s.Held(obj)
}

func (s *Store[T]) before(verb, namespace, name string) error {
	if s.Before == nil {
		return nil
	}
	return s.Before(verb, namespace, name)
}

func (s *Store[T]) conflict(name, why string) error {
	return apierrors.NewConflict(s.resource, name, fmt.Errorf("%s", why))
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func clone[T Object](obj T) T { return obj.DeepCopyObject().(T) }

// Informer returns an informer on the store. The caller runs it.
func (s *Store[T]) Informer() cache.SharedIndexInformer {
	var example T
	return cache.NewSharedIndexInformer(&listWatch[T]{s}, example, 0, cache.Indexers{
		cache.NamespaceIndex: cache.MetaNamespaceIndexFunc,
	})
}
