// Package turns shares out a kind of work that few can do at the same time.
//
// The one idea: peers that wait take turns, so that one who asks a thousand
// times waits a thousand times as long and nobody else waits with it. Within a
// peer it is first come, first served, but those who have begun come before
// those who have not: a handshake that is half done when its time is up was work
// for nothing.
//
// It refuses nobody, and keeps nothing of a peer that does not wait.
package turns

import (
	"container/list"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Turns bounds how many do something at the same time. Use [New].
type Turns struct {
	mu   sync.Mutex // guards what follows
	free int
	// lines has whoever waits, by peer, and order the lines in the order of
	// their turns. A line that nobody stands in is in neither.
	lines map[netip.Addr]*list.Element
	order *list.List // of *line
	count int
}

// A line is those of one peer who wait.
type line struct {
	peer netip.Addr
	of   *list.List // of chan struct{}, closed when it is its turn
}

// New returns turns of which n can be taken at the same time.
func New(n int) *Turns {
	return &Turns{free: n, lines: map[netip.Addr]*list.Element{}, order: list.New()}
}

// Take returns nil when it is the peer's turn, and [Turns.Leave] must be called
// at its end. Begun is whether the caller had a turn before for the same thing.
// Take gives up with [net.ErrClosed] when done is closed, and with
// [os.ErrDeadlineExceeded] at the deadline, unless that is zero.
func (t *Turns) Take(peer netip.Addr, begun bool, done <-chan struct{}, deadline time.Time) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	wait := t.line(peer).of.PushBack
	if begun {
		wait = t.line(peer).of.PushFront
	}
	place := wait(turn)
	t.count++
	t.mu.Unlock()

	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case <-turn:
		return nil
	case <-done:
		err = net.ErrClosed
	case <-late:
		err = os.ErrDeadlineExceeded
	}
	t.giveUp(peer, place, turn)
	return err
}

// line returns the line of a peer, a new one if it has none. The lock is held.
func (t *Turns) line(peer netip.Addr) *line {
	if e := t.lines[peer]; e != nil {
		return e.Value.(*line)
	}
	l := &line{peer, list.New()}
	t.lines[peer] = t.order.PushBack(l)
	return l
}

// giveUp takes one that waits out of its line, or ends its turn if that came
// meanwhile.
func (t *Turns) giveUp(peer netip.Addr, place *list.Element, turn <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-turn:
		t.next()
		return
	default:
	}
	e := t.lines[peer]
	l := e.Value.(*line)
	l.of.Remove(place)
	t.count--
	if l.of.Len() == 0 {
		t.order.Remove(e)
		delete(t.lines, peer)
	}
}

// Leave ends a turn.
func (t *Turns) Leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next gives the turn that has ended to the first of the next line, which goes
// to the end of the order. The lock is held.
func (t *Turns) next() {
	e := t.order.Front()
	if e == nil {
		t.free++
		return
	}
	l := e.Value.(*line)
	close(l.of.Remove(l.of.Front()).(chan struct{}))
	t.count--
	if l.of.Len() == 0 {
		t.order.Remove(e)
		delete(t.lines, l.peer)
		return
	}
	t.order.MoveToBack(e)
}

// Waiting counts those who wait.
func (t *Turns) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
