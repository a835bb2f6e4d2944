package workloads_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/workloads"
	"gatehouse.dev/gatehouse/internal/workload"
)

const ns, name = "ns", "job"

type fixture struct {
	pods   *controllertest.Store[*corev1.Pod]
	leases *controllertest.Store[*coordinationv1.Lease]
	// hook is asked before each call on Pods, once there is one.
	hook atomic.Pointer[func(verb string) error]
}

func newFixture() *fixture {
	f := &fixture{
		pods:   controllertest.NewStore[*corev1.Pod]("pods"),
		leases: controllertest.NewStore[*coordinationv1.Lease]("leases"),
	}
	f.pods.Before = func(verb, _, _ string) error {
		if hook := f.hook.Load(); hook != nil {
			return (*hook)(verb)
		}
		return nil
	}
	return f
}

// before sets the hook when all is quiet.
func (f *fixture) before(hook func(verb string) error) {
	synctest.Wait()
	f.hook.Store(&hook)
}

// start starts a controller that ends with the test.
func (f *fixture) start(t *testing.T) {
	f.until(t, make(chan struct{}))
}

// until starts a controller that ends when the channel is closed.
func (f *fixture) until(t *testing.T, ended <-chan struct{}) {
	pods, leases := f.pods.Informer(), f.leases.Informer()
	c := &workloads.Controller{Pods: pods, Leases: leases, PodStore: f.pods, LeaseStore: f.leases, Log: controllertest.Log(t)}
	controllertest.Start(t, []cache.SharedIndexInformer{pods, leases}, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			select {
			case <-ended:
			case <-ctx.Done():
			}
		}()
		return c.Run(ctx)
	})
}

// pod stores a Pod as `gatehouse run` does, changed by change.
func (f *fixture) pod(t *testing.T, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	pod := workload.Process{Namespace: ns, Name: name, ServiceAccount: "app"}.Pod()
	if change != nil {
		change(pod)
	}
	stored, err := f.pods.Create(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func (f *fixture) lease(t *testing.T, pod *corev1.Pod, change func(*coordinationv1.Lease)) {
	t.Helper()
	lease := workload.Lease(pod, time.Now())
	if change != nil {
		change(lease)
	}
	if _, err := f.leases.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
}

// renew writes a time into the Lease, as a heartbeat does.
func (f *fixture) renew(t *testing.T, at time.Time) {
	t.Helper()
	lease, err := f.leases.Get(t.Context(), ns, name)
	if err != nil {
		t.Fatal(err)
	}
	renewed := metav1.NewMicroTime(at)
	lease.Spec.RenewTime = &renewed
	if _, err := f.leases.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
}

// expect says whether the Pod and the Lease are there.
func (f *fixture) expect(t *testing.T, when string, pod, lease bool) {
	t.Helper()
	synctest.Wait()
	_, err := f.pods.Get(t.Context(), ns, name)
	if there := !apierrors.IsNotFound(err); there != pod {
		t.Errorf("%s: the Pod is there: %v, want %v", when, there, pod)
	}
	_, err = f.leases.Get(t.Context(), ns, name)
	if there := !apierrors.IsNotFound(err); there != lease {
		t.Errorf("%s: the Lease is there: %v, want %v", when, there, lease)
	}
}

// moment is more than it takes to try again after a failure.
const moment = time.Second

func TestEndsWhatIsNotRenewed(t *testing.T) {
	tests := []struct {
		name  string
		lease func(*testing.T, *fixture, *corev1.Pod)
	}{
		{"with a lease", func(t *testing.T, f *fixture, pod *corev1.Pod) { f.lease(t, pod, nil) }},
		{"without a lease", func(*testing.T, *fixture, *corev1.Pod) {}},
		{"with a lease of years", func(t *testing.T, f *fixture, pod *corev1.Pod) {
			f.lease(t, pod, func(l *coordinationv1.Lease) { *l.Spec.LeaseDurationSeconds = 1 << 30 })
		}},
		{"with a lease from the future", func(t *testing.T, f *fixture, pod *corev1.Pod) {
			f.lease(t, pod, func(l *coordinationv1.Lease) { l.Spec.RenewTime.Time = time.Now().Add(24 * time.Hour) })
		}},
		{"with a lease that nobody renewed", func(t *testing.T, f *fixture, pod *corev1.Pod) {
			f.lease(t, pod, func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				f.start(t)
				tt.lease(t, f, f.pod(t, nil))
				time.Sleep(workload.Lifetime - time.Millisecond)
				synctest.Wait()
				if _, err := f.pods.Get(t.Context(), ns, name); err != nil {
					t.Errorf("the Pod is gone before its time: %v", err)
				}
				time.Sleep(time.Millisecond)
				f.expect(t, "after 30 s", false, false)
			})
		})
	}
}

// A process lives whatever its clock says, as long as it renews.
func TestKeepsWhatIsRenewed(t *testing.T) {
	for clock, at := range map[string]func(beat int) time.Time{
		"right":     func(int) time.Time { return time.Now() },
		"fast":      func(int) time.Time { return time.Now().Add(time.Hour) },
		"slow":      func(int) time.Time { return time.Now().Add(-time.Hour) },
		"backwards": func(beat int) time.Time { return time.Unix(int64(1_000_000-beat), 0) },
	} {
		t.Run(clock, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				f.start(t)
				f.lease(t, f.pod(t, nil), nil)
				for beat := range 60 {
					time.Sleep(workload.Heartbeat)
					f.renew(t, at(beat))
				}
				f.expect(t, "while it is renewed", true, true)
				time.Sleep(workload.Lifetime - time.Millisecond)
				f.expect(t, "just before it ends", true, true)
				time.Sleep(time.Millisecond)
				f.expect(t, "30 s after the last heartbeat", false, false)
			})
		})
	}
}

// What changes in a Lease or a Pod besides is no heartbeat.
func TestOnlyRenewingKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.start(t)
		f.lease(t, f.pod(t, nil), nil)
		for i := range 29 {
			time.Sleep(time.Second)
			lease, err := f.leases.Get(t.Context(), ns, name)
			if err != nil {
				t.Fatal(err)
			}
			lease.Annotations = map[string]string{"a": string(rune('a' + i))}
			if _, err := f.leases.Update(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
			pod, err := f.pods.Get(t.Context(), ns, name)
			if err != nil {
				t.Fatal(err)
			}
			pod.Annotations = lease.Annotations
			if _, err := f.pods.Update(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		f.expect(t, "after 30 s", false, false)
	})
}

func TestRefusesOtherPods(t *testing.T) {
	tests := []struct {
		name   string
		change func(*corev1.Pod)
	}{
		{"without the label", func(p *corev1.Pod) { p.Labels = nil }},
		{"with another value", func(p *corev1.Pod) { p.Labels[workload.Label] = "walk" }},
		{"on a node", func(p *corev1.Pod) { p.Spec.NodeName = "n" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				f.start(t)
				f.lease(t, f.pod(t, tt.change), nil)
				time.Sleep(time.Hour)
				f.expect(t, "after an hour", true, true)
			})
		})
	}
}

func TestRefusesOtherLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.start(t)
		pod := f.pod(t, nil)
		f.lease(t, pod, func(l *coordinationv1.Lease) { l.Labels = nil })
		time.Sleep(workload.Lifetime)
		f.expect(t, "after the Pod ended", false, true)
	})
}

// The Lease of the Pod before does not keep that of the same name after it.
func TestLeaseOfAnotherPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		old := workload.Process{Namespace: ns, Name: name}.Pod()
		old.UID = "before"
		f.pod(t, nil)
		f.lease(t, old, nil)
		f.start(t)
		for range 2 {
			time.Sleep(workload.Heartbeat)
			f.renew(t, time.Now())
		}
		time.Sleep(workload.Heartbeat)
		f.expect(t, "after 30 s", false, false)
	})
}

func TestSweepsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		gone := workload.Process{Namespace: ns, Name: name}.Pod()
		gone.UID = "gone"
		f.lease(t, gone, nil)
		f.start(t)
		f.expect(t, "at the start", false, false)

		f.lease(t, f.pod(t, nil), nil)
		f.expect(t, "with a Pod", true, true)
		if err := f.pods.Delete(t.Context(), ns, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		f.expect(t, "after the Pod was deleted", false, false)
	})
}

// A controller that takes over knows nothing, and gives the whole time.
func TestTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.lease(t, f.pod(t, nil), nil)
		time.Sleep(time.Hour)
		f.start(t)
		time.Sleep(workload.Lifetime - time.Millisecond)
		f.expect(t, "before it has watched for 30 s", true, true)
		time.Sleep(time.Millisecond)
		f.expect(t, "when it has", false, false)
	})
}

// Of two servers one ends in the last moment: the other one has watched too.
func TestAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		first := make(chan struct{})
		f.until(t, first)
		f.start(t)
		f.lease(t, f.pod(t, nil), nil)
		time.Sleep(workload.Lifetime - time.Second)
		close(first)
		f.expect(t, "when the first server ends", true, true)
		time.Sleep(time.Second)
		f.expect(t, "30 s after the last heartbeat", false, false)
	})
}

// Two servers that judge at the same time delete one Pod, and are content.
func TestTwoServersJudgeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.start(t)
		f.start(t)
		f.lease(t, f.pod(t, nil), nil)
		var deletions atomic.Int32
		f.before(func(verb string) error {
			if verb == "delete" {
				deletions.Add(1)
			}
			return nil
		})
		time.Sleep(workload.Lifetime + moment)
		f.expect(t, "after 30 s", false, false)
		if n := deletions.Load(); n < 1 || n > 2 {
			t.Errorf("%d deletions, want at most one of each server", n)
		}
	})
}

// A heartbeat that the watch has not told of counts.
func TestLooksBeforeItDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.start(t)
		f.lease(t, f.pod(t, nil), nil)
		var late atomic.Bool
		f.before(func(verb string) error {
			if verb == "get" && late.CompareAndSwap(false, true) {
				f.renew(t, time.Now())
			}
			return nil
		})
		time.Sleep(2*workload.Lifetime - time.Millisecond)
		f.expect(t, "after a heartbeat in the last moment", true, true)
		time.Sleep(time.Millisecond)
		f.expect(t, "30 s later", false, false)
	})
}

// The store may fail for a while, and the Pod may change while it is deleted.
func TestTriesAgain(t *testing.T) {
	for _, verb := range []string{"get", "delete"} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				f.start(t)
				f.lease(t, f.pod(t, nil), nil)
				var failed atomic.Int32
				f.before(func(v string) error {
					if v == verb && failed.Add(1) <= 3 {
						return errors.New("the store is away")
					}
					return nil
				})
				time.Sleep(workload.Lifetime + moment)
				f.expect(t, "when the store is back", false, false)
				if failed.Load() <= 3 {
					t.Errorf("%d calls, want more than 3", failed.Load())
				}
			})
		})
	}
	t.Run("changed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture()
			f.start(t)
			f.lease(t, f.pod(t, nil), nil)
			var once atomic.Bool
			f.before(func(verb string) error {
				if verb == "delete" && once.CompareAndSwap(false, true) {
					pod, err := f.pods.Get(t.Context(), ns, name)
					if err != nil {
						return err
					}
					pod.Annotations = map[string]string{"changed": "now"}
					_, err = f.pods.Update(t.Context(), pod)
					return err
				}
				return nil
			})
			time.Sleep(workload.Lifetime + moment)
			f.expect(t, "after a second look", false, false)
		})
	})
}
