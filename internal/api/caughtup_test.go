package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"

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
	if err := a.CaughtUp(t.Context(), revision()+1000); err == nil || !strings.Contains(err.Error(), "pods") {
		t.Errorf("a revision that is not there: %v", err)
	}
	stop()
	<-done
	if err := a.CaughtUp(t.Context(), revision()); err == nil {
		t.Error("after its end it is said to follow")
	}
}
