package authn

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A Conn is what authenticators remember about one connection. It begins empty
// and ends with the connection. A server makes one for each connection, and
// puts it into the context of all its requests:
//
//	srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
//		return authn.WithConn(ctx, &authn.Conn{Peer: ...})
//	}
//
// The zero value is ready to use. All methods may be called at the same time.
type Conn struct {
	// Peer is who is at the other end, for counting what it does: an address,
	// or what stands for many of them. It is never who is calling.
	Peer netip.Addr

	mu    sync.Mutex // held by writers only
	memos atomic.Pointer[memo]
}

// A memo is one of a list that does not change.
type memo struct {
	owner, value any
	next         *memo
}

type connKey struct{}

// WithConn returns a copy of ctx that carries c.
func WithConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ConnFrom returns the connection that ctx carries, or nil.
func ConnFrom(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// PeerFrom returns the peer of the connection that ctx carries. What is not known
// is one peer.
func PeerFrom(ctx context.Context) netip.Addr {
	if c := ConnFrom(ctx); c != nil {
		return c.Peer
	}
	return netip.Addr{}
}

// Memo returns what owner remembered last, or nil. A nil Conn remembers nothing.
func (c *Conn) Memo(owner any) any {
	if c == nil {
		return nil
	}
	for m := c.memos.Load(); m != nil; m = m.next {
		if m.owner == owner {
			return m.value
		}
	}
	return nil
}

// Remember keeps value for owner in place of what it remembered before. Owner
// must be comparable; an authenticator uses its own address.
func (c *Conn) Remember(owner, value any) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memos.Store(&memo{owner, value, c.memos.Load().without(owner)})
}

// without returns the list without the memo of owner, if there is one. It has at
// most one.
func (m *memo) without(owner any) *memo {
	switch {
	case m == nil:
		return nil
	case m.owner == owner:
		return m.next
	}
	rest := m.next.without(owner)
	if rest == m.next {
		return m
	}
	return &memo{m.owner, m.value, rest}
}
