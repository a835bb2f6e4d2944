package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const (
	// keptFor is how long an entry stays after its credential has ended, so that it
	// can still be asked what that was. When the register is nearly full they go at
	// once.
	keptFor    = 24 * time.Hour
	nearlyFull = MaxEntries / 10 * 9
	// sweepEvery is how often what has ended is removed, and lookEvery how often it
	// is looked whether what has not ended still counts.
	sweepEvery = time.Minute
	lookEvery  = time.Hour
	// settled is how old an entry is before it may be missed: its credential may
	// still be on its way to where it is kept.
	settled = time.Hour
)

// A Sweepable store is one that rows are removed from, as [ledger.Ledger] is.
type Sweepable interface {
	Sweep(ctx context.Context, before time.Time) (int, error)
	Each(ctx context.Context, visit func(ledger.Row) error) error
	Remove(ctx context.Context, rows []ledger.Row) error
	Count(ctx context.Context) (int64, error)
}

// A Keeper removes the entries of what has ended. One process of a store does so.
// All fields must be set.
type Keeper struct {
	Store Sweepable
	// Serials is the index of the certificates.
	Serials interface {
		Sweep(ctx context.Context, before time.Time) (int, error)
	}
	// Keys are those that certificates are for, each with its subject.
	Keys interface {
		Sweep(ctx context.Context, before time.Time) (int, error)
	}
	// Stands reports whether a credential that has not ended still counts: whether
	// whom it is for and what it is bound to are there.
	Stands func(ctx context.Context, e *Entry) (bool, error)
	Log    *slog.Logger
}

// Run keeps the register until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		if err := k.sweep(ctx); err != nil && ctx.Err() == nil {
			k.Log.WarnContext(ctx, "sweeping the register of credentials", "err", err)
		}
		if time.Since(looked) >= lookEvery {
			if err := k.look(ctx); err != nil && ctx.Err() == nil {
				k.Log.WarnContext(ctx, "looking after credentials that have not ended", "err", err)
			}
			looked = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (k *Keeper) sweep(ctx context.Context) error {
	kept := keptFor
	if n, err := k.Store.Count(ctx); err != nil {
		return err
	} else if n >= nearlyFull {
		kept = 0
		k.Log.WarnContext(ctx, "the register of credentials is nearly full, so what has ended is removed at once", "entries", n, "most", MaxEntries)
	}
	before := time.Now().Add(-kept)
	_, err := k.Store.Sweep(ctx, before)
	_, also := k.Serials.Sweep(ctx, before)
	_, keys := k.Keys.Sweep(ctx, before)
	return errors.Join(err, also, keys)
}

// look removes the entries whose credentials count no more, although they have
// not ended. What has an end is kept for as long as that it can be asked for,
// unless room is needed.
func (k *Keeper) look(ctx context.Context) error {
	n, err := k.Store.Count(ctx)
	if err != nil {
		return err
	}
	return k.Store.Each(ctx, func(row ledger.Row) error {
		e, err := read(&row)
		if err != nil {
			return err
		}
		age := time.Since(e.Issued)
		if age < settled || age < keptFor && !row.Ends.IsZero() && n < nearlyFull {
			return nil
		}
		stands, err := k.Stands(ctx, e)
		if err != nil {
			return fmt.Errorf("entry %s: %w", row.Name, err)
		}
		if stands {
			return nil
		}
		return k.Store.Remove(ctx, []ledger.Row{row})
	})
}
