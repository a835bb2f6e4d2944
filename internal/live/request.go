package live

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/identity"
)

// A Request is one that has joined.
type Request struct {
	registry *Registry
	ended    chan struct{}
	ending   atomic.Pointer[Ending]

	// mu is held while the request is cut, and gone is set when it has left.
	mu   sync.Mutex
	gone bool

	// The lock of the shard guards what follows.
	shard *shard
	place int
	stay  Stay
	left  bool
	// asked is set while the credential is asked about again, wait is until when
	// it is not, and doubted since when nobody has said that it is good.
	asked   bool
	wait    time.Time
	doubted time.Time
}

// Leave says that the request is over. The handler must have returned.
func (q *Request) Leave() {
	q.mu.Lock()
	gone := q.gone
	q.gone = true
	q.mu.Unlock()
	if gone {
		return
	}
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	q.left = true
	open := q.shard.open
	last := open[len(open)-1]
	open[q.place], last.place = last, q.place
	open[len(open)-1] = nil
	q.shard.open = open[:len(open)-1]
	if cap(q.shard.open) > 64 && len(q.shard.open) < cap(q.shard.open)/4 {
		q.shard.open = slices.Clip(slices.Clone(q.shard.open))
	}
	// The credential is in it, which nobody needs any more.
	q.stay.Again, q.stay.Cut = nil, nil
}

// Ended is closed when the request is to end. Its handler then tells the caller
// with [Request.Ending] and returns.
func (q *Request) Ended() <-chan struct{} { return q.ended }

// Ending returns why the request was ended, or nil if it was not.
func (q *Request) Ending() *Ending { return q.ending.Load() }

// End ends the request for a reason that is not in its credential.
func (q *Request) End(why Ending) {
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	q.end(why)
}

// end ends the request, for the first reason there is. The lock of the shard is
// held.
func (q *Request) end(why Ending) {
	if q.ending.Load() != nil || q.left {
		return
	}
	q.ending.Store(&why)
	q.registry.ended[why.Kind].Add(1)
	close(q.ended)
	cut := q.stay.Cut
	time.AfterFunc(farewell, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.gone {
			cut()
		}
	})
}

// sameCaller reports whether two identities are served alike.
func sameCaller(a, b *identity.Identity) bool {
	if a.Name != b.Name || a.UID != b.UID || len(a.Groups) != len(b.Groups) {
		return false
	}
	for _, g := range a.Groups {
		if !b.InGroup(g) {
			return false
		}
	}
	return true
}

type key struct{}

// With returns a copy of ctx that carries q.
func With(ctx context.Context, q *Request) context.Context { return context.WithValue(ctx, key{}, q) }

// From returns the request that ctx carries, or nil.
func From(ctx context.Context) *Request {
	q, _ := ctx.Value(key{}).(*Request)
	return q
}
