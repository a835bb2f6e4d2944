package serviceaccounts_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/serviceaccounts"
)

type world struct {
	namespaces *controllertest.Store[*corev1.Namespace]
	accounts   *controllertest.Store[*corev1.ServiceAccount]
}

func newWorld() *world {
	return &world{
		namespaces: controllertest.NewStore[*corev1.Namespace]("namespaces"),
		accounts:   controllertest.NewStore[*corev1.ServiceAccount]("serviceaccounts"),
	}
}

// start runs n controllers, each with informers of its own, as n processes have.
func (w *world) start(t *testing.T, n int) {
	t.Helper()
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &serviceaccounts.Controller{
			Namespaces: w.namespaces.Informer(),
			Accounts:   w.accounts.Informer(),
			Store:      w.accounts,
			Log:        controllertest.Log(t),
		}
		informers = append(informers, c.Namespaces, c.Accounts)
		runs = append(runs, c.Run)
	}
	controllertest.Start(t, informers, runs...)
}

func (w *world) namespace(t *testing.T, name string, phase corev1.NamespacePhase) {
	t.Helper()
	_, err := w.namespaces.Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NamespaceStatus{Phase: phase},
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) has(t *testing.T, namespace string, want bool) {
	t.Helper()
	_, err := w.accounts.Get(t.Context(), namespace, "default")
	if got := err == nil; got != want {
		t.Errorf("account in namespace %s: %v (%v), want %v", namespace, got, err, want)
	}
}

func TestAccount(t *testing.T) {
	for _, processes := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.namespace(t, "before", corev1.NamespaceActive)
			w.start(t, processes)
			w.namespace(t, "after", corev1.NamespaceActive)
			w.namespace(t, "terminating", corev1.NamespaceTerminating)
			w.has(t, "before", true)
			w.has(t, "after", true)
			w.has(t, "terminating", false)
			if n := w.accounts.Writes(); n != 2 {
				t.Errorf("%d writes, want 2", n)
			}

			if err := w.accounts.Delete(t.Context(), "before", "default", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.has(t, "before", true)
		})
	}
}

func TestNotMadeInTerminatingNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.namespace(t, "ns", corev1.NamespaceActive)
		w.start(t, 1)
		ns, err := w.namespaces.Get(t.Context(), "", "ns")
		if err != nil {
			t.Fatal(err)
		}
		ns.Status.Phase = corev1.NamespaceTerminating
		if _, err := w.namespaces.Update(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := w.accounts.Delete(t.Context(), "ns", "default", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.has(t, "ns", false)
	})
}

// TestRefusedCreate says which refusals of the API are tried again.
func TestRefusedCreate(t *testing.T) {
	terminating := apierrors.NewForbidden(corev1.Resource("serviceaccounts"), "default", errors.New("namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	tests := []struct {
		name  string
		err   error
		again bool
	}{
		{"namespace gone", apierrors.NewNotFound(corev1.Resource("namespaces"), "ns"), false},
		{"namespace terminating", terminating, false},
		{"forbidden otherwise", apierrors.NewForbidden(corev1.Resource("serviceaccounts"), "default", errors.New("quota")), true},
		{"store away", errors.New("connection refused"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.namespace(t, "ns", corev1.NamespaceActive)
				creates := 0
				w.accounts.Before = func(verb, _, _ string) error {
					if verb == "create" {
						if creates++; creates <= 3 {
							return tt.err
						}
					}
					return nil
				}
				w.start(t, 1)
				time.Sleep(time.Minute)
				w.has(t, "ns", tt.again)
			})
		})
	}
}
