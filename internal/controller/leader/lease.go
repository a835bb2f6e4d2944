package leader

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// try takes or renews the Lease at the time now. It is a *heldError if another
// process has it, and a conflict if one was faster.
func (e *Election) try(ctx context.Context, now time.Time) error {
	lease, err := e.leases.Get(ctx, Namespace, Name)
	if apierrors.IsNotFound(err) {
		lease, err = e.leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Name},
			Spec:       e.spec(now, now, 0),
		})
		if err != nil {
			return err
		}
		e.observe(lease, now)
		return nil
	}
	if err != nil {
		return err
	}
	if e.held == nil || !sameTerm(&e.held.Spec, &lease.Spec) {
		e.observe(lease, now)
	}

	acquired, transitions := now, ptr.Deref(lease.Spec.LeaseTransitions, 0)
	switch holder := ptr.Deref(lease.Spec.HolderIdentity, ""); {
	case holder == e.identity:
		if lease.Spec.AcquireTime != nil {
			acquired = lease.Spec.AcquireTime.Time
		}
	case holder != "" && now.Before(e.seen.Add(term(&lease.Spec))):
		return &heldError{holder}
	default:
		transitions++
	}
	// The resource version stays, so that of two only one succeeds.
	lease.Spec = e.spec(now, acquired, transitions)
	lease, err = e.leases.Update(ctx, lease)
	if err != nil {
		return err
	}
	e.observe(lease, now)
	return nil
}

// release gives the Lease up, if it is this process' own, in the form that
// client-go gives it: without holder, and over in a second. A failure is logged;
// then the others have to wait for it to expire.
func (e *Election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releasing)
	defer cancel()
	for {
		lease, err := e.leases.Get(ctx, Namespace, Name)
		if err == nil && ptr.Deref(lease.Spec.HolderIdentity, "") == e.identity {
			now := time.Now()
			transitions := ptr.Deref(lease.Spec.LeaseTransitions, 0)
			lease.Spec = e.spec(now, now, transitions)
			lease.Spec.HolderIdentity = ptr.To("")
			lease.Spec.LeaseDurationSeconds = ptr.To[int32](1)
			_, err = e.leases.Update(ctx, lease)
		}
		switch {
		case err == nil, apierrors.IsNotFound(err):
			return
		case !apierrors.IsConflict(err) || ctx.Err() != nil:
			e.log.WarnContext(ctx, "lease not released", "err", err)
			return
		}
	}
}

// spec returns what a Lease says that this process holds.
func (e *Election) spec(now, acquired time.Time, transitions int32) coordinationv1.LeaseSpec {
	return coordinationv1.LeaseSpec{
		HolderIdentity:       ptr.To(e.identity),
		LeaseDurationSeconds: ptr.To(int32(duration / time.Second)),
		AcquireTime:          ptr.To(metav1.NewMicroTime(acquired)),
		RenewTime:            ptr.To(metav1.NewMicroTime(now)),
		LeaseTransitions:     ptr.To(transitions),
	}
}

// observe notes the Lease as seen at the time now.
func (e *Election) observe(lease *coordinationv1.Lease, now time.Time) {
	e.held, e.seen = lease.DeepCopy(), now
}

// sameTerm reports whether two sights of the Lease show the same renewal by the
// same holder. Labels and the like do not count: they do not prolong it.
func sameTerm(a, b *coordinationv1.LeaseSpec) bool {
	return ptr.Deref(a.HolderIdentity, "") == ptr.Deref(b.HolderIdentity, "") &&
		ptr.Deref(a.LeaseDurationSeconds, 0) == ptr.Deref(b.LeaseDurationSeconds, 0) &&
		ptr.Deref(a.LeaseTransitions, 0) == ptr.Deref(b.LeaseTransitions, 0) &&
		a.RenewTime.Equal(b.RenewTime)
}

// term is how long the holder asked others to stay away. A Lease that does not
// say has ours: none at all would let any two take it in turns.
func term(spec *coordinationv1.LeaseSpec) time.Duration {
	if spec.LeaseDurationSeconds == nil || *spec.LeaseDurationSeconds <= 0 {
		return duration
	}
	return time.Duration(*spec.LeaseDurationSeconds) * time.Second
}
