package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/listener"
	"gatehouse.dev/gatehouse/internal/pki"
)

const (
	// handshakeTimeout ends connections that do not get as far as a whole
	// request header. net/http takes it for the TLS handshake too, which is to
	// be over after 10 s even if the machine is so busy that timers are late.
	handshakeTimeout = 8 * time.Second
	// idleTimeout is upstream's.
	idleTimeout = 90 * time.Second
	// maxHeaderBytes holds a token of 16 KiB many times over. Upstream's 1 MiB
	// is a gift to whoever sends headers for sport.
	maxHeaderBytes = 128 << 10
	// maxStreams bounds the requests that one HTTP/2 connection has in flight.
	maxStreams = 100
	// drainTimeout is how long requests in flight may take to end.
	drainTimeout = 30 * time.Second
)

// Run serves until ctx is done, then ends streams, lets requests finish and
// stops. It returns an error if the server failed, not if it was told to stop.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	if err := s.trail.Start(); err != nil {
		return err
	}
	work, working := errgroup.WithContext(ctx)
	work.Go(func() error {
		if err := s.web.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving: %w", err)
		}
		return nil
	})
	work.Go(func() error { return s.runner.Run(working) })
	work.Go(func() error { s.space.Run(working); return nil })
	work.Go(func() error { s.book.Run(working); return nil })
	work.Go(func() error { s.live.Run(working); return nil })
	work.Go(func() error { s.keepRegister(working); return nil })
	work.Go(func() error { s.revoking.Run(working); return nil })
	if own, ok := s.material.serving.(*pki.Serving); ok {
		work.Go(func() error {
			own.Run(working, func(err error) { s.log.Error("renewing the serving certificate", "err", err) })
			return nil
		})
	}
	for _, f := range s.credentials.files {
		work.Go(func() error { f.run(working); return nil })
	}
	if signer := s.signing.external; signer != nil {
		work.Go(func() error { signer.Run(working); return nil })
	}
	if k := s.signing.keeper; k != nil {
		work.Go(func() error { k.Run(working); return nil })
	}
	for _, keep := range s.credentials.keepers {
		work.Go(func() error { keep(working); return nil })
	}
	work.Go(func() error { s.bootstrap().keepTrust(working, s.credentials.changed); return nil })
	work.Go(func() error {
		<-working.Done()
		return s.shutdown()
	})
	return errors.Join(work.Wait(), s.trail.Shutdown())
}

// shutdown ends streams at once and gives requests time to finish.
func (s *Server) shutdown() error {
	s.log.Info("draining")
	s.drain()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := s.web.Shutdown(ctx); err != nil {
		_ = s.web.Close()
		s.log.Warn("requests were cut off", "after", drainTimeout)
	}
	return nil
}

func (s *Server) webServer(handler http.Handler) (*http.Server, error) {
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	return &http.Server{
		Handler:           handler,
		TLSConfig:         config,
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.listener.Track,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return authn.WithConn(ctx, &authn.Conn{Peer: listener.PeerOf(c)})
		},
	}, nil
}
