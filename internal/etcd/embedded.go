// Package etcd runs or reaches the store: etcd inside this process, or an
// external cluster. It is the only package that imports etcd's server.
//
// Both give the same thing, an etcd client, and everything above works on that
// alone. The embedded one has no listener at all, neither for clients nor for
// peers: the client calls the server's functions. Its data directory is locked,
// so that a second process fails at once instead of waiting in silence.
//
// The package refuses a data directory that another process holds or that a
// newer version wrote, and endpoints that belong to two clusters.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

const (
	// DefaultQuota is the size in bytes at which etcd refuses to write. It is
	// etcd's own advice for the largest database a machine can be expected to
	// bear.
	DefaultQuota = 8 << 30
	// defragThreshold is how much space a defragmentation at start must free,
	// in MiB, to be worth the time it takes.
	defragThreshold = 64
	// walSegment is preallocated twice. etcd's 64 MB are for a cluster that
	// writes all day; 16 MB make an empty data directory a quarter as large.
	walSegment = 16 << 20
	// tick and election are safe because the only member elects itself: there
	// is no network whose delays they would have to bear.
	tick     = 20 * time.Millisecond
	election = 100 * time.Millisecond
	// member is the name of the only member.
	member = "gatehouse"
	// startTimeout bounds the replay of a large log on a slow disk.
	startTimeout = 2 * time.Minute
)

// Embedded is an etcd with one member that runs in this process.
type Embedded struct {
	server *embed.Etcd
	client *clientv3.Client
}

// An Option is what [Start] does in another way than by default.
type Option func(*embed.Config)

// WithQuota sets the size in bytes of the database at which writes are refused,
// in place of [DefaultQuota].
func WithQuota(bytes int64) Option {
	return func(cfg *embed.Config) { cfg.QuotaBackendBytes = bytes }
}

// Start runs an etcd on dir, which it creates if need be, and returns when the
// store can be read and written. The caller must hold the [Directory] that dir
// is in. A disk without room for a log is refused, with ENOSPC, before anything
// is written: etcd itself would end the process.
//
// A store that was full when it stopped is cleared of what it need not keep,
// and takes writes again if that makes room; see [Keeper].
func Start(ctx context.Context, dir string, log *slog.Logger, options ...Option) (*Embedded, error) {
	if err := roomFor(dir); err != nil {
		return nil, fmt.Errorf("starting embedded etcd in %s: %w", dir, err)
	}
	cfg := configuration(dir, log)
	for _, o := range options {
		o(cfg)
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("starting embedded etcd in %s: %w", dir, err)
	}
	e := &Embedded{server: server}
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-server.Server.ReadyNotify():
		e.client = v3client.New(server.Server)
		if err = e.reopen(ctx, log); err == nil {
			return e, nil
		}
	case err = <-server.Err():
	case <-timeout.C:
		err = errors.New("not ready in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	server.Close()
	return nil, fmt.Errorf("starting embedded etcd in %s: %w", dir, err)
}

// configuration is that of the embedded etcd. A restored directory must agree
// with it about the name of the member and where its peers would find it.
func configuration(dir string, log *slog.Logger) *embed.Config {
	// An etcd that runs in this process already reads it all the time.
	if wal.SegmentSizeBytes != walSegment {
		wal.SegmentSizeBytes = walSegment
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.Name = member
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	cfg.TickMs = uint(tick / time.Millisecond)
	cfg.ElectionMs = uint(election / time.Millisecond)
	cfg.QuotaBackendBytes = DefaultQuota
	cfg.BootstrapDefragThresholdMegabytes = defragThreshold
	cfg.UnsafeNoFsync = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(log))
	return cfg
}

// Client returns the client, which is usable until [Embedded.Close].
func (e *Embedded) Client() *clientv3.Client { return e.client }

// Close stops the server after what was acknowledged is on disk.
func (e *Embedded) Close() {
	_ = e.client.Close()
	e.server.Close()
}
