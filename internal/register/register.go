// Package register is the register of the credentials that the server issues:
// who asked, for whom, bound to what and until when, and when it was last used.
//
// The one idea is the order: an entry is in the store before its credential
// leaves the process, and if it cannot be written, no credential leaves. So an
// entry may be of a credential that nobody ever got, and never the other way
// round. Entries that are written at the same time share a transaction; one that
// comes alone waits for nothing. Only when a credential was last used is written
// later, to the hour: see [Uses].
//
// The register grows with what is in force and no further: entries go a day after
// their credential has ended, those of accounts and objects that are gone go as
// well, and a full register issues nothing. Tokens, which tenants ask for, never
// take all of it, and what one namespace or user has only its share. It keeps no
// entry in memory. An entry holds no secret, nor anything that one could be computed
// from.
package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const (
	// MaxEntries is how many entries there may be, at a kilobyte of the store each.
	MaxEntries = 1_000_000
	// maxBatch bounds a transaction, in bytes of entries: etcd takes 1.5 MiB.
	maxBatch = 512 << 10
	// commitTimeout gives up a store that does not answer.
	commitTimeout = 10 * time.Second
)

// Errors of [Register.Record], wrapped.
var (
	// ErrFull is returned when there is no room for another entry.
	ErrFull = errors.New("the register of credentials is full")
	// ErrNotWritten is returned when the store did not say that it has the entry.
	ErrNotWritten = errors.New("the register of credentials could not be written")
)

// A Store keeps rows, as [ledger.Ledger] does.
type Store interface {
	Put(ctx context.Context, rows []ledger.Row) error
	Get(ctx context.Context, name string) (ledger.Row, bool, error)
	Page(ctx context.Context, r ledger.Range) (ledger.Page, error)
	Marks(ctx context.Context, rows []ledger.Row) error
	Mark(ctx context.Context, marks []ledger.Mark) error
	Count(ctx context.Context) (int64, error)
	Each(ctx context.Context, visit func(ledger.Row) error) error
}

// Metrics count what a register does. The methods must be cheap.
type Metrics interface {
	// Written is called for each transaction, with how many entries it had, or
	// that it failed.
	Written(entries int, failed bool)
	// UsesWritten is called with how many last uses were written, or not.
	UsesWritten(uses int, failed bool)
}

// A Register writes and finds entries. Use [New]. Its methods may be called at
// the same time.
type Register struct {
	// Serials, if it is not nil, is where certificates are found by their serial
	// numbers. It must not be changed once the register is in use.
	Serials Index

	store   Store
	metrics Metrics
	log     *slog.Logger
	// entries is how many there were when they were counted last, and those that
	// were written since.
	entries atomic.Int64
	most    int64
	shares  shares

	mu      sync.Mutex
	waiting []*waiting
	// busy is set while somebody writes what waits.
	busy bool
}

// waiting is an entry that is to be written, and who waits for it.
type waiting struct {
	row    ledger.Row
	serial *ledger.Row // in the index, or nil
	holder string      // whose share it is
	done   chan error  // of room for one
}

// New returns a register in a store.
func New(store Store, metrics Metrics, log *slog.Logger) *Register {
	return &Register{store: store, metrics: metrics, log: log, most: MaxEntries}
}

// Record writes an entry, and returns once it is durable. On an error the
// credential must not leave, although the entry may have been written all the
// same.
func (r *Register) Record(ctx context.Context, e *Entry) error {
	row, err := e.row()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	if len(row.Value) > ledger.MaxValue {
		return fmt.Errorf("%w: the entry has %d bytes, and at most %d are kept", ErrNotWritten, len(row.Value), ledger.MaxValue)
	}
	if err := r.room(e); err != nil {
		return err
	}
	w := &waiting{row: row, serial: serialRow(e, &row), holder: e.holder(), done: make(chan error, 1)}
	r.enqueue(w)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotWritten, context.Cause(ctx))
	}
}

func (r *Register) enqueue(w *waiting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, w)
	if !r.busy {
		r.busy = true
		go r.write()
	}
}

// write writes what waits until nothing does. What comes while a transaction is
// under way goes into the next one.
func (r *Register) write() {
	for batch := r.next(); len(batch) > 0; batch = r.next() {
		err := r.commit(batch)
		for _, w := range batch {
			w.done <- err
		}
	}
}

func (r *Register) commit(batch []*waiting) error {
	rows := make([]ledger.Row, len(batch))
	for i, w := range batch {
		rows[i] = w.row
	}
	// Not the context of any of those who wait: the others go on.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := r.indexSerials(ctx, batch)
	if err == nil {
		err = r.store.Put(ctx, rows)
	}
	r.metrics.Written(len(rows), err != nil)
	if err != nil {
		r.log.ErrorContext(ctx, "the register of credentials could not be written; what was asked for is not issued", "err", err, "entries", len(rows))
		return fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	r.entries.Add(int64(len(rows)))
	for _, w := range batch {
		r.shares.add(w.holder)
	}
	return nil
}

// next takes the entries of the next transaction.
func (r *Register) next() []*waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := fitting(r.waiting)
	batch := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	if n == 0 {
		r.busy, r.waiting = false, nil
	}
	return batch
}

// fitting returns how many of those that wait go into one transaction. What is
// too much for etcd, or has a name twice, would fail for all of them.
func fitting(all []*waiting) int {
	names, size := map[string]bool{}, 0
	for n, w := range all {
		size += len(w.row.Value)
		if n == ledger.MaxRows || n > 0 && size > maxBatch || names[w.row.Name] {
			return n
		}
		names[w.row.Name] = true
	}
	return len(all)
}

// Entries returns how many entries there are, as far as this process knows.
func (r *Register) Entries() int64 { return r.entries.Load() }

// Count counts the entries. It is called now and then: other processes write and
// remove some too.
func (r *Register) Count(ctx context.Context) error {
	n, err := r.store.Count(ctx)
	if err != nil {
		return fmt.Errorf("counting the register of credentials: %w", err)
	}
	r.entries.Store(n)
	return r.countShares(ctx)
}
