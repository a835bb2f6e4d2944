// Package live ends the requests that outlast the right to be served: watches,
// and whatever else stays open after its caller was let in.
//
// The one idea: a credential is judged when a request comes, and a stream would
// live on that verdict for hours. A [Registry] knows all that is open, each with
// the [authn.Result] that let it in, and looks at them five times a second: is
// somebody in it revoked, is the result still fresh? Looking costs nanoseconds,
// for a result says itself whether it is fresh. Only those that are not are asked
// about again, with the very same credential, one question for all requests of
// one result and only a few at a time, so that a changed file that ten thousand
// watches rest on ends those that it is about and no others.
//
// What is ended is told so, by a Status that its handler sends as the last thing,
// and is cut off if the handler does not manage within a moment.
//
// The package refuses to let a request stay whose credential cannot be judged
// for longer than the registry has patience.
package live

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

const (
	// lookEvery is how often the registry looks at what is open.
	lookEvery = 200 * time.Millisecond
	// lookAfter is how soon after one look there may be another one, however often
	// something is revoked.
	lookAfter = 20 * time.Millisecond
	// farewell is how long a request may take to tell its caller that it has
	// ended.
	farewell = 500 * time.Millisecond
	// shards is how many requests may join at the same moment without waiting
	// for each other.
	shards = 64
)

// A Stay is what a request asks for that joins a registry.
type Stay struct {
	// Who is whom the request is served for, which may be somebody whom its
	// caller acts as.
	Who *identity.Identity
	// Result is what let the caller in.
	Result *authn.Result
	// Again authenticates with the same credential as it is now. It is called
	// from other goroutines, once at a time, and may go on for a moment after
	// the request has left.
	Again func(context.Context) (*authn.Result, error)
	// Cut ends a request that goes on although it was told to end. It is called
	// once at most, and never after [Request.Leave] has returned.
	Cut func()
}

// A Registry knows the requests that are open. Make one with [New].
type Registry struct {
	Config
	shards [shards]shard
	// rejudge is set when the judge may think of somebody otherwise than before.
	rejudge atomic.Bool
	wake    chan struct{}
	ended   [kinds]atomic.Uint64
	asking  asking
}

// A Config is what a [Registry] needs. All fields but Judge must be set.
type Config struct {
	// Judge, which may be nil, returns why somebody is revoked, or nil. Whoever
	// changes what it goes by calls [Registry.Rejudge] then. It may be called with
	// the lock of a part of the registry held.
	Judge func(*identity.Identity) error
	// Patience is for how long a request goes on whose credential cannot be
	// judged, because whom to ask does not answer.
	Patience time.Duration
	Log      *slog.Logger
}

// A shard is some of the requests, in no order.
type shard struct {
	mu   sync.Mutex
	open []*Request
	_    [32]byte // the next one has a cache line of its own
}

// New returns an empty registry.
func New(cfg Config) *Registry { return &Registry{Config: cfg, wake: make(chan struct{}, 1)} }

// Join adds a request. Whoever joins must leave.
func (r *Registry) Join(s Stay) *Request {
	q := &Request{stay: s, shard: &r.shards[rand.N(shards)], registry: r, ended: make(chan struct{})}
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	q.place = len(q.shard.open)
	q.shard.open = append(q.shard.open, q)
	// What was said before the request joined was said to nobody.
	r.judge(q)
	return q
}

// Rejudge has everybody judged again, at once. It does not wait.
func (r *Registry) Rejudge() {
	r.rejudge.Store(true)
	select {
	case r.wake <- struct{}{}:
	default: // it is about to wake
	}
}

// End ends all that is open for a reason that is not in a credential. It returns
// when all has been told to end.
func (r *Registry) End(why Ending) {
	r.each(func(q *Request) { q.end(why) })
}

// Run looks at what is open until ctx is done.
func (r *Registry) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-tick.C:
		}
		r.look(ctx, time.Now())
		rest.Reset(lookAfter)
	}
}

// look ends what is revoked, and has asked about again what is not fresh.
func (r *Registry) look(ctx context.Context, now time.Time) {
	rejudge := r.rejudge.Swap(false)
	var stale map[*authn.Result][]*Request
	r.each(func(q *Request) {
		if rejudge {
			r.judge(q)
		}
		if q.asked || q.ending.Load() != nil || now.Before(q.wait) || q.stay.Result.Fresh(now) {
			return
		}
		if stale == nil {
			stale = map[*authn.Result][]*Request{}
		}
		if q.asked = true; q.doubted.IsZero() {
			q.doubted = now
		}
		stale[q.stay.Result] = append(stale[q.stay.Result], q)
	})
	for _, all := range stale {
		r.ask(ctx, all)
	}
}

// each visits what is open, with the lock of its shard held.
func (r *Registry) each(visit func(*Request)) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for _, q := range s.open {
			visit(q)
		}
		s.mu.Unlock()
	}
}

// judge ends q if somebody in it is revoked.
func (r *Registry) judge(q *Request) {
	if r.Judge == nil {
		return
	}
	if err := r.Judge(q.stay.Who); err != nil {
		q.end(Ending{Kind: Revoked, Err: err})
	}
}

// Stats say what a registry has to do.
type Stats struct {
	// Open is how many requests have joined and not left.
	Open int
	// Ended is how many were ended, by the name of the kind.
	Ended map[string]uint64
	// Asked is how many times credentials were asked about again, by how that
	// ended.
	Asked map[string]uint64
}

// Stats counts.
func (r *Registry) Stats() Stats {
	s := Stats{Ended: map[string]uint64{}, Asked: r.asking.counts()}
	for i := range r.shards {
		r.shards[i].mu.Lock()
		s.Open += len(r.shards[i].open)
		r.shards[i].mu.Unlock()
	}
	for k := range kinds {
		s.Ended[k.String()] = r.ended[k].Load()
	}
	return s
}
