package tokencleaner_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/tokencleaner"
)

const tokenType = "bootstrap.kubernetes.io/token"

type world struct {
	t     *testing.T
	store *controllertest.Store[*corev1.Secret]
}

// start runs n controllers over the store, each with an informer of its own.
func (w *world) start(n int) {
	w.t.Helper()
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &tokencleaner.Controller{Secrets: w.store.Informer(), Store: w.store, Log: controllertest.Log(w.t)}
		informers = append(informers, c.Secrets)
		runs = append(runs, c.Run)
	}
	controllertest.Start(w.t, informers, runs...)
}

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

func (w *world) create(namespace, name, kind, expiration string) {
	w.t.Helper()
	_, err := w.store.Create(w.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretType(kind),
		Data:       map[string][]byte{"expiration": []byte(expiration)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) prolong(name, expiration string) {
	w.t.Helper()
	s, err := w.store.Get(w.t.Context(), "kube-system", name)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Data["expiration"] = []byte(expiration)
	if _, err := w.store.Update(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

// left fails the test unless exactly these Secrets are there.
func (w *world) left(when string, names ...string) {
	w.t.Helper()
	synctest.Wait()
	all, err := w.store.List(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, s.Name)
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		w.t.Errorf("%s: %q are left, want %q", when, got, names)
	}
}

func bubble(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		test(&world{t: t, store: controllertest.NewStore[*corev1.Secret]("secrets")})
	})
}

func TestDeletes(t *testing.T) {
	bubble(t, func(w *world) {
		w.create("kube-system", "a-expired-long-ago", tokenType, in(-time.Hour))
		w.create("kube-system", "b-unreadable", tokenType, "next week")
		w.create("kube-system", "c-in-a-minute", tokenType, in(time.Minute))
		w.create("kube-system", "d-in-a-day", tokenType, in(24*time.Hour))
		w.create("kube-system", "e-never", tokenType, "")
		w.create("kube-system", "f-another-type", "Opaque", in(-time.Hour))
		w.create("kube-public", "g-another-namespace", tokenType, in(-time.Hour))
		w.start(1)
		rest := []string{"e-never", "f-another-type", "g-another-namespace"}
		w.left("at the start", append([]string{"c-in-a-minute", "d-in-a-day"}, rest...)...)
		time.Sleep(time.Minute - time.Nanosecond)
		w.left("just before a minute", append([]string{"c-in-a-minute", "d-in-a-day"}, rest...)...)
		time.Sleep(time.Nanosecond)
		w.left("after a minute", append([]string{"d-in-a-day"}, rest...)...)
		w.create("kube-system", "d-in-an-hour", tokenType, in(time.Hour))
		time.Sleep(time.Hour)
		w.left("after an hour", append([]string{"d-in-a-day"}, rest...)...)
		time.Sleep(24 * time.Hour)
		w.left("after another day", rest...)
	})
}

func TestFollowsChanges(t *testing.T) {
	bubble(t, func(w *world) {
		w.create("kube-system", "prolonged", tokenType, in(time.Minute))
		w.create("kube-system", "shortened", tokenType, in(time.Hour))
		w.create("kube-system", "for-ever", tokenType, in(time.Minute))
		w.start(1)
		w.prolong("prolonged", in(time.Hour))
		w.prolong("shortened", in(30*time.Second))
		w.prolong("for-ever", "")
		w.left("at the start", "for-ever", "prolonged", "shortened")
		time.Sleep(2 * time.Minute)
		w.left("after two minutes", "for-ever", "prolonged")
		time.Sleep(time.Hour)
		w.left("after an hour", "for-ever")
	})
}

// Whoever prolongs a token while it is about to be deleted wins, and so does
// whoever makes another one of its name.
func TestNeverDeletesAnother(t *testing.T) {
	for _, verb := range []string{"get", "delete"} {
		for name, meanwhile := range map[string]func(w *world){
			"prolonged": func(w *world) { w.prolong("token", in(time.Hour)) },
			"made anew": func(w *world) {
				if err := w.store.Delete(w.t.Context(), "kube-system", "token", metav1.DeleteOptions{}); err != nil {
					w.t.Error(err)
				}
				w.create("kube-system", "token", tokenType, in(time.Hour))
			},
		} {
			t.Run(name+" at "+verb, func(t *testing.T) {
				bubble(t, func(w *world) {
					w.create("kube-system", "token", tokenType, in(time.Minute))
					var armed atomic.Bool
					armed.Store(true)
					w.store.Before = func(v, _, _ string) error {
						if v == verb && armed.CompareAndSwap(true, false) {
							meanwhile(w)
						}
						return nil
					}
					w.start(1)
					time.Sleep(2 * time.Minute)
					w.left("after a minute", "token")
					time.Sleep(time.Hour)
					w.left("after an hour")
				})
			})
		}
	}
}

func TestTriesAgain(t *testing.T) {
	bubble(t, func(w *world) {
		failures := 0
		w.create("kube-system", "token", tokenType, in(time.Minute))
		w.store.Before = func(verb, _, _ string) error {
			if verb == "delete" && failures < 5 {
				failures++
				return apierrors.NewInternalError(context.DeadlineExceeded)
			}
			return nil
		}
		w.start(1)
		time.Sleep(2 * time.Minute)
		w.left("after failures")
		if failures != 5 {
			t.Errorf("%d failures, want 5", failures)
		}
	})
}

// Whoever forgot a token is told, and not told what it is.
func TestWarnsOfWhatNeverExpires(t *testing.T) {
	bubble(t, func(w *world) {
		var log strings.Builder
		w.create("kube-system", "for-ever", tokenType, "")
		w.create("kube-system", "in-a-day", tokenType, in(24*time.Hour))
		w.create("kube-system", "another-type", "Opaque", "")
		c := &tokencleaner.Controller{Secrets: w.store.Informer(), Store: w.store, Log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { c.Secrets.RunWithContext(ctx) })
		running.Go(func() { _ = c.Run(ctx) })
		time.Sleep(time.Hour)
		cancel()
		running.Wait()
		if got := log.String(); strings.Count(got, "never expires") != 1 || !strings.Contains(got, "secret=for-ever") {
			t.Errorf("the log says %q", got)
		}
	})
}

// A Secret that a finalizer holds is deleted once, and not again and again.
func TestHeldSecretIsDeletedOnce(t *testing.T) {
	bubble(t, func(w *world) {
		w.store.Held = func(*corev1.Secret) bool { return true }
		w.create("kube-system", "token", tokenType, in(-time.Minute))
		w.start(1)
		time.Sleep(time.Hour)
		w.left("while it is held", "token")
		if n := w.store.Writes(); n != 2 {
			t.Errorf("%d writes, want that of the test and one", n)
		}
	})
}

func TestTwoProcesses(t *testing.T) {
	bubble(t, func(w *world) {
		for _, name := range []string{"a", "b", "c"} {
			w.create("kube-system", name, tokenType, in(time.Minute))
		}
		w.create("kube-system", "d", tokenType, in(time.Hour))
		w.start(2)
		time.Sleep(2 * time.Minute)
		w.left("after a minute", "d")
	})
}
