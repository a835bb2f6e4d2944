package server

import (
	"context"
	"net"
	"net/http"
	"runtime"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/listener"
	"gatehouse.dev/gatehouse/internal/metrics"
	"gatehouse.dev/gatehouse/internal/tarpit"
)

// What strangers can take of the server, and how it is bounded: docs/limits.md.

// sharedOut returns the listener of a socket that shares out what strangers can
// take. As many handshakes compute at the same time as there are processors.
func (s *Server) sharedOut(socket net.Listener) *listener.Listener {
	return listener.New(socket, listener.Config{
		MaxConns: listener.MostConns(), MaxHandshakes: runtime.GOMAXPROCS(0), Log: s.log,
	})
}

// countStrangers shows in the metrics what is done against strangers.
func (s *Server) countStrangers() {
	s.metrics.Strangers(func() metrics.Strangers {
		stats := s.listener.Stats()
		shed := map[string]uint64{"refused": stats.Refused}
		for class, n := range stats.Shed {
			shed[class.String()] = n
		}
		return metrics.Strangers{Open: stats.Open, Most: stats.Most, Waiting: stats.Waiting, Shed: shed, Held: s.tarpit.Held()}
	})
}

// hold delays the refusal of one who is refused again and again.
func (s *Server) hold(r *http.Request) { s.tarpit.Hold(r.Context(), authn.PeerFrom(r.Context())) }

// A newcomer's token has not been verified yet. Those of peers that fail often
// are looked at a few at a time.
type newcomers struct {
	authn.TokenVerifier
	tarpit *tarpit.Tarpit
}

func (n newcomers) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	leave, err := n.tarpit.Enter(ctx, authn.PeerFrom(ctx))
	if err != nil {
		return nil, &authn.Refusal{Method: authn.AnyBearer, Reason: "the token was not looked at", Cause: err, Facts: authn.Facts{
			Kind: authn.Throttled,
			Mend: "find out who sends so many bad credentials from this address; it passes by itself when they end",
		}}
	}
	defer leave()
	return n.TokenVerifier.VerifyToken(ctx, token, audiences)
}
