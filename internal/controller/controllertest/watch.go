package controllertest

import (
	"context"
	"math"
	"strconv"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// A listWatch is a store as an informer wants it.
type listWatch[T Object] struct{ store *Store[T] }

// IsWatchListSemanticsUnSupported tells the informer to list, and then watch.
func (*listWatch[T]) IsWatchListSemanticsUnSupported() bool { return true }

// List returns all objects, as the API's untyped list.
func (l *listWatch[T]) List(metav1.ListOptions) (runtime.Object, error) {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &metav1.List{}
	list.ResourceVersion = strconv.FormatUint(s.version, 10)
	for _, obj := range s.objects {
		list.Items = append(list.Items, runtime.RawExtension{Object: clone(obj)})
	}
	return list, nil
}

// Watch returns the events after options.ResourceVersion.
func (l *listWatch[T]) Watch(options metav1.ListOptions) (watch.Interface, error) {
	after, err := strconv.Atoi(options.ResourceVersion)
	if err != nil {
		return nil, err
	}
	s := l.store
	s.mu.Lock()
	oldest, cut := s.oldest, s.cut
	s.mu.Unlock()
	if after < oldest {
		return nil, apierrors.NewResourceExpired("the event history is gone")
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &watcher{events: make(chan watch.Event), stop: stop}
	go w.pump(ctx, cut, after, s.since)
	return w, nil
}

// Miss does something that no watch will tell of: watches end before it, and
// its events are compacted away, so that informers have to list anew. In a
// synctest bubble only.
func (s *Store[T]) Miss(do func()) {
	s.mu.Lock()
	s.oldest = math.MaxInt
	close(s.cut)
	s.cut = make(chan struct{})
	s.mu.Unlock()
	synctest.Wait()
	do()
	s.mu.Lock()
	s.oldest = len(s.events)
	s.mu.Unlock()
}

// since returns the events after the first n, and what tells of further ones.
func (s *Store[T]) since(n int) ([]watch.Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := make([]watch.Event, 0, len(s.events)-n)
	for _, e := range s.events[n:] {
		events = append(events, watch.Event{Type: e.Type, Object: e.Object.DeepCopyObject()})
	}
	return events, s.changed
}

// A watcher hands on the events of a store until it is stopped.
type watcher struct {
	events chan watch.Event
	stop   context.CancelFunc
}

func (w *watcher) ResultChan() <-chan watch.Event { return w.events }

func (w *watcher) Stop() { w.stop() }

func (w *watcher) pump(ctx context.Context, cut <-chan struct{}, n int, since func(int) ([]watch.Event, <-chan struct{})) {
	defer close(w.events)
	for {
		events, changed := since(n)
		for _, e := range events {
			select {
			case w.events <- e:
				n++
			case <-cut:
				return
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-changed:
		case <-cut:
			return
		case <-ctx.Done():
			return
		}
	}
}
