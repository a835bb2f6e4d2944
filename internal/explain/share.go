package explain

import (
	"net/netip"
	"time"
)

// A topic is what records are about. Each has a share of its own, so that what
// one is full of leaves room for the others: an API server asks about what its
// own controllers may do all day long.
type topic int

const (
	requests topic = iota // that were refused
	tokens                // that were reviewed
	accesses              // that were reviewed
	topics
)

// A share bounds what is recorded of one topic.
type share struct {
	peers peers
	total allowance
}

// An allowance lets some through at once and then one each so often. (The
// generic cell rate algorithm.)
type allowance struct{ due time.Time }

func (a *allowance) take(now time.Time, every time.Duration, burst int) bool {
	first := now.Add(-time.Duration(burst-1) * every)
	if a.due.Before(first) {
		a.due = first
	}
	if a.due.After(now) {
		return false
	}
	a.due = a.due.Add(every)
	return true
}

// idle reports whether it is as if nothing had been taken.
func (a *allowance) idle(now time.Time, every time.Duration, burst int) bool {
	return !a.due.After(now.Add(-time.Duration(burst-1) * every))
}

// peers are the allowances of peers. There are at most maxPeers; those who come
// when all are in use share one.
type peers map[netip.Addr]*allowance

const maxPeers = 4096

func (p peers) take(peer netip.Addr, now time.Time) bool {
	own := p[peer]
	if own == nil && len(p) >= maxPeers {
		p.sweep(now)
	}
	if own == nil && len(p) >= maxPeers {
		peer, own = netip.Addr{}, p[netip.Addr{}]
	}
	if own == nil {
		own = &allowance{}
		p[peer] = own
	}
	return own.take(now, peerEvery, peerBurst)
}

// sweep forgets the peers that have not been heard of for long.
func (p peers) sweep(now time.Time) {
	for peer, a := range p {
		if a.idle(now, peerEvery, peerBurst) {
			delete(p, peer)
		}
	}
}
