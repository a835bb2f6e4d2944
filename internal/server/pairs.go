package server

import (
	"context"
	"fmt"

	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/reload"
)

// followPairs follows the serving certificates that the operator brought, and
// shows when each one that is served ends.
func (s *Server) followPairs() {
	if pair, ok := s.material.serving.(*pki.Pair); ok {
		s.followPair("tls-cert-file", pair)
	}
	s.metrics.ServingCertificate("default", s.material.serving.Expires)
	for i, n := range s.material.named {
		name := fmt.Sprintf("tls-sni-cert-key-%d", i+1)
		s.followPair(name, n.pair)
		s.metrics.ServingCertificate(name, n.pair.Expires)
	}
}

func (s *Server) followPair(name string, pair *pki.Pair) {
	status := func() reload.Status {
		status := pair.Status()
		return reload.Status{Problem: status.Problem, Successes: status.Successes, Failures: status.Failures}
	}
	s.credentials.follow(name, status, func(ctx context.Context) {
		pair.Run(ctx, func(err error) {
			s.log.Error(name+" is bad; the last good one stays in force", "err", err)
		})
	})
}
