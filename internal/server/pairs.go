package server

import (
	"fmt"

	"gatehouse.dev/gatehouse/internal/pki"
)

// servingPair is what the metrics, the log and readyz call the certificate of
// --tls-cert-file.
const servingPair = "tls-cert-file"

// namedPairOf is what they call one of --tls-sni-cert-key.
func namedPairOf(i int) string { return fmt.Sprintf("tls-sni-cert-key-%d", i+1) }

// followPairs follows the serving certificates that the operator brought, and
// shows when each one that is served ends.
func (s *Server) followPairs() {
	if pair, ok := s.material.serving.(*pki.Pair); ok {
		s.credentials.follow(servingPair, pair.Status, pair.Run)
	}
	s.metrics.ServingCertificate("default", s.material.serving.Expires)
	for i, n := range s.material.named {
		s.credentials.follow(namedPairOf(i), n.pair.Status, n.pair.Run)
		s.metrics.ServingCertificate(namedPairOf(i), n.pair.Expires)
	}
}
