package rootca_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/rootca"
)

type world struct {
	namespaces *controllertest.Store[*corev1.Namespace]
	maps       *controllertest.Store[*corev1.ConfigMap]
	ca         atomic.Value // string
}

// start runs n controllers over the active namespace ns and the terminating
// namespace old, each with informers of its own.
func start(t *testing.T, n int, ca string) *world {
	t.Helper()
	w := &world{
		namespaces: controllertest.NewStore[*corev1.Namespace]("namespaces"),
		maps:       controllertest.NewStore[*corev1.ConfigMap]("configmaps"),
	}
	w.ca.Store(ca)
	w.namespace(t, "ns", corev1.NamespaceActive)
	w.namespace(t, "old", corev1.NamespaceTerminating)
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &rootca.Controller{
			Namespaces: w.namespaces.Informer(),
			ConfigMaps: w.maps.Informer(),
			Store:      w.maps,
			CA:         func() []byte { return []byte(w.ca.Load().(string)) },
			Log:        controllertest.Log(t),
		}
		informers = append(informers, c.Namespaces, c.ConfigMaps)
		runs = append(runs, c.Run)
	}
	controllertest.Start(t, informers, runs...)
	return w
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
}

func (w *world) get(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	cm, err := w.maps.Get(t.Context(), "ns", "kube-root-ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	return cm
}

// expect fails the test unless the ConfigMap is as it should be.
func (w *world) expect(t *testing.T, ca string) {
	t.Helper()
	cm := w.get(t)
	if len(cm.Data) != 1 || cm.Data["ca.crt"] != ca || len(cm.BinaryData) != 0 {
		t.Errorf("data is %v, %v; want only ca.crt: %q", cm.Data, cm.BinaryData, ca)
	}
	if !strings.HasPrefix(cm.Annotations["kubernetes.io/description"], "Contains a CA bundle that can be used to verify the kube-apiserver") {
		t.Errorf("annotations are %v, want a description", cm.Annotations)
	}
}

func TestPublished(t *testing.T) {
	for _, processes := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, processes, "one")
			w.expect(t, "one")
			if n := w.maps.Writes(); n != 1 {
				t.Errorf("%d writes, want 1: none in a terminating namespace", n)
			}
			if err := w.maps.Delete(t.Context(), "ns", rootca.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.expect(t, "one")
		})
	}
}

func TestRestored(t *testing.T) {
	yes := true
	tests := []struct {
		name   string
		change func(*corev1.ConfigMap)
	}{
		{"other CA", func(cm *corev1.ConfigMap) { cm.Data["ca.crt"] = "evil" }},
		{"further key", func(cm *corev1.ConfigMap) { cm.Data["more"] = "evil" }},
		{"binary key", func(cm *corev1.ConfigMap) { cm.BinaryData = map[string][]byte{"more": {1}} }},
		{"no data", func(cm *corev1.ConfigMap) { cm.Data = nil }},
		{"no description", func(cm *corev1.ConfigMap) { cm.Annotations = nil }},
		{"immutable", func(cm *corev1.ConfigMap) { cm.Data["ca.crt"], cm.Immutable = "evil", &yes }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, 2, "one")
				cm := w.get(t)
				tt.change(cm)
				if _, err := w.maps.Update(t.Context(), cm); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
				w.expect(t, "one")
				if cm := w.get(t); cm.Immutable != nil {
					t.Error("still immutable")
				}
			})
		})
	}
}

// TestOwnDescriptionStays says that what does no harm is the user's.
func TestOwnDescriptionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, 1, "one")
		cm := w.get(t)
		cm.Annotations["kubernetes.io/description"] = "ours"
		cm.Labels = map[string]string{"team": "a"}
		if _, err := w.maps.Update(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if cm := w.get(t); cm.Annotations["kubernetes.io/description"] != "ours" || cm.Labels["team"] != "a" {
			t.Errorf("metadata is %v, %v; want it untouched", cm.Annotations, cm.Labels)
		}
	})
}

func TestReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, 1, "one")
		w.ca.Store("two")
		time.Sleep(time.Second + time.Millisecond)
		w.expect(t, "two")

		// A CA that is lost is not published.
		w.ca.Store("")
		time.Sleep(time.Minute)
		w.expect(t, "two")
	})
}

func TestEmptyCANotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, 1, "")
		time.Sleep(time.Minute)
		if n := w.maps.Writes(); n != 0 {
			t.Errorf("%d writes, want none", n)
		}
		w.ca.Store("one")
		time.Sleep(time.Second + time.Millisecond)
		w.expect(t, "one")
	})
}
