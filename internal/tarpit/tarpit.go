// Package tarpit makes failing slow for whoever fails often.
//
// The one idea: what is delayed is the refusal, not the success. A peer that
// sends one bad credential after the other gets its answers late ([Tarpit.Hold]),
// so that one who waits for them can send no more than a few; and what it costs
// to look at a credential that is not known yet it shares with its like, a few
// at a time ([Tarpit.Enter]), so that one who does not wait takes no processor
// from others. Whoever shares the address, behind a proxy, is let in as fast as
// ever with a credential that is known, and soon after with another.
//
// Failures are counted by peer in a fixed number of places, so that nothing can
// be filled up by many. Two peers may share a place: then one is as slow as the
// other, and nothing worse.
//
// It refuses nothing, and holds a bounded number of refusals: past that they are
// told at once, because a server that holds what it cannot is worse off than one
// that answers.
package tarpit

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/turns"
)

// A peer may fail ten times a second and twenty times at once before it is made
// to wait: more than a node does whose token has expired, and far less than one
// who guesses. At most a refusal waits for what is tedious for people, and well
// within the patience of clients.
var pace = Pace{Interval: time.Second / 10, Burst: 20, Longest: 2 * time.Second}

const (
	// mostHeld is how many refusals wait at the same time. Each is a goroutine
	// with its request, up to 50 KiB.
	mostHeld = 1024
	// mostEntered is how many unknown credentials of those who fail often are
	// looked at at the same time: a few for each processor, as some only wait
	// for the store or a webhook. 64 signatures are 4 ms of work.
	mostEntered = 64
	// places is for how many peers failures are counted apart: 32 KiB in all.
	places = 4096
)

// A Tarpit knows who fails often. Use [New]. All methods may be called at the
// same time.
type Tarpit struct {
	seed    maphash.Seed
	due     [places]Due
	holding atomic.Int64
	held    atomic.Uint64
	entered *turns.Turns
}

// New returns a tarpit that nobody is in. Which peers share a place, nobody
// outside can know.
func New() *Tarpit { return &Tarpit{seed: maphash.MakeSeed(), entered: turns.New(mostEntered)} }

// Hold counts a failure of the peer, and returns when it may be told, or at once
// if ctx is done.
func (t *Tarpit) Hold(ctx context.Context, peer netip.Addr) {
	wait := t.place(peer).Fail(pace, time.Now())
	if wait <= 0 {
		return
	}
	if t.holding.Add(1) > mostHeld {
		t.holding.Add(-1)
		return
	}
	defer t.holding.Add(-1)
	t.held.Add(1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (t *Tarpit) place(peer netip.Addr) *Due {
	return &t.due[maphash.Comparable(t.seed, peer)%places]
}

// Enter returns when a credential of the peer that is not known yet may be
// looked at: at once, unless the peer has failed often of late. The caller calls
// leave when it has. Enter gives up with an error if ctx is done.
func (t *Tarpit) Enter(ctx context.Context, peer netip.Addr) (leave func(), err error) {
	if t.place(peer).Owed(time.Now()) <= 0 {
		return func() {}, nil
	}
	if err := t.entered.Take(peer, false, ctx.Done(), time.Time{}); err != nil {
		return nil, fmt.Errorf("waiting among others who failed often: %w", context.Cause(ctx))
	}
	return t.entered.Leave, nil
}

// Held returns how many refusals have waited so far.
func (t *Tarpit) Held() uint64 { return t.held.Load() }
