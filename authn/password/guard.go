package password

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"gatehouse.dev/gatehouse/internal/tarpit"
	"gatehouse.dev/gatehouse/internal/turns"
)

// byPair is how fast one peer may fail with one name: as often as somebody
// mistypes, then once a second, then slower than anybody guesses.
var byPair = tarpit.Pace{Interval: time.Second, Burst: 5, Longest: 8 * time.Second}

// byName is how fast all strangers together may fail with one name. It slows
// many peers that guess together, and is short because it also slows the user
// at a new place while they do.
var byName = tarpit.Pace{Interval: time.Second, Burst: 20, Longest: 2 * time.Second}

const (
	// mostSlowed is how many requests of one peer wait for failures of the same
	// peer to be paid for. More are not looked at.
	mostSlowed = 16
	// mostInside is how many requests of one peer wait in all, and mostTogether
	// of all peers. Each is a goroutine with its request, up to 50 KiB.
	mostInside   = 256
	mostTogether = 4096
	// mostAtOnce is how many passwords are compared at the same time for those
	// who are known, and as many for strangers: each takes up to 256 MiB.
	mostAtOnce = 8
)

// A guard decides when a password is compared. Half of the processors compare for
// peers from which the user has logged in of late, half for strangers: so the
// memory that hashes take is bounded, and strangers that guess do not slow those
// who are known.
type guard struct {
	// failures are those of a name with a peer, and of names that nobody has.
	// Those of a name that somebody has are with its account, where nothing
	// that others do can touch them.
	pairs, unknown   *tarpit.Sketch
	known, strangers *turns.Turns
	slowed, inside   *turns.Crowd
}

func newGuard() *guard {
	half := min(max(1, runtime.GOMAXPROCS(0)/2), mostAtOnce)
	return &guard{
		pairs: tarpit.NewSketch(byPair), unknown: tarpit.NewSketch(byName),
		known: turns.New(half), strangers: turns.New(half),
		slowed: turns.NewCrowd(mostSlowed, mostTogether), inside: turns.NewCrowd(mostInside, mostTogether),
	}
}

// A try is one request whose turn it is to have its password compared. Exactly
// one of its methods has to be called.
type try struct {
	guard   *guard
	peer    netip.Addr
	name    string
	account *account // or nil
	known   bool     // the peer, for this account
}

// enter returns when the password of a request may be compared, which takes
// longer the more often the same peer, or other strangers, have failed with the
// name. It gives up if ctx is done or too many wait.
//
// A stranger's attempt counts as failed from the start, so that a thousand at
// the same time do not all count as the first.
func (g *guard) enter(ctx context.Context, peer netip.Addr, name string, a *account) (*try, error) {
	now := time.Now()
	t := &try{guard: g, peer: peer, name: name, account: a, known: a != nil && a.knows(peer, now)}
	line := g.known
	if !t.known {
		line = g.strangers
		if err := g.slow(ctx, t, now); err != nil {
			return nil, err
		}
	}
	if err := line.Take(peer, false, ctx.Done(), time.Time{}); err != nil {
		return nil, fmt.Errorf("waiting for others: %w", context.Cause(ctx))
	}
	return t, nil
}

// slow counts an attempt of a stranger, and waits for what is owed.
func (g *guard) slow(ctx context.Context, t *try, now time.Time) error {
	own := g.pairs.Fail(pairKey(t.peer, t.name), now)
	others := t.countName(now)
	if own > 0 {
		if !g.slowed.Join(t.peer) {
			return errors.New("too many attempts of this peer with this user name have failed, and others wait already")
		}
		defer g.slowed.Leave(t.peer)
	}
	return sleep(ctx, max(own, others))
}

// countName counts a failure with the name, and returns how long it waits.
func (t *try) countName(now time.Time) time.Duration {
	if t.account != nil {
		return t.account.failures.Fail(byName, now)
	}
	return t.guard.unknown.Fail(t.name, now)
}

// forgive takes back what was counted when the try entered.
func (t *try) forgive() {
	t.guard.pairs.Forgive(pairKey(t.peer, t.name))
	if t.account != nil {
		t.account.failures.Forgive(byName)
		return
	}
	t.guard.unknown.Forgive(t.name)
}

// leave ends the turn.
func (t *try) leave() {
	if t.known {
		t.guard.known.Leave()
	} else {
		t.guard.strangers.Leave()
	}
}

// succeeded ends a try whose password was right.
func (t *try) succeeded() {
	t.leave()
	if !t.known {
		t.forgive()
	}
}

// failed ends a try whose password was wrong. A peer that is known was not made
// to wait before, so it is now.
func (t *try) failed(ctx context.Context) {
	t.leave()
	if !t.known {
		return
	}
	wait := t.guard.pairs.Fail(pairKey(t.peer, t.name), time.Now())
	if wait > 0 && t.guard.slowed.Join(t.peer) {
		defer t.guard.slowed.Leave(t.peer)
		_ = sleep(ctx, wait) // the refusal is told in any case
	}
}

func pairKey(peer netip.Addr, name string) string {
	address := peer.As16()
	return string(address[:]) + name
}

// sleep waits, or gives up if ctx is done.
func sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting because of earlier failures: %w", context.Cause(ctx))
	}
}
