package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
)

// calls notes what was called, and in which order.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fmt.Sprintf(format, args...))
}

// take returns what was noted since the last time.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func TestLoopFollowsInformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore[*corev1.ConfigMap]("configmaps")
		informer := store.Informer()
		create(t, store, "before")
		var seen calls
		loop := controller.Loop[string]{
			Sources: []controller.Source[string]{
				controller.Watch(informer, func(cm *corev1.ConfigMap) []string { return []string{cm.Name} }),
				controller.Watch(informer, func(*corev1.Secret) []string { return []string{"not a config map"} }),
			},
			Sync: func(_ context.Context, key string) error {
				_, ok := controller.Cached[*corev1.ConfigMap](informer, "ns", key)
				seen.add("%s %v", key, ok)
				return nil
			},
			Log: controllertest.Log(t),
		}
		controllertest.Start(t, []cache.SharedIndexInformer{informer}, loop.Run)
		expect(t, "at the start", seen.take(), "before true")

		create(t, store, "after")
		synctest.Wait()
		expect(t, "after a create", seen.take(), "after true")

		if err := store.Delete(t.Context(), "ns", "before", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, "after a delete", seen.take(), "before false")

		store.Miss(func() {
			if err := store.Delete(t.Context(), "ns", "after", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			expect(t, "while watches are cut", seen.take())
		})
		time.Sleep(time.Minute)
		expect(t, "after a delete that was missed", seen.take(), "after false")
	})
}

func TestLoopRetries(t *testing.T) {
	tests := []struct {
		name string
		// fail is what Sync does the first two times.
		fail func() error
		// after is when the third call has been made, and no sooner.
		after time.Duration
	}{
		{name: "error", fail: func() error { return errors.New("refused") }, after: 15 * time.Millisecond},
		{name: "panic", fail: func() error { panic("broken") }, after: 15 * time.Millisecond},
		{name: "again with backoff", fail: func() error { return &controller.Again{} }, after: 15 * time.Millisecond},
		{
			name:  "again after a time",
			fail:  func() error { return fmt.Errorf("waiting: %w", &controller.Again{After: time.Minute}) },
			after: 2 * time.Minute,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var times []time.Duration
				began := time.Now()
				loop := controller.Loop[string]{
					Sources: []controller.Source[string]{once("key")},
					Sync: func(context.Context, string) error {
						times = append(times, time.Since(began))
						if len(times) <= 2 {
							return tt.fail()
						}
						return nil
					},
					Log: controllertest.Log(t),
				}
				controllertest.Start(t, nil, loop.Run)
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(times) != 3 || times[2] != tt.after {
					t.Errorf("calls at %v, want 3 with the last at %v", times, tt.after)
				}
			})
		})
	}
}

func TestLoopRetriesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		loop := controller.Loop[string]{
			Sources: []controller.Source[string]{once("key")},
			Sync:    func(context.Context, string) error { n++; return errors.New("refused") },
			Log:     controllertest.Log(t),
		}
		controllertest.Start(t, nil, loop.Run)
		time.Sleep(time.Hour)
		synctest.Wait()
		// 15 s is the longest pause.
		if n < 240 || n > 260 {
			t.Errorf("%d calls in an hour, want one in 15 s", n)
		}
	})
}

// TestLoopStops says that Run waits for the sync under way, and starts no other.
func TestLoopStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var seen calls
		loop := controller.Loop[string]{
			Sources: []controller.Source[string]{once("a"), once("b")},
			Workers: 1,
			Sync: func(ctx context.Context, key string) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				seen.add("%s done", key)
				return ctx.Err()
			},
			Log: controllertest.Log(t),
		}
		time.AfterFunc(time.Minute, cancel)
		if err := loop.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		expect(t, "after Run", seen.take(), "a done")
	})
}

func TestLoopRefusesStoppedInformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		informer := controllertest.NewStore[*corev1.ConfigMap]("configmaps").Informer()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		informer.RunWithContext(ctx)
		loop := controller.Loop[string]{
			Sources: []controller.Source[string]{
				controller.Watch(informer, func(cm *corev1.ConfigMap) []string { return []string{cm.Name} }),
			},
			Sync: func(context.Context, string) error { return nil },
			Log:  controllertest.Log(t),
		}
		if err := loop.Run(t.Context()); err == nil {
			t.Error("Run() with an informer that has stopped = nil, want an error")
		}
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, _, err := controller.Poll(0, func() []string { return nil })(t.Context(), nil); err == nil {
			t.Error("Poll(0) = nil, want an error")
		}
		var changed atomic.Bool
		var seen calls
		loop := controller.Loop[string]{
			Sources: []controller.Source[string]{controller.Poll(time.Second, func() []string {
				if !changed.CompareAndSwap(true, false) {
					return nil
				}
				return []string{"a", "b"}
			})},
			Sync:    func(_ context.Context, key string) error { seen.add("%s", key); return nil },
			Workers: 1,
			Log:     controllertest.Log(t),
		}
		controllertest.Start(t, nil, loop.Run)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		expect(t, "without change", seen.take())
		changed.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, "after a change", seen.take(), "a", "b")
	})
}

// once is a source that names one key, once.
func once(key string) controller.Source[string] {
	return func(_ context.Context, add func(string)) (<-chan struct{}, func(), error) {
		add(key)
		synced := make(chan struct{})
		close(synced)
		return synced, func() {}, nil
	}
}

func create(t *testing.T, store *controllertest.Store[*corev1.ConfigMap], name string) {
	t.Helper()
	_, err := store.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}})
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}
