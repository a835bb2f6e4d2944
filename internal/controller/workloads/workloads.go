// Package workloads deletes the Pods of processes that `gatehouse run` started
// and that nobody keeps any more, so that their tokens end.
//
// The idea is that of leader election: no two clocks are compared. The controller
// times itself how long it has seen a Lease unrenewed, so that a process whose
// clock is wrong lives as long as any other; and what it has not seen for
// [workload.Lifetime] itself it does not judge, so that a controller that begins
// anew gives everybody the whole time. For that every server of a store runs one,
// and none waits for a leader: the first that has seen enough deletes.
//
// It refuses to touch any other Pod: one without the label, and one that is on a
// node, whatever its labels say. It deletes only after a live look, and only what
// has not changed since.
package workloads

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/workload"
)

// A Controller deletes the Pods and Leases of processes that are gone. All fields
// are required.
type Controller struct {
	Pods       cache.SharedIndexInformer // of *corev1.Pod
	Leases     cache.SharedIndexInformer // of *coordinationv1.Lease
	PodStore   controller.Objects[*corev1.Pod]
	LeaseStore controller.Objects[*coordinationv1.Lease]
	Log        *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	w := &watch{Controller: c, seen: map[types.NamespacedName]sighting{}}
	loop := controller.Loop[types.NamespacedName]{
		Sources: []controller.Source[types.NamespacedName]{
			controller.Watch(c.Pods, func(p *corev1.Pod) []types.NamespacedName {
				if !workload.IsPod(p) {
					return nil
				}
				return []types.NamespacedName{{Namespace: p.Namespace, Name: p.Name}}
			}),
			controller.Watch(c.Leases, func(l *coordinationv1.Lease) []types.NamespacedName {
				if !workload.IsLease(l) {
					return nil
				}
				return []types.NamespacedName{{Namespace: l.Namespace, Name: l.Name}}
			}),
		},
		Sync: w.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// A watch is one run of a controller: what it has seen is of use as long as it
// sees everything.
type watch struct {
	*Controller
	mu   sync.Mutex
	seen map[types.NamespacedName]sighting
}

// A sighting is the state of a Lease, and since when it has been so by our clock.
type sighting struct {
	pod     types.UID
	renewed time.Time // by the clock of the process; only compared with itself
	since   time.Time
}

// sync deletes the Pod of a name if its time is over, and a Lease without a Pod.
func (w *watch) sync(ctx context.Context, key types.NamespacedName) error {
	pod, ok := controller.Cached[*corev1.Pod](w.Pods, key.Namespace, key.Name)
	if !ok || !workload.IsPod(pod) {
		w.forget(key)
		return w.sweep(ctx, key)
	}
	lease, _ := controller.Cached[*coordinationv1.Lease](w.Leases, key.Namespace, key.Name)
	if left := w.left(key, pod, lease); left > 0 {
		return &controller.Again{After: left, Reason: "the process may still renew its lease"}
	}
	return w.end(ctx, key)
}

// end looks at the live objects, and deletes the Pod if its time is over.
func (w *watch) end(ctx context.Context, key types.NamespacedName) error {
	pod, err := w.PodStore.Get(ctx, key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the Pod of a process that is not heard of: %w", err)
	}
	if !workload.IsPod(pod) {
		return nil
	}
	lease, err := w.LeaseStore.Get(ctx, key.Namespace, key.Name)
	if err := controller.Ignore(err, apierrors.IsNotFound); err != nil {
		return fmt.Errorf("looking at the lease of a process that is not heard of: %w", err)
	}
	if err != nil {
		lease = nil
	}
	if left := w.left(key, pod, lease); left > 0 {
		return &controller.Again{After: left, Reason: "the process has renewed its lease"}
	}
	now := int64(0)
	opts := controller.Exactly(pod)
	opts.GracePeriodSeconds = &now
	err = w.PodStore.Delete(ctx, key.Namespace, key.Name, opts)
	// If it changed since, that is an event, and it will be judged as it is then.
	if err := controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
		return fmt.Errorf("deleting the Pod of a process that is not heard of: %w", err)
	}
	if err == nil {
		w.Log.InfoContext(ctx, "deleted the Pod of a process that is not heard of: its tokens have ended",
			"pod", key, "host", pod.Annotations[workload.HostAnnotation], "pid", pod.Annotations[workload.ProcessAnnotation])
	}
	return nil
}

// left returns how long the Pod may still be kept by its Lease, which may be nil.
func (w *watch) left(key types.NamespacedName, pod *corev1.Pod, lease *coordinationv1.Lease) time.Duration {
	is := sighting{pod: pod.UID, since: time.Now()}
	if lease != nil && workload.Keeps(lease, pod) && lease.Spec.RenewTime != nil {
		is.renewed = lease.Spec.RenewTime.Time
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	was, ok := w.seen[key]
	if !ok || was.pod != is.pod || !was.renewed.Equal(is.renewed) {
		w.seen[key] = is
		return workload.Lifetime
	}
	return time.Until(was.since.Add(workload.Lifetime))
}

func (w *watch) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, key)
}

// sweep deletes a Lease whose Pod is gone.
func (w *watch) sweep(ctx context.Context, key types.NamespacedName) error {
	lease, ok := controller.Cached[*coordinationv1.Lease](w.Leases, key.Namespace, key.Name)
	if !ok || !workload.IsLease(lease) {
		return nil
	}
	// The Lease may have been seen before its Pod.
	pod, err := w.PodStore.Get(ctx, key.Namespace, key.Name)
	if err := controller.Ignore(err, apierrors.IsNotFound); err != nil {
		return fmt.Errorf("looking for the Pod of a lease: %w", err)
	}
	if err == nil && workload.Keeps(lease, pod) {
		return nil
	}
	// A heartbeat that is still on its way does not keep it.
	err = w.LeaseStore.Delete(ctx, key.Namespace, key.Name, controller.ThisOne(lease))
	if err := controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
		return fmt.Errorf("deleting a lease without a Pod: %w", err)
	}
	return nil
}
