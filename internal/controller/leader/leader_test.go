package leader_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/leader"
)

// A process takes part in an election and can be stopped or cut off.
type process struct {
	leases *controllertest.Store[*coordinationv1.Lease]
	cut    atomic.Bool // from the store
	leads  atomic.Bool
	stop   func() // cleanly, and waits for it
}

var errCut = errors.New("connection refused")

// Get and the following are those of the store, as long as it is reached.
func (p *process) Get(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error) {
	if p.cut.Load() {
		return nil, errCut
	}
	return p.leases.Get(ctx, namespace, name)
}

func (p *process) Create(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if p.cut.Load() {
		return nil, errCut
	}
	return p.leases.Create(ctx, lease)
}

func (p *process) Update(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if p.cut.Load() {
		return nil, errCut
	}
	return p.leases.Update(ctx, lease)
}

func (p *process) List(context.Context, string) ([]*coordinationv1.Lease, error) {
	return nil, errors.New("an election does not list")
}

func (p *process) Delete(context.Context, string, string, metav1.DeleteOptions) error {
	return errors.New("an election does not delete")
}

// start starts a process, which is stopped at the end of the test.
func start(t *testing.T, leases *controllertest.Store[*coordinationv1.Lease], identity string) *process {
	t.Helper()
	p := &process{leases: leases}
	election, err := leader.New(p, identity, controllertest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := election.Run(ctx, func(ctx context.Context) error {
			if !p.leads.CompareAndSwap(false, true) {
				t.Errorf("%s leads twice", identity)
			}
			defer p.leads.Store(false)
			<-ctx.Done()
			return nil
		})
		if err != nil {
			t.Errorf("Run() of %s = %v, want nil", identity, err)
		}
	})
	p.stop = func() { cancel(); running.Wait() }
	t.Cleanup(p.stop)
	synctest.Wait()
	return p
}

// leads fails the test unless p leads within at most, and not before at least.
func leadsAfter(t *testing.T, p *process, least, most time.Duration) {
	t.Helper()
	began := time.Now()
	for !p.leads.Load() && time.Since(began) <= most {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	if after := time.Since(began); !p.leads.Load() || after < least {
		t.Errorf("leads: %v after %v, want within %v and %v", p.leads.Load(), after, least, most)
	}
}

func TestFirstLeadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
		a := start(t, leases, "a")
		b := start(t, leases, "b")
		for range 60 {
			if !a.leads.Load() || b.leads.Load() {
				t.Fatalf("a leads: %v, b leads: %v; want only a", a.leads.Load(), b.leads.Load())
			}
			time.Sleep(time.Second)
		}
		lease, err := leases.Get(t.Context(), "kube-system", "gatehouse-controllers")
		if err != nil {
			t.Fatal(err)
		}
		if *lease.Spec.HolderIdentity != "a" || *lease.Spec.LeaseDurationSeconds != 15 || *lease.Spec.LeaseTransitions != 0 {
			t.Errorf("lease is %+v, want a, 15 s, no transition", lease.Spec)
		}
		if lease.Spec.RenewTime.Sub(lease.Spec.AcquireTime.Time) < 50*time.Second {
			t.Errorf("acquired %v, renewed %v; want renewals to keep the former", lease.Spec.AcquireTime, lease.Spec.RenewTime)
		}
	})
}

func TestTakeover(t *testing.T) {
	tests := []struct {
		name        string
		fail        func(a *process)
		least, most time.Duration
	}{
		{"stopped cleanly", func(a *process) { a.stop() }, 0, 2400 * time.Millisecond},
		// a has renewed up to 2 s ago; b looks every 2.0 to 2.4 s, so it may have
		// seen that 2.4 s late, and take the lease 2.4 s after it may.
		{"killed", func(a *process) { a.cut.Store(true) }, 13 * time.Second, 19800 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
				a := start(t, leases, "a")
				b := start(t, leases, "b")
				time.Sleep(time.Minute)
				tt.fail(a)
				leadsAfter(t, b, tt.least, tt.most)
				lease, err := leases.Get(t.Context(), "kube-system", "gatehouse-controllers")
				if err != nil || *lease.Spec.HolderIdentity != "b" || *lease.Spec.LeaseTransitions != 1 {
					t.Errorf("lease is %+v, %v; want b, one transition", lease.Spec, err)
				}
			})
		})
	}
}

// TestCutOffHolderStopsInTime says that a holder that cannot renew ends its work
// before any other begins.
func TestCutOffHolderStopsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
		a := start(t, leases, "a")
		b := start(t, leases, "b")
		time.Sleep(time.Minute)
		a.cut.Store(true)
		stopped := false
		for range 30 * 100 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if a.leads.Load() && b.leads.Load() {
				t.Fatal("both lead")
			}
			stopped = stopped || !a.leads.Load() && !b.leads.Load()
		}
		if !stopped || !b.leads.Load() {
			t.Errorf("a stopped first: %v, b leads: %v; want both", stopped, b.leads.Load())
		}
		a.cut.Store(false)
		time.Sleep(time.Minute)
		if a.leads.Load() {
			t.Error("a took the lease back")
		}
		b.stop()
		leadsAfter(t, a, 0, 2400*time.Millisecond)
	})
}

// TestHangingStore says that a store that never answers does not keep a holder
// at work.
func TestHangingStore(t *testing.T) {
	for _, term := range []time.Duration{time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
			var hangs atomic.Bool
			answer := make(chan struct{})
			leases.Before = func(string, string, string) error {
				if hangs.Load() {
					<-answer
				}
				return nil
			}
			a := start(t, leases, "a")
			time.Sleep(term)
			hangs.Store(true)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if a.leads.Load() {
				t.Errorf("after %v: leads although it could not renew for 10 s", term)
			}
			close(answer)
			leadsAfter(t, a, 0, 3*time.Second)
		})
	}
}

// TestSameIdentity says that a process that comes back as itself need not wait.
func TestSameIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
		killed := start(t, leases, "a")
		killed.cut.Store(true)
		again := start(t, leases, "a")
		leadsAfter(t, again, 0, 0)
	})
}

// TestMeddling says what happens when somebody writes to the Lease.
func TestMeddling(t *testing.T) {
	tests := []struct {
		name   string
		meddle func(*coordinationv1.LeaseSpec)
		holder string // after a minute
		leads  []bool // a and b, at once after a's next renewal
	}{
		{"another holder", func(s *coordinationv1.LeaseSpec) { *s.HolderIdentity = "mallory" }, "", []bool{false, false}},
		{"no holder", func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = nil }, "", nil},
		{"no duration", func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = nil }, "a", []bool{true, false}},
		{"nothing at all", func(s *coordinationv1.LeaseSpec) { *s = coordinationv1.LeaseSpec{} }, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
				a := start(t, leases, "a")
				b := start(t, leases, "b")
				lease, err := leases.Get(t.Context(), leader.Namespace, leader.Name)
				if err != nil {
					t.Fatal(err)
				}
				tt.meddle(&lease.Spec)
				if _, err := leases.Update(t.Context(), lease); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := []bool{a.leads.Load(), b.leads.Load()}; tt.leads != nil && !slices.Equal(got, tt.leads) {
					t.Errorf("a, b lead: %v, want %v", got, tt.leads)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if a.leads.Load() == b.leads.Load() {
					t.Errorf("a leads: %v, b leads: %v; want one of them", a.leads.Load(), b.leads.Load())
				}
				if tt.holder == "a" && !a.leads.Load() {
					t.Error("a lost the lease")
				}
			})
		})
	}
}

func TestLeadEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := controllertest.NewStore[*coordinationv1.Lease]("leases")
		election, err := leader.New(leases, "a", controllertest.Log(t))
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		if err := election.Run(t.Context(), func(context.Context) error { return broken }); err != broken {
			t.Errorf("Run() = %v, want %v", err, broken)
		}
		lease, err := leases.Get(t.Context(), leader.Namespace, leader.Name)
		if err != nil || *lease.Spec.HolderIdentity != "" || *lease.Spec.LeaseDurationSeconds != 1 {
			t.Errorf("lease is %+v, %v; want it released", lease.Spec, err)
		}
	})
}

func TestNoIdentity(t *testing.T) {
	if _, err := leader.New(controllertest.NewStore[*coordinationv1.Lease]("leases"), "", controllertest.Log(t)); err == nil {
		t.Error("New without identity = nil, want an error")
	}
}
