package register

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const (
	hour = time.Hour
	// flushEvery is how soon the others learn of a use, and what a crash loses.
	flushEvery = time.Minute
	// flushTimeout gives up a store that does not answer.
	flushTimeout = 20 * time.Second
	// maxPending bounds the uses that wait for the store, at some 200 bytes.
	maxPending = 100_000
)

// HourOf returns the hour of a time, as uses are written down.
func HourOf(now time.Time) uint32 { return uint32(now.Unix() / int64(hour/time.Second)) }

// Uses notes when credentials are used, and writes it into a register now and
// then. Use [NewUses]. Its methods may be called at the same time.
type Uses struct {
	store   Store
	metrics Metrics
	log     *slog.Logger

	mu sync.Mutex
	// pending are to be written, by name; and written those of an hour that were,
	// because most credentials are verified many times in one.
	pending map[string]ledger.Mark
	written map[string]bool
	hour    uint32
}

// NewUses returns uses that are written into a store.
func NewUses(store Store, metrics Metrics, log *slog.Logger) *Uses {
	return &Uses{store: store, metrics: metrics, log: log, pending: map[string]ledger.Mark{}, written: map[string]bool{}}
}

// Used notes that a credential was used in an hour. It need not be called for
// each use, only for the first one of an hour; what was not issued here may be
// noted too, and costs a look at the store. Where too many wait for the store it
// is not noted.
func (u *Uses) Used(c *identity.Credential, hour uint32) {
	name := NameOf(c)
	if name == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if hour > u.hour {
		u.hour = hour
		clear(u.written)
	}
	if hour == u.hour && u.written[name] {
		return
	}
	if _, ok := u.pending[name]; !ok && len(u.pending) >= maxPending {
		return
	}
	u.pending[name] = ledger.Mark{Name: name, Ends: c.ExpiresAt, Mark: hour}
}

// Run writes the uses into the store until ctx is done, and then the last ones.
func (u *Uses) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			u.flush(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			u.flush(ctx)
		}
	}
}

// flush writes what is pending. What the store does not take waits for the next
// time.
func (u *Uses) flush(ctx context.Context) {
	u.mu.Lock()
	due := u.pending
	u.pending = map[string]ledger.Mark{}
	u.mu.Unlock()
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	marks := slices.SortedFunc(maps.Values(due), func(a, b ledger.Mark) int { return strings.Compare(a.Name, b.Name) })
	err := u.store.Mark(ctx, marks)
	u.metrics.UsesWritten(len(marks), err != nil)
	if err != nil {
		u.log.WarnContext(ctx, "when credentials were last used could not be written; it is tried again", "err", err, "credentials", len(marks))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, m := range due {
		if err == nil && m.Mark == u.hour && len(u.written) < maxPending {
			u.written[name] = true
		}
		if _, newer := u.pending[name]; err != nil && !newer && len(u.pending) < maxPending {
			u.pending[name] = m
		}
	}
}
