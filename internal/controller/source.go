package controller

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/tools/cache"
)

// A Source calls add with the keys that may need work, from when it is called
// until stop is called or ctx is done. The channel synced is closed when it has
// named all it knew at the beginning. See [Watch] and [Poll].
type Source[K comparable] func(ctx context.Context, add func(K)) (synced <-chan struct{}, stop func(), err error)

// Watch is the source that names keys(obj) for each object that an informer has,
// and for each that is added, changed or deleted. A deleted one is told as it
// was last seen. The informer is run by somebody else.
func Watch[T any, K comparable](informer cache.SharedIndexInformer, keys func(obj T) []K) Source[K] {
	return func(_ context.Context, add func(K)) (<-chan struct{}, func(), error) {
		tell := func(obj any) {
			if missed, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = missed.Obj
			}
			if typed, ok := obj.(T); ok {
				for _, key := range keys(typed) {
					add(key)
				}
			}
		}
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    tell,
			UpdateFunc: func(_, obj any) { tell(obj) },
			DeleteFunc: tell,
		})
		if err != nil {
			return nil, nil, err
		}
		stop := func() {
			// It fails only for a handler that is gone already.
			_ = informer.RemoveEventHandler(registration)
		}
		return registration.HasSyncedChecker().Done(), stop, nil
	}
}

// Poll is the source that asks for keys at once and then at every interval. It
// is for what cannot be watched, such as a file: keys compares with the last
// time and returns nothing if nothing changed.
func Poll[K comparable](interval time.Duration, keys func() []K) Source[K] {
	return func(ctx context.Context, add func(K)) (<-chan struct{}, func(), error) {
		if interval <= 0 {
			return nil, nil, errors.New("polling interval is not positive")
		}
		ctx, stop := context.WithCancel(ctx)
		go func() {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for {
				for _, key := range keys() {
					add(key)
				}
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		}()
		synced := make(chan struct{})
		close(synced)
		return synced, stop, nil
	}
}
