package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// A followedWatch is a watch of an informer, into which marks are put.
type followedWatch struct {
	of *following
	in watch.Interface
	// open is set once what was there when the watch began has come.
	open atomic.Bool
	out  chan watch.Event
	// marks are those to put in.
	marks chan *mark
	// stopped is closed when the informer wants no more, and ended when nothing
	// more comes out.
	stopped, ended chan struct{}
	stop           func()
}

// begin returns w for the informer, which begins behind a revision or, initially,
// with what is there.
func (f *following) begin(w watch.Interface, initial bool, behind string) watch.Interface {
	fw := &followedWatch{
		of: f, in: w, out: make(chan watch.Event), marks: make(chan *mark),
		stopped: make(chan struct{}), ended: make(chan struct{}),
	}
	fw.stop = sync.OnceFunc(func() { close(fw.stopped) })
	fw.open.Store(!initial)
	f.watch.Store(fw)
	go fw.run(parseRevision(behind))
	return fw
}

// ResultChan implements [watch.Interface].
func (w *followedWatch) ResultChan() <-chan watch.Event { return w.out }

// Stop implements [watch.Interface].
func (w *followedWatch) Stop() { w.stop() }

var errEnded = errors.New("the watch has ended")

// send has a mark put in when it may be.
func (w *followedWatch) send(ctx context.Context, m *mark) error {
	select {
	case w.marks <- m:
		return nil
	case <-w.ended:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run passes on what comes. The last mark is put in as soon as what it is to be
// behind has come; who waits for another has given up.
func (w *followedWatch) run(reached uint64) {
	defer close(w.out)
	defer close(w.ended)
	defer w.open.Store(false)
	defer w.in.Stop()
	var next *mark
	for {
		select {
		case e, ok := <-w.in.ResultChan():
			if !ok {
				return
			}
			e.Object = unwrapped(e.Object)
			if !w.pass(e) {
				return
			}
			reached = max(reached, revisionOf(e.Object))
			if e.Type == watch.Bookmark && endsInitial(e.Object) {
				w.open.Store(true)
			}
		case next = <-w.marks:
		case <-w.stopped:
			return
		}
		if next != nil && w.open.Load() && reached >= next.behind {
			if !w.pass(watch.Event{Type: watch.Deleted, Object: next.obj}) {
				return
			}
			next = nil
		}
	}
}

// pass reports whether the informer has taken an event.
func (w *followedWatch) pass(e watch.Event) bool {
	select {
	case w.out <- e:
		return true
	case <-w.stopped:
		return false
	}
}

// unwrapped returns an object without the envelope that the watch cache puts
// around it, to encode it once for many watchers.
func unwrapped(obj runtime.Object) runtime.Object {
	if wrapped, ok := obj.(runtime.CacheableObject); ok {
		return wrapped.GetObject()
	}
	return obj
}

// endsInitial tells the bookmark behind what was there when a watch began.
func endsInitial(obj runtime.Object) bool {
	accessor, err := meta.Accessor(obj)
	return err == nil && accessor.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}
