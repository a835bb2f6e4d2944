package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
)

// CaughtUp returns nil once every informer, and all that it tells of changes, has
// handled what the store held at a revision. It waits for that until ctx is done.
//
// A revision is one number for the whole store, so a resource that nobody writes
// never comes to it by itself: etcd is asked how far its watches have come. What
// the cache knows by then is still on its way: through the watch of the informer,
// its queue, its store and the queue of each handler. So a mark is sent after it,
// on the same way, and comes out behind it.
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
	f := &following{
		store: store, arrived: a.engine.arrived[store.DefaultQualifiedResource],
		told: map[cache.ResourceEventHandlerRegistration]*marked{}, waiting: map[int64]chan struct{}{},
	}
	a.followed = append(a.followed, f)
	return f
}

// A following is one informer, as far as it can be known from outside.
type following struct {
	store   *registry.Store
	arrived *arrivals
	// watch is what the informer reads, or nil.
	watch atomic.Pointer[followedWatch]

	mu sync.Mutex
	// told are the handlers of the informer.
	told map[cache.ResourceEventHandlerRegistration]*marked
	// sent is the number of the last mark, and waiting has what is closed when a
	// mark, by its number, or one behind it has come out everywhere.
	sent    int64
	waiting map[int64]chan struct{}
}

// caughtUp waits for the watch cache to know a revision, and for whoever is told
// by the informer to have handled what there was.
func (f *following) caughtUp(ctx context.Context, revision int64) error {
	resource := f.store.DefaultQualifiedResource
	w := f.watch.Load()
	if w == nil || !w.open.Load() {
		return fmt.Errorf("%s are not followed at the moment", resource)
	}
	if f.store.ReadinessCheckFunc != nil {
		if err := f.store.ReadinessCheckFunc(); err != nil {
			return fmt.Errorf("the cache of %s: %w", resource, err)
		}
	}
	if err := f.arrive(ctx, revision); err != nil {
		return fmt.Errorf("waiting for the cache of %s: %w", resource, err)
	}
	// Whatever has changed up to the revision has come into the cache by now. If
	// the cache had to begin anew, so has the informer: its old watch does not come
	// as far as the new list.
	m, done, err := f.mark(revision)
	if err != nil {
		return fmt.Errorf("following %s: %w", resource, err)
	}
	defer f.forget(m)
	if err := w.send(ctx, m); err != nil {
		return fmt.Errorf("%s are not followed any more: %w", resource, err)
	}
	select {
	case <-done:
		return nil
	case <-w.ended:
		return fmt.Errorf("%s are not followed any more", resource)
	case <-ctx.Done():
		return fmt.Errorf("waiting until changes of %s are handled: %w", resource, context.Cause(ctx))
	}
}

// arrive waits until the watch cache knows a revision.
func (f *following) arrive(ctx context.Context, revision int64) error {
	// A cache that has to know a revision waits until it does. What is read is
	// of no interest, so it is what cannot be there.
	key := f.store.KeyRootFunc(genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)) + "/" + markName
	at := storage.GetOptions{ResourceVersion: strconv.FormatInt(revision, 10), IgnoreNotFound: true}
	for {
		err := f.store.Storage.Storage.Get(ctx, key, at, f.store.NewFunc())
		// It waits for three seconds. Who comes after that with a later revision
		// would run after a busy store, and never get there.
		if !storage.IsTooLargeResourceVersion(err) || ctx.Err() != nil {
			return err
		}
	}
}

// markName is the name of marks. No object can have it.
const markName = "~"

// A mark is an event that nobody is told of: that an object is gone that cannot
// have been there.
type mark struct {
	number int64
	obj    runtime.Object
	// behind is the revision of the last event that has to come before it.
	behind uint64
}

// mark returns a new mark for a revision, and what is closed when it has come out.
func (f *following) mark(revision int64) (*mark, <-chan struct{}, error) {
	obj := f.store.NewFunc()
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, nil, errors.New("internal error: what is followed are no objects")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent++
	done := make(chan struct{})
	f.waiting[f.sent] = done
	m.SetName(markName)
	m.SetResourceVersion(strconv.FormatInt(revision, 10))
	m.SetGeneration(f.sent)
	return &mark{f.sent, obj, f.arrived.last.Load()}, done, nil
}

// forget forgets a mark that nobody waits for any more.
func (f *following) forget(m *mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, m.number)
}

// informer returns the informer that is followed, with handlers that let marks
// pass.
func (f *following) informer(lw cache.ListerWatcher) cache.SharedIndexInformer {
	inner := cache.NewSharedIndexInformer(lw, f.store.NewFunc(), 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	i := &followedInformer{inner, f}
	// Some only look into the store of the informer, which changes before a handler
	// is told. An error is for an informer that has ended.
	_, _ = i.AddEventHandler(cache.ResourceEventHandlerFuncs{})
	return i
}

// A followedInformer knows its handlers.
type followedInformer struct {
	cache.SharedIndexInformer
	of *following
}

// AddEventHandler implements [cache.SharedInformer].
func (i *followedInformer) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandlerWithOptions(h, cache.HandlerOptions{})
}

// AddEventHandlerWithOptions implements [cache.SharedInformer].
func (i *followedInformer) AddEventHandlerWithOptions(h cache.ResourceEventHandler, options cache.HandlerOptions) (cache.ResourceEventHandlerRegistration, error) {
	m := &marked{ResourceEventHandler: h, of: i.of}
	registration, err := i.SharedIndexInformer.AddEventHandlerWithOptions(m, options)
	if err != nil {
		return nil, err
	}
	i.of.mu.Lock()
	defer i.of.mu.Unlock()
	i.of.told[registration] = m
	return registration, nil
}

// RemoveEventHandler implements [cache.SharedInformer].
func (i *followedInformer) RemoveEventHandler(registration cache.ResourceEventHandlerRegistration) error {
	i.of.mu.Lock()
	delete(i.of.told, registration)
	i.of.settle()
	i.of.mu.Unlock()
	return i.SharedIndexInformer.RemoveEventHandler(registration)
}

// A marked handler notes the marks that come, and passes on the rest.
type marked struct {
	cache.ResourceEventHandler
	of *following
	// last is the number of the last mark that came.
	last int64
}

// OnDelete implements [cache.ResourceEventHandler].
func (m *marked) OnDelete(obj any) {
	if o, ok := obj.(metav1.Object); ok && o.GetName() == markName {
		m.of.mu.Lock()
		defer m.of.mu.Unlock()
		m.last = o.GetGeneration()
		m.of.settle()
		return
	}
	m.ResourceEventHandler.OnDelete(obj)
}

// settle tells who waits for marks that have come out everywhere. The lock is
// held.
func (f *following) settle() {
	out := f.sent
	for _, m := range f.told {
		out = min(out, m.last)
	}
	for number, done := range f.waiting {
		if number <= out {
			close(done)
			delete(f.waiting, number)
		}
	}
}
