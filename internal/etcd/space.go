package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// spaceInterval is how soon a store that was full takes writes again after
	// something was deleted.
	spaceInterval = 5 * time.Second
	// nearlyFull is the share of the quota, in percent, from which on an
	// operator is told.
	nearlyFull = 80
	// roomy is the share of the quota, in percent, that data must come below
	// before the alarm is taken back. What is free then is more than the
	// largest object, also with the smallest quota, so that the alarm is not
	// back at once.
	roomy = 90
	// mostCommits is how many commits are waited for until room that was made shows:
	// pages count as used until the commit after the one that has freed them, and
	// after the last reader from before has ended. Each compaction leaves something
	// to commit, also when nothing is left to compact.
	mostCommits = 5
)

// Space is how full a store is. With several members it is that of the fullest.
type Space struct {
	// Allocated is the size of the database in bytes, which the quota is about,
	// and Used what of it holds data. Clearing gives the rest back.
	Allocated, Used, Quota int64
	// Full tells that etcd refuses to write.
	Full bool
}

// String returns "" while there is nothing to say, and otherwise a sentence for
// an operator.
func (s Space) String() string {
	size := fmt.Sprintf("%d of %d MiB", s.Allocated>>20, s.Quota>>20)
	switch {
	case s.Full:
		return "is full at " + size + " and refuses writes: delete what is not needed"
	case s.Quota > 0 && s.Allocated >= s.Quota/100*nearlyFull:
		return "is nearly full at " + size + ": delete what is not needed"
	}
	return ""
}

// MeasureSpace asks the members that client knows. A member that does not
// answer is left out as long as another one does.
func MeasureSpace(ctx context.Context, client *clientv3.Client) (Space, error) {
	endpoints := client.Endpoints()
	if len(endpoints) == 0 {
		endpoints = []string{""} // the etcd in this process
	}
	var most Space
	var failed error
	answers := 0
	for _, e := range endpoints {
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		status, err := client.Status(asking, e)
		cancel()
		if err != nil {
			failed = fmt.Errorf("asking etcd for its size: %w", err)
			continue
		}
		answers++
		most.Allocated, most.Used = max(most.Allocated, status.DbSize), max(most.Used, status.DbSizeInUse)
		most.Quota = max(most.Quota, status.DbSizeQuota)
		for _, text := range status.Errors {
			most.Full = most.Full || strings.Contains(text, etcdserverpb.AlarmType_NOSPACE.String())
		}
	}
	if answers == 0 {
		return Space{}, failed
	}
	return most, nil
}

// A Keeper watches how full a store is, says so before and when it is full, and
// opens an embedded one again as soon as there is room: nobody else could reach
// it to do so. Make one with [NewKeeper].
type Keeper struct {
	client   *clientv3.Client
	embedded *Embedded // nil for a cluster, which has its own operators
	log      *slog.Logger
	space    atomic.Pointer[Space]
}

// NewKeeper returns a keeper of the store behind client, which is embedded or,
// if that is nil, a cluster.
func NewKeeper(client *clientv3.Client, embedded *Embedded, log *slog.Logger) *Keeper {
	k := &Keeper{client: client, embedded: embedded, log: log}
	k.space.Store(&Space{})
	return k
}

// Space returns what was measured last.
func (k *Keeper) Space() Space { return *k.space.Load() }

// Run measures until ctx is done.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	for said := ""; ; {
		space, err := k.look(ctx)
		if err == nil {
			said = k.say(ctx, space, said)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look measures, and opens an embedded store that is full if it can.
func (k *Keeper) look(ctx context.Context) (Space, error) {
	space, err := MeasureSpace(ctx, k.client)
	if err == nil && space.Full && k.embedded != nil {
		if err := k.embedded.reopen(ctx, k.log); err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "clearing the store", "err", err)
		}
		space, err = MeasureSpace(ctx, k.client)
	}
	if err == nil {
		k.space.Store(&space)
	}
	return space, err
}

// say logs a change, and returns what holds now. The sizes alone are no change.
func (k *Keeper) say(ctx context.Context, s Space, before string) string {
	now, _, _ := strings.Cut(s.String(), " at ")
	switch {
	case now == before:
	case now == "":
		k.log.InfoContext(ctx, "the store has room again", "allocated", s.Allocated, "quota", s.Quota)
	case s.Full:
		k.log.ErrorContext(ctx, "the store "+s.String())
	default:
		k.log.WarnContext(ctx, "the store "+s.String())
	}
	return now
}

// reopen makes room in a store that has raised the alarm of being full, and
// takes the alarm back if there is room then. The history goes first: while the
// alarm is on, nothing else can compact it, because that begins with a write.
func (e *Embedded) reopen(ctx context.Context, log *slog.Logger) error {
	space, err := MeasureSpace(ctx, e.client)
	if err != nil || !space.Full {
		return err
	}
	backend, enough := e.server.Server.Backend(), space.Quota/100*roomy
	for range mostCommits {
		if err := e.compact(ctx); err != nil {
			return err
		}
		if backend.ForceCommit(); backend.SizeInUse() <= enough {
			break
		}
	}
	if backend.SizeInUse() > enough {
		return nil // the keeper has said so
	}
	// Not by the client: the server behind it expects a listener to tell.
	if err := backend.Defrag(); err != nil {
		return fmt.Errorf("defragmenting: %w", err)
	}
	if _, err := e.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("disarming etcd's alarm: %w", err)
	}
	log.InfoContext(ctx, "the store was full and takes writes again", "allocated", backend.Size(), "quota", space.Quota)
	return nil
}

// compact forgets all history. A revision that is forgotten already is no error.
func (e *Embedded) compact(ctx context.Context) error {
	now, err := e.client.Get(ctx, ClaimKey, clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("reading the revision: %w", err)
	}
	_, err = e.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compacting: %w", err)
	}
	return nil
}
