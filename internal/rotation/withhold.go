package rotation

import (
	"context"
	"fmt"
	"time"
)

// retry is how often it is looked whether keys that are withheld are to be again.
const retry = time.Second

// Stale returns nil while the keys that were read last are to be believed, and
// otherwise an error that says since when nobody knows whether one of them was
// withdrawn, and why.
func (k *Keeper) Stale(now time.Time) error {
	age := k.age(k.view.Load(), now)
	if k.Limit == 0 || age <= k.Limit {
		return nil
	}
	err := fmt.Errorf("for %v the keys of tokens in the store could not be read, and are believed for %v", age.Round(100*time.Millisecond), k.Limit)
	if problem := k.problem.Load(); problem != nil {
		err = fmt.Errorf("%w: %w", err, *problem)
	}
	return err
}

// guard withholds the keys at the moment when they are believed no more.
func (k *Keeper) guard(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if left := k.Limit - k.age(k.view.Load(), time.Now()); left >= 0 {
			timer.Reset(left + 1)
			continue
		}
		if err := k.withhold(ctx); err != nil {
			k.Log.ErrorContext(ctx, "withholding the keys of tokens", "err", err)
		}
		timer.Reset(retry)
	}
}

// withhold has nothing verified with the keys, until they have been read.
func (k *Keeper) withhold(ctx context.Context) error {
	k.taking.Lock()
	defer k.taking.Unlock()
	stale := k.Stale(time.Now())
	if stale == nil || k.withheld {
		return nil
	}
	if err := k.Withhold(true); err != nil {
		return err
	}
	k.withheld = true
	k.Log.ErrorContext(ctx, "tokens of service accounts are refused, because their keys cannot be read", "err", stale)
	return nil
}

// release undoes it. The caller holds k.taking, and has read the keys.
func (k *Keeper) release() error {
	if !k.withheld || k.Stale(time.Now()) != nil {
		return nil // a read that took so long shows nothing
	}
	if err := k.Withhold(false); err != nil {
		return err
	}
	k.withheld = false
	k.Log.Info("the keys of tokens have been read again")
	return nil
}
