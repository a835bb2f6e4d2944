package namespaces_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/namespaces"
)

// A world has a namespace ns with all that the controllers of a test delete.
type world struct {
	t          *testing.T
	namespaces *controllertest.Store[*corev1.Namespace]
	pods       *controllertest.Store[*corev1.Pod]
	secrets    *controllertest.Store[*corev1.Secret]
	roles      *controllertest.Store[*rbacv1.Role]
	grace      time.Duration

	mu      sync.Mutex
	deleted []string // resources, in the order in which deletes arrived
}

func newWorld(t *testing.T) *world {
	w := &world{
		t:          t,
		namespaces: controllertest.NewStore[*corev1.Namespace]("namespaces"),
		pods:       controllertest.NewStore[*corev1.Pod]("pods"),
		secrets:    controllertest.NewStore[*corev1.Secret]("secrets"),
		roles:      controllertest.NewStore[*rbacv1.Role]("roles"),
	}
	w.namespaces.Held = func(ns *corev1.Namespace) bool { return len(ns.Spec.Finalizers) > 0 }
	w.pods.Before, w.secrets.Before, w.roles.Before = w.note("pods"), w.note("secrets"), w.note("roles")
	for _, name := range []string{"ns", "other"} {
		_, err := w.namespaces.Create(t.Context(), &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
			Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) note(resource string) func(verb, namespace, name string) error {
	return func(verb, _, _ string) error {
		if verb == "delete" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.deleted = append(w.deleted, resource)
		}
		return nil
	}
}

// start runs n controllers, each with an informer of its own.
func (w *world) start(n int) {
	w.t.Helper()
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &namespaces.Controller{
			Namespaces: w.namespaces.Informer(),
			Get: func(ctx context.Context, name string) (*corev1.Namespace, error) {
				return w.namespaces.Get(ctx, "", name)
			},
			UpdateStatus: w.updateStatus,
			Finalize:     w.finalize,
			Contents: []namespaces.Contents{
				namespaces.Of(corev1.SchemeGroupVersion.WithResource("secrets"), w.secrets),
				namespaces.Of(rbacv1.SchemeGroupVersion.WithResource("roles"), w.roles),
				namespaces.Of(corev1.SchemeGroupVersion.WithResource("pods"), w.pods),
			},
			Grace: w.grace,
			Log:   controllertest.Log(w.t),
		}
		informers = append(informers, c.Namespaces)
		runs = append(runs, c.Run)
	}
	controllertest.Start(w.t, informers, runs...)
}

func (w *world) updateStatus(ctx context.Context, ns *corev1.Namespace) (*corev1.Namespace, error) {
	live, err := w.namespaces.Get(ctx, "", ns.Name)
	if err != nil {
		return nil, err
	}
	live.ResourceVersion, live.Status = ns.ResourceVersion, ns.Status
	return w.namespaces.Update(ctx, live)
}

func (w *world) finalize(ctx context.Context, ns *corev1.Namespace) error {
	live, err := w.namespaces.Get(ctx, "", ns.Name)
	if err != nil {
		return err
	}
	live.ResourceVersion, live.Spec.Finalizers = ns.ResourceVersion, ns.Spec.Finalizers
	_, err = w.namespaces.Update(ctx, live)
	return err
}

// fill makes a pod, a secret and a role in a namespace, with finalizers or not.
func (w *world) fill(namespace string, podFinalizers, secretFinalizers []string) {
	w.t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "it"}
	pod, secret, role := &corev1.Pod{ObjectMeta: meta}, &corev1.Secret{ObjectMeta: meta}, &rbacv1.Role{ObjectMeta: meta}
	pod.Finalizers, secret.Finalizers = podFinalizers, secretFinalizers
	_, err1 := w.pods.Create(w.t.Context(), pod)
	_, err2 := w.secrets.Create(w.t.Context(), secret)
	_, err3 := w.roles.Create(w.t.Context(), role)
	if err := errors.Join(err1, err2, err3); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(name string) {
	w.t.Helper()
	if err := w.namespaces.Delete(w.t.Context(), "", name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// gone fails the test unless a namespace is there or not, as wanted.
func (w *world) gone(name string, want bool) {
	w.t.Helper()
	synctest.Wait()
	_, err := w.namespaces.Get(w.t.Context(), "", name)
	if got := apierrors.IsNotFound(err); got != want {
		w.t.Errorf("namespace %s is gone: %v (%v), want %v", name, got, err, want)
	}
}

// order returns the resources in the order of their first delete.
func (w *world) order() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var order []string
	for _, resource := range w.deleted {
		if !slices.Contains(order, resource) {
			order = append(order, resource)
		}
	}
	return order
}

func TestDeletion(t *testing.T) {
	for _, processes := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fill("ns", nil, nil)
			w.fill("other", nil, nil)
			w.start(processes)
			w.delete("ns")
			time.Sleep(time.Second)
			w.gone("ns", false)
			if want := []string{"pods", "secrets", "roles"}; !slices.Equal(w.order(), want) {
				t.Errorf("after a second, deleted %q, want %q", w.order(), want)
			}
			time.Sleep(time.Second + 100*time.Millisecond)
			w.gone("ns", true)
			w.gone("other", false)
			if n := len(w.deleted); n < 3 || n > 3*processes {
				t.Errorf("%d deletes, want one of each in namespace ns for each process at most", n)
			}
			if _, err := w.secrets.Get(t.Context(), "other", "it"); err != nil {
				t.Errorf("secret in the other namespace: %v, want it there", err)
			}
		})
	}
}

// TestLatecomer says that what is created in the first moments is deleted too.
func TestLatecomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(1)
		w.delete("ns")
		time.Sleep(1500 * time.Millisecond)
		w.fill("ns", nil, nil)
		time.Sleep(time.Second)
		w.gone("ns", true)
		if left, _ := w.secrets.List(t.Context(), "ns"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestNoGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grace = -1
		w.fill("ns", nil, nil)
		w.start(1)
		w.delete("ns")
		w.gone("ns", true)
	})
}

// TestDeletedBeforeStart says that it does not matter who saw the deletion.
func TestDeletedBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fill("ns", nil, nil)
		w.delete("ns")
		time.Sleep(time.Minute)
		w.start(1)
		w.gone("ns", true)
	})
}

func TestHeldByFinalizers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fill("ns", nil, []string{"example.com/b", "example.com/a"})
		w.start(1)
		w.delete("ns")
		time.Sleep(time.Hour)
		w.gone("ns", false)
		w.conditions(map[corev1.NamespaceConditionType]string{
			"NamespaceDeletionDiscoveryFailure":           "False ResourcesDiscovered: All resources successfully discovered",
			"NamespaceDeletionGroupVersionParsingFailure": "False ParsedGroupVersions: All legacy kube types successfully parsed",
			"NamespaceDeletionContentFailure":             "False ContentDeleted: All content successfully deleted, may be waiting on finalization",
			"NamespaceContentRemaining":                   "True SomeResourcesRemain: Some resources are remaining: secrets. has 1 resource instances",
			"NamespaceFinalizersRemaining":                "True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/a in 1 resource instances, example.com/b in 1 resource instances",
		})
		if n := w.namespaces.Writes(); n != 5 {
			t.Errorf("%d writes of namespaces, want 5: 2 created, 1 deleted, its phase, its conditions", n)
		}

		secret, err := w.secrets.Get(t.Context(), "ns", "it")
		if err != nil {
			t.Fatal(err)
		}
		secret.Finalizers = nil
		if _, err := w.secrets.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		w.gone("ns", true)
	})
}

// TestPodsFirst says that nothing else is touched while a pod is there.
func TestPodsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fill("ns", []string{"example.com/slow"}, nil)
		w.start(1)
		w.delete("ns")
		time.Sleep(time.Minute)
		if want := []string{"pods"}; !slices.Equal(w.order(), want) {
			t.Errorf("deleted %q, want %q", w.order(), want)
		}
		w.condition("NamespaceContentRemaining", "True SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances")
		pod, err := w.pods.Get(t.Context(), "ns", "it")
		if err != nil {
			t.Fatal(err)
		}
		pod.Finalizers = nil
		if _, err := w.pods.Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		w.gone("ns", true)
	})
}

func TestContentFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fill("ns", nil, nil)
		var mended bool
		var mu sync.Mutex
		w.secrets.Before = func(verb, _, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if verb == "delete" && !mended {
				return errors.New("no space left on device")
			}
			return nil
		}
		w.start(1)
		w.delete("ns")
		time.Sleep(time.Minute)
		w.gone("ns", false)
		w.condition("NamespaceDeletionContentFailure", "True ContentDeletionFailed: Failed to delete all resource types, 1 remaining: no space left on device")
		if _, err := w.roles.Get(t.Context(), "ns", "it"); !apierrors.IsNotFound(err) {
			t.Errorf("role: %v, want it deleted although secrets failed", err)
		}
		mu.Lock()
		mended = true
		mu.Unlock()
		time.Sleep(15 * time.Second)
		w.gone("ns", true)
	})
}

// TestOtherFinalizerStays says that only our own finalizer is removed.
func TestOtherFinalizerStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ns, err := w.namespaces.Get(t.Context(), "", "ns")
		if err != nil {
			t.Fatal(err)
		}
		ns.Spec.Finalizers = append(ns.Spec.Finalizers, "example.com/bill")
		if _, err := w.namespaces.Update(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
		w.start(2)
		w.delete("ns")
		time.Sleep(time.Hour)
		ns, err = w.namespaces.Get(t.Context(), "", "ns")
		if err != nil {
			t.Fatal(err)
		}
		if want := []corev1.FinalizerName{"example.com/bill"}; !slices.Equal(ns.Spec.Finalizers, want) {
			t.Errorf("finalizers are %q, want %q", ns.Spec.Finalizers, want)
		}
	})
}

// condition fails the test unless a condition of the namespace ns reads so.
func (w *world) condition(kind corev1.NamespaceConditionType, want string) {
	w.t.Helper()
	ns, err := w.namespaces.Get(w.t.Context(), "", "ns")
	if err != nil {
		w.t.Fatal(err)
	}
	if ns.Status.Phase != corev1.NamespaceTerminating {
		w.t.Errorf("phase is %s, want Terminating", ns.Status.Phase)
	}
	got := "none"
	for _, c := range ns.Status.Conditions {
		if c.Type == kind {
			got = string(c.Status) + " " + c.Reason + ": " + c.Message
		}
	}
	if got != want {
		w.t.Errorf("condition %s is\n\t%s\nwant\n\t%s", kind, got, want)
	}
}

func (w *world) conditions(want map[corev1.NamespaceConditionType]string) {
	w.t.Helper()
	for kind, text := range want {
		w.condition(kind, text)
	}
}
