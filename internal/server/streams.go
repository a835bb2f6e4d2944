package server

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
	"gatehouse.dev/gatehouse/internal/freshness"
	streams "gatehouse.dev/gatehouse/internal/live"
	"gatehouse.dev/gatehouse/internal/metrics"
)

// patience is for how long a stream goes on whose credential nobody can judge,
// because a webhook, an issuer or the store does not answer.
const patience = 10 * time.Second

// openLive makes the registry of streams that are open, and shows it in the
// metrics.
func (s *Server) openLive() {
	s.live = streams.New(streams.Config{Judge: s.revoked.Judge, Patience: patience, Log: s.log})
	s.revoked.Notify(s.live.Rejudge)
	s.metrics.Revocations(s.revoked.Len)
	s.metrics.Streams(func() metrics.Streams { return metrics.Streams(s.live.Stats()) })
}

// openView makes the view of the store, which is fresh from now on: all that is
// followed is read after this.
func (s *Server) openView() {
	s.view = freshness.New(freshness.Config{
		Limit: time.Duration(s.cfg.Storage.MaxStaleness), Prove: s.proveView, Changed: s.viewChanged, Log: s.log,
	}, time.Now())
	s.metrics.Staleness(func() time.Duration { return s.view.Age(time.Now()) })
}

// proveView shows that what this process follows is what the store holds. The
// store says which revision it is at, by agreement of its members, and what is
// followed has to have come that far. A store that has lost revocations is none to
// follow.
func (s *Server) proveView(ctx context.Context) error {
	revision, err := s.epoch.Check(ctx)
	if err != nil {
		return err
	}
	return s.api.CaughtUp(ctx, revision)
}

// counted are the resources of which each write is counted, in the store and
// outside it.
func (s *Server) counted() map[schema.GroupResource]func(context.Context, bool) error {
	return map[schema.GroupResource]func(context.Context, bool) error{
		{Group: v1alpha1.Group, Resource: "revocations"}: s.epoch.Advance,
	}
}

// epochFile returns where the changes of revocations are counted outside the
// store, or "".
func (s *Server) epochFile() string {
	if file := s.cfg.Storage.RevocationEpochFile; file != "" || s.directory == nil {
		return file
	}
	return s.directory.Join(epoch.FileName)
}

// viewChanged ends what is open when nobody knows any more who has been revoked.
func (s *Server) viewChanged(stale error) {
	if stale != nil && !s.cfg.Storage.ServeStale {
		s.live.End(streams.Ending{Kind: streams.Stale, Err: stale})
	}
}

// stale returns why nobody is served at now, or nil.
func (s *Server) stale(now time.Time) error {
	if s.cfg.Storage.ServeStale {
		return nil
	}
	return s.view.Stale(now)
}

// whileFresh returns a context that ends when nobody is served any more.
func (s *Server) whileFresh() context.Context {
	if s.cfg.Storage.ServeStale {
		return context.Background()
	}
	return s.view.Fresh()
}
