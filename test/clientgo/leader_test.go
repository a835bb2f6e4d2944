package clientgo_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"gatehouse.dev/gatehouse/test/env"
)

// testLeader lets two candidates of client-go elect a leader by a lease.
func testLeader(t *testing.T, w *world) {
	ns := w.namespace(t)
	client := w.client(t).CoordinationV1()
	var leading atomic.Int32
	run := func(ctx context.Context, name string) (started, stopped chan struct{}) {
		started, stopped = make(chan struct{}), make(chan struct{})
		elector := must[*leaderelection.LeaderElector](t)(leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: ns, Name: "lock"}, Client: client,
				LockConfig: resourcelock.ResourceLockConfig{Identity: name},
			},
			LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 100 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					if n := leading.Add(1); n != 1 {
						t.Errorf("%d lead at the same time", n)
					}
					close(started)
					<-ctx.Done()
					leading.Add(-1)
				},
				OnStoppedLeading: func() {},
			},
		}))
		go func() {
			elector.Run(ctx)
			close(stopped)
		}()
		return started, stopped
	}
	wait := func(what string, c chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(env.Patience):
			t.Fatal("still waiting for ", what)
		}
	}
	firstCtx, stopFirst := context.WithCancel(t.Context())
	first, firstGone := run(firstCtx, "first")
	wait("the first leader", first)
	secondCtx, stopSecond := context.WithCancel(t.Context())
	second, secondGone := run(secondCtx, "second")
	stopFirst()
	wait("the first to step down", firstGone)
	wait("the second leader", second)
	lease := must[*coordinationv1.Lease](t)(client.Leases(ns).Get(t.Context(), "lock", metav1.GetOptions{}))
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != "second" || lease.Spec.LeaseTransitions == nil || *lease.Spec.LeaseTransitions != 1 {
		t.Errorf("the lease says %+v", lease.Spec)
	}
	stopSecond()
	wait("the second to step down", secondGone)

	// A candidate that does not say which version it saw could take the lease
	// from a leader that has just renewed it.
	lease.ResourceVersion = ""
	_, err := client.Leases(ns).Update(t.Context(), lease, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "metadata.resourceVersion: Invalid value: 0: must be specified for an update"})
}
