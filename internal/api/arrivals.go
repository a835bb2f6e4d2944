package api

import (
	"context"
	"strconv"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
)

// arrivals is what the watch cache of a resource reads the store through. It knows
// the revision of the last change that the cache may have to tell its watchers of.
type arrivals struct {
	storage.Interface
	last atomic.Uint64
}

// Watch implements [storage.Interface].
func (a *arrivals) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	w, err := a.Interface.Watch(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		obj := e.Object
		if timed, ok := obj.(storage.WatchEventWithRecordTime); ok {
			obj = timed.Unwrap()
		}
		switch e.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			a.note(revisionOf(obj))
		case watch.Bookmark:
			if endsInitial(obj) {
				a.note(revisionOf(obj))
			}
		}
		return e, true
	}), nil
}

// GetList implements [storage.Interface]. What changed before a list is told to
// nobody, so whoever watches has to begin anew behind it.
func (a *arrivals) GetList(ctx context.Context, key string, opts storage.ListOptions, list runtime.Object) error {
	if err := a.Interface.GetList(ctx, key, opts, list); err != nil {
		return err
	}
	if m, err := meta.ListAccessor(list); err == nil {
		a.note(parseRevision(m.GetResourceVersion()))
	}
	return nil
}

func (a *arrivals) note(revision uint64) {
	for last := a.last.Load(); revision > last; last = a.last.Load() {
		if a.last.CompareAndSwap(last, revision) {
			return
		}
	}
}

// revisionOf returns the revision of what an event is about, or 0.
func revisionOf(obj runtime.Object) uint64 {
	m, err := meta.Accessor(obj)
	if err != nil {
		return 0
	}
	return parseRevision(m.GetResourceVersion())
}

func parseRevision(text string) uint64 {
	revision, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return revision
}
