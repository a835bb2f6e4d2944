package controllertest

import (
	"context"
	"strconv"

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
	ctx, stop := context.WithCancel(context.Background())
	w := &watcher{events: make(chan watch.Event), stop: stop}
	go w.pump(ctx, after, l.store.since)
	return w, nil
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

func (w *watcher) pump(ctx context.Context, n int, since func(int) ([]watch.Event, <-chan struct{})) {
	defer close(w.events)
	for {
		events, changed := since(n)
		for _, e := range events {
			select {
			case w.events <- e:
				n++
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
