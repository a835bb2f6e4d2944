package api

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/storage"
)

// CaughtUp returns nil once every informer has been sent what the store held at
// a revision. It waits for that, but no longer than a few seconds.
//
// A revision is one number for the whole store, so a resource that nobody writes
// never comes to it by itself: etcd is asked how far its watches have come.
func (a *API) CaughtUp(ctx context.Context, revision int64) error {
	work, ctx := errgroup.WithContext(ctx)
	for _, f := range a.followed {
		work.Go(func() error { return f.caughtUp(ctx, revision) })
	}
	return work.Wait()
}

// follow returns what is known of an informer of a store that is about to be
// made.
func (a *API) follow(store *registry.Store) *following {
	f := &following{store: store}
	a.followed = append(a.followed, f)
	return f
}

// A following is one informer, as far as it can be known from outside.
type following struct {
	store *registry.Store
	// open is set while the informer has a watch and has had what was there when
	// it began. The watch cache ends a watch that it cannot go on with, so what
	// the cache knows has been sent on a watch that is open.
	open atomic.Bool
}

// caughtUp waits for the watch cache to know a revision.
func (f *following) caughtUp(ctx context.Context, revision int64) error {
	resource := f.store.DefaultQualifiedResource
	if !f.open.Load() {
		return fmt.Errorf("%s are not followed at the moment", resource)
	}
	if f.store.ReadinessCheckFunc != nil {
		if err := f.store.ReadinessCheckFunc(); err != nil {
			return fmt.Errorf("the cache of %s: %w", resource, err)
		}
	}
	// A cache that has to know a revision waits until it does. What is read is
	// of no interest, so it is what cannot be there.
	key := f.store.KeyRootFunc(genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)) + "/~"
	at := storage.GetOptions{ResourceVersion: strconv.FormatInt(revision, 10), IgnoreNotFound: true}
	if err := f.store.Storage.Storage.Get(ctx, key, at, f.store.NewFunc()); err != nil {
		return fmt.Errorf("waiting for the cache of %s: %w", resource, err)
	}
	if !f.open.Load() {
		return fmt.Errorf("%s are not followed any more", resource)
	}
	return nil
}

// begin returns w for the informer. If it begins with what is there, that has to
// come first.
func (f *following) begin(w watch.Interface, initial bool) watch.Interface {
	f.open.Store(!initial)
	return &followedWatch{f, watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		// The watch cache puts an envelope around an object, to encode it once
		// for many watchers.
		if wrapped, ok := e.Object.(runtime.CacheableObject); ok {
			e.Object = wrapped.GetObject()
		}
		if e.Type == watch.Bookmark && endsInitial(e.Object) {
			f.open.Store(true)
		}
		return e, true
	})}
}

// endsInitial tells the bookmark behind what was there when a watch began.
func endsInitial(obj runtime.Object) bool {
	accessor, err := meta.Accessor(obj)
	return err == nil && accessor.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// A followedWatch is a watch of an informer, which stops it when it ends.
type followedWatch struct {
	of *following
	watch.Interface
}

// Stop implements [watch.Interface].
func (w *followedWatch) Stop() {
	w.of.open.Store(false)
	w.Interface.Stop()
}
