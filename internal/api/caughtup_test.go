package api_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/api"
)

// An informer has caught up with a revision that nothing of its own was written
// at, and not with one that is not there yet, nor before it runs, nor after it.
func TestCaughtUp(t *testing.T) {
	var store *clientv3.Client
	a, _ := start(t, func(c *api.Config) { store = c.Client })
	pods, err := api.ObjectsOf[*corev1.Pod](a, "", "pods")
	if err != nil {
		t.Fatal(err)
	}
	revision := func() int64 {
		put, err := store.Put(t.Context(), "/gatehouse/test", "x")
		if err != nil {
			t.Fatal(err)
		}
		return put.Header.Revision
	}
	if err := a.CaughtUp(t.Context(), revision()); err != nil {
		t.Errorf("without informers: %v", err)
	}
	informer := pods.Informer()
	if err := a.CaughtUp(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "pods are not followed") {
		t.Errorf("before it runs: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { informer.RunWithContext(ctx); close(done) }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := a.CaughtUp(t.Context(), revision())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for range 10 {
		if err := a.CaughtUp(t.Context(), revision()); err != nil {
			t.Error(err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := a.CaughtUp(short, revision()+1000); err == nil || !strings.Contains(err.Error(), "pods") {
		t.Errorf("a revision that is not there: %v", err)
	}
	// It takes longer to come than the cache waits for.
	later := revision() + 20
	var work sync.WaitGroup
	work.Go(func() {
		time.Sleep(4 * time.Second)
		for range 20 {
			if _, err := store.Put(t.Context(), "/gatehouse/test", "x"); err != nil {
				t.Error(err)
			}
		}
	})
	if err := a.CaughtUp(t.Context(), later); err != nil {
		t.Errorf("a revision that comes late: %v", err)
	}
	work.Wait()
	stop()
	<-done
	if err := a.CaughtUp(t.Context(), revision()); err == nil {
		t.Error("after its end it is said to follow")
	}
}

// An informer has caught up when all whom it tells have handled what there was,
// however slow they are, and nobody is told of more than that.
func TestCaughtUpWithHandlers(t *testing.T) {
	a, _ := start(t, nil)
	maps, err := api.ObjectsOf[*corev1.ConfigMap](a, "", "configmaps")
	if err != nil {
		t.Fatal(err)
	}
	informer := maps.Informer()
	var handled atomic.Int64
	goOn := make(chan struct{})
	handle := func(obj any) {
		<-goOn
		if m, ok := obj.(*corev1.ConfigMap); !ok || m.Namespace != "default" {
			t.Errorf("a handler is told of %v", obj)
		}
		handled.Add(1)
	}
	slow, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: handle, UpdateFunc: func(_, obj any) { handle(obj) }, DeleteFunc: handle,
	})
	if err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(t.Context())
	var revision int64
	change := func(name string) {
		t.Helper()
		made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		if revision, err = strconv.ParseInt(made.ResourceVersion, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	within := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return a.CaughtUp(ctx, revision)
	}
	for range 10 {
		change("one")
		if err := maps.Delete(t.Context(), "default", "one", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	change("two")
	for end := time.Now().Add(20 * time.Second); ; {
		err := within(100 * time.Millisecond)
		if err == nil || time.Now().After(end) {
			t.Fatalf("it does not wait for its handlers: %v", err)
		}
		if strings.Contains(err.Error(), "are handled") {
			break
		}
	}
	close(goOn)
	if err := within(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	// Of what comes and goes while the informer begins it need not be told.
	before := handled.Load()
	if before == 0 || len(informer.GetStore().List()) != 1 {
		t.Errorf("%d changes were handled, and there are %v", before, informer.GetStore().List())
	}
	for n := range 100 {
		change("more-" + strconv.Itoa(n))
		if err := within(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		if got := handled.Load() - before; got != int64(n+1) {
			t.Fatalf("%d of %d changes were handled", got, n+1)
		}
	}
	if err := informer.RemoveEventHandler(slow); err != nil {
		t.Fatal(err)
	}
	change("unheard")
	if err := within(20 * time.Second); err != nil {
		t.Errorf("with a handler that is gone: %v", err)
	}
}
