package listener

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is one connection. Until its first request it takes turns with others
// whenever bytes have arrived that something has to be computed from.
type Conn struct {
	net.Conn
	of     *Listener
	peer   *peer
	number uint64 // in the order of arrival
	// place is where the peer has it, or nil once it is not counted any more.
	// The lock of the listener guards it.
	place *list.Element

	// spoken is whether it has sent a request, and idleSince when the last one
	// was answered, in Unix nanoseconds, or 0 if one is in flight.
	spoken    atomic.Bool
	idleSince atomic.Int64

	// listening is since when it could have said something, in Unix
	// nanoseconds, or 0 while it is for us to do something.
	listening atomic.Int64
	// turn is whether it has a turn now, and begun whether it has asked for one
	// before.
	turn, begun atomic.Bool
	// deadline is when reading must end, in Unix nanoseconds, or 0.
	deadline atomic.Int64
	closing  sync.Once
	done     chan struct{} // closed with the connection
}

// Read reads as the connection does. What it reads before the first request it
// returns when it is this connection's turn, which lasts until it reads or
// writes again: crypto/tls computes between the two.
func (c *Conn) Read(b []byte) (int, error) {
	if c.spoken.Load() {
		return c.Conn.Read(b)
	}
	c.endTurn()
	c.listening.CompareAndSwap(0, time.Now().UnixNano())
	n, err := c.Conn.Read(b)
	if n == 0 || c.spoken.Load() {
		return n, err
	}
	c.listening.Store(0)
	if waitErr := c.of.turns.Take(c.peer.address, c.begun.Swap(true), c.done, c.until()); waitErr != nil {
		return n, waitErr
	}
	c.turn.Store(true)
	return n, err
}

// Write writes as the connection does, and ends a turn.
func (c *Conn) Write(b []byte) (int, error) {
	c.endTurn()
	return c.Conn.Write(b)
}

// Close closes the connection, whether it waits for a turn or has one.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		close(c.done)
		c.of.mu.Lock()
		c.of.forget(c)
		c.of.mu.Unlock()
	})
	c.endTurn()
	return c.Conn.Close()
}

// SetDeadline sets a deadline that holds while waiting for a turn, too.
func (c *Conn) SetDeadline(t time.Time) error {
	c.keep(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline is as [Conn.SetDeadline], for reading.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.keep(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *Conn) keep(t time.Time) {
	if t.IsZero() {
		c.deadline.Store(0)
		return
	}
	c.deadline.Store(t.UnixNano())
}

func (c *Conn) until() time.Time {
	if at := c.deadline.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

func (c *Conn) endTurn() {
	if c.turn.CompareAndSwap(true, false) {
		c.of.turns.Leave()
	}
}

// speak notes that a first request has come.
func (c *Conn) speak() {
	if c.spoken.Load() {
		return
	}
	c.of.mu.Lock()
	if c.place != nil && !c.spoken.Load() {
		c.peer.silent.Remove(c.place)
		c.place = c.peer.spoken.PushBack(c)
	}
	c.spoken.Store(true)
	c.of.mu.Unlock()
	c.endTurn()
}

// class says what the connection is doing now.
func (c *Conn) class(now int64) Class {
	switch since := c.listening.Load(); {
	case c.spoken.Load() && c.idleSince.Load() != 0:
		return Idle
	case c.spoken.Load():
		return InUse
	case since != 0 && now-since >= int64(prompt):
		return Silent
	}
	return Greeting
}
