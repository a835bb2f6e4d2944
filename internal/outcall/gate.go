package outcall

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/turns"
)

// A Gate keeps what calls of one service cost within bounds, however they are
// made. Use [NewGate].
type Gate struct {
	turns   *turns.Turns
	calls   atomic.Int64
	breaker atomic.Pointer[breaker]
}

// NewGate returns a gate that n calls can pass at the same time.
func NewGate(n int) *Gate {
	g := &Gate{turns: turns.New(n)}
	g.Reset()
	return g
}

// Reset forgets what is known of the service: it is another one from now on.
func (g *Gate) Reset() { g.breaker.Store(new(breaker)) }

// ErrBusy is why a call was not made: others were, for as long as it could wait.
var ErrBusy = errors.New("waiting for a turn to ask it")

// A Pass lets one call be made. [Pass.Leave] has to be called when that is over.
type Pass struct {
	gate    *Gate
	breaker *breaker
}

// Enter returns when it is the peer's turn to make a call, or why none may be
// made: [ErrDown], or [ErrBusy] at the end of ctx.
func (g *Gate) Enter(ctx context.Context, peer netip.Addr) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return Pass{}, err
	}
	if g.breaker.Load().refuses(time.Now()) {
		return Pass{}, ErrDown
	}
	if err := g.turns.Take(peer, false, ctx.Done(), time.Time{}); err != nil {
		return Pass{}, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
	p := Pass{g, g.breaker.Load()}
	// Once more: it may have turned out meanwhile that the service is down.
	if err := p.breaker.allow(time.Now()); err != nil {
		g.turns.Leave()
		return Pass{}, err
	}
	g.calls.Add(1)
	return p, nil
}

// Ended notes whether the service has answered, whatever it said. It reports
// whether the service is down since, or up again.
func (p Pass) Ended(answered bool) (changed bool) { return p.breaker.ended(answered, time.Now()) }

// Leave lets another call be made.
func (p Pass) Leave() {
	p.gate.calls.Add(-1)
	p.gate.turns.Leave()
}

// Status returns how the service is doing.
func (g *Gate) Status() Status {
	return Status{Calls: int(g.calls.Load()), Waiting: g.turns.Waiting(), Down: g.breaker.Load().open()}
}

// Answers reports whether a service that answered with the status code, or did
// not if that is 0, is up. One that has too much to do is: who causes that must
// not be able to turn others away.
func Answers(code int) bool {
	switch code {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}
