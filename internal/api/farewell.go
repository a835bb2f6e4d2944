package api

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"

	"gatehouse.dev/gatehouse/internal/live"
)

// underWay is how many events may be on their way from the watch cache to the
// encoder of one watch.
const underWay = 16

// polite is a storage whose watches tell their callers why they end, in place of
// just ending. It does so in the stream of events, where the library encodes it
// as what the caller has asked for.
type polite struct{ storage.Interface }

// Watch watches, see [storage.Interface]. A watch that nobody outside has asked
// for is the storage's own.
func (p polite) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	inner, err := p.Interface.Watch(ctx, key, opts)
	stream := live.From(ctx)
	if err != nil || stream == nil {
		return inner, err
	}
	w := &farewell{inner: inner, stream: stream, out: make(chan watch.Event, underWay), stopped: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

// farewell is a watch that ends with an event that says why.
type farewell struct {
	inner   watch.Interface
	stream  *live.Request
	out     chan watch.Event
	stop    sync.Once
	stopped chan struct{}
}

// ResultChan implements [watch.Interface].
func (w *farewell) ResultChan() <-chan watch.Event { return w.out }

// Stop implements [watch.Interface].
func (w *farewell) Stop() { w.stop.Do(func() { close(w.stopped) }) }

// run passes events on until the watch or its stream ends. The library does not
// look at the context of a watch over a WebSocket, so this does.
func (w *farewell) run(ctx context.Context) {
	defer close(w.out)
	defer w.inner.Stop()
	for events := w.inner.ResultChan(); ; {
		select {
		case <-w.stream.Ended():
			w.say()
			return
		case <-w.stopped:
			return
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			if w.stream.Ending() != nil {
				continue // the caller is told nothing else any more
			}
			select {
			case w.out <- e:
			case <-w.stopped:
				return
			case <-ctx.Done():
				return
			case <-w.stream.Ended():
				w.say()
				return
			}
		}
	}
}

// say sends the last event, in place of those that nobody has taken yet.
func (w *farewell) say() {
	for {
		select {
		case <-w.out:
			continue
		default:
		}
		break
	}
	w.out <- watch.Event{Type: watch.Error, Object: w.stream.Ending().Status()} // there is room: nobody else sends
}
