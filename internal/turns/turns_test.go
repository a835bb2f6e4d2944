package turns_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/turns"
)

var (
	crowded = netip.MustParseAddr("192.0.2.1")
	quiet   = netip.MustParseAddr("192.0.2.2")
	other   = netip.MustParseAddr("192.0.2.3")
)

// take takes a turn that is free.
func take(t *testing.T, of *turns.Turns, peer netip.Addr) {
	t.Helper()
	if err := of.Take(peer, false, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// A queue is those who wait, in the order in which they get their turns.
type queue struct {
	of    *turns.Turns
	order []string
}

// wait has one more wait, and returns once it does.
func (q *queue) wait(name string, peer netip.Addr, begun bool) {
	go func() {
		if err := q.of.Take(peer, begun, nil, time.Time{}); err != nil {
			name = err.Error()
		}
		q.order = append(q.order, name)
	}()
	synctest.Wait()
}

func (q *queue) leave(n int) {
	for range n {
		q.of.Leave()
		synctest.Wait()
	}
}

func TestPeersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{of: turns.New(1)}
		take(t, q.of, crowded)
		for i := range 4 {
			q.wait(fmt.Sprint("crowded ", i), crowded, false)
		}
		q.wait("quiet", quiet, false)
		q.wait("other", other, false)
		if waiting := q.of.Waiting(); waiting != 6 {
			t.Errorf("%d are waiting, want 6", waiting)
		}
		q.leave(6)
		want := []string{"crowded 0", "quiet", "other", "crowded 1", "crowded 2", "crowded 3"}
		if !slices.Equal(q.order, want) {
			t.Errorf("turns went to %q, want %q", q.order, want)
		}
		if waiting := q.of.Waiting(); waiting != 0 {
			t.Errorf("%d are waiting, want none", waiting)
		}
	})
}

func TestWhatHasBegunGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{of: turns.New(1)}
		take(t, q.of, quiet)
		q.wait("fresh", crowded, false)
		q.wait("begun", crowded, true)
		q.leave(2)
		if want := []string{"begun", "fresh"}; !slices.Equal(q.order, want) {
			t.Errorf("turns went to %q, want %q", q.order, want)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(gone chan struct{})
		want error
	}{
		{"the caller is gone", func(gone chan struct{}) { close(gone) }, net.ErrClosed},
		{"the deadline", func(chan struct{}) { time.Sleep(time.Minute) }, os.ErrDeadlineExceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &queue{of: turns.New(1)}
				take(t, q.of, crowded)
				q.wait("before", quiet, false)
				gone, answer := make(chan struct{}), make(chan error, 1)
				go func() { answer <- q.of.Take(quiet, false, gone, time.Now().Add(time.Minute)) }()
				synctest.Wait()
				q.wait("after", quiet, false)
				test.end(gone)
				if err := <-answer; !errors.Is(err, test.want) {
					t.Errorf("Take = %v, want %v", err, test.want)
				}
				if waiting := q.of.Waiting(); waiting != 2 {
					t.Errorf("%d are waiting, want 2", waiting)
				}
				q.leave(2)
				if want := []string{"before", "after"}; !slices.Equal(q.order, want) {
					t.Errorf("turns went to %q, want %q", q.order, want)
				}
			})
		})
	}
}

// Whoever comes and goes however, no more than n have a turn, and in the end all
// turns are free.
func TestNoTurnIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3
		of := turns.New(n)
		peers := []netip.Addr{crowded, quiet, other}
		var now atomic.Int64
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				for range 20 {
					deadline := time.Now().Add(time.Duration(rand.IntN(50)) * time.Millisecond)
					if of.Take(peers[rand.IntN(len(peers))], rand.IntN(2) == 0, nil, deadline) != nil {
						continue
					}
					if has := now.Add(1); has > n {
						t.Errorf("%d have a turn, want at most %d", has, n)
					}
					time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
					now.Add(-1)
					of.Leave()
				}
			})
		}
		all.Wait()
		if waiting := of.Waiting(); waiting != 0 {
			t.Errorf("%d still wait", waiting)
		}
		for range n {
			take(t, of, crowded)
		}
		if err := of.Take(crowded, false, nil, time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one more than all turns: %v, want %v", err, os.ErrDeadlineExceeded)
		}
	})
}

func TestCrowd(t *testing.T) {
	c := turns.NewCrowd(2, 3)
	for i, step := range []struct {
		peer  netip.Addr
		leave bool
		want  bool
		count int
	}{
		{crowded, false, true, 1},
		{crowded, false, true, 2},
		{crowded, false, false, 2}, // as many as one may be
		{quiet, false, true, 3},
		{quiet, false, false, 3}, // as many as all may be
		{other, false, true, 4},  // but nobody is kept out by others
		{crowded, true, false, 3},
		{crowded, false, false, 3},
		{other, true, false, 2},
		{quiet, false, true, 3},
	} {
		if step.leave {
			c.Leave(step.peer)
		} else if got := c.Join(step.peer); got != step.want {
			t.Errorf("step %d: there is room: %t", i, got)
		}
		if n := c.Count(); n != step.count {
			t.Errorf("step %d: %d wait, want %d", i, n, step.count)
		}
	}
}
