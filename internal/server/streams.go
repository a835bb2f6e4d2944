package server

import (
	"time"

	streams "gatehouse.dev/gatehouse/internal/live"
	"gatehouse.dev/gatehouse/internal/metrics"
)

// patience is for how long a stream goes on whose credential nobody can judge,
// because a webhook, an issuer or the store does not answer.
const patience = 10 * time.Second

// openLive makes the registry of streams that are open, and shows it in the
// metrics.
func (s *Server) openLive() {
	s.live = streams.New(streams.Config{Patience: patience, Log: s.log})
	s.metrics.Streams(func() metrics.Streams { return metrics.Streams(s.live.Stats()) })
}
