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
	memos atomic.Pointer[[]memo]
}

type memo struct{ owner, value any }

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
	if memos := c.memos.Load(); memos != nil {
		for i := range *memos {
			if (*memos)[i].owner == owner {
				return (*memos)[i].value
			}
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
	next := []memo{{owner, value}}
	if memos := c.memos.Load(); memos != nil {
		for _, m := range *memos {
			if m.owner != owner {
				next = append(next, m)
			}
		}
	}
	c.memos.Store(&next)
}
