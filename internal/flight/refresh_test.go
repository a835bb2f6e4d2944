package flight_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/flight"
)

// TestRefresh says that everybody sees what was true when he asked or later, and
// that however many ask, the work is done once in a while.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		truth, seen, works := 0, 0, 0
		var mu sync.Mutex
		r := &flight.Refresh{Every: time.Second, Limit: time.Minute, Work: func(context.Context) error {
			mu.Lock()
			read := truth
			mu.Unlock()
			time.Sleep(300 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			seen = read
			works++
			return nil
		}}
		start := time.Now()
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 3 * time.Millisecond)
				mu.Lock()
				truth++
				mine := truth
				mu.Unlock()
				if err := r.Do(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if seen < mine {
					t.Errorf("%d asked, and what was read is of %d", mine, seen)
				}
			})
		}
		all.Wait()
		if most := int(time.Since(start)/time.Second) + 1; works > most || works < 3 {
			t.Errorf("%d times in %v, at most %d", works, time.Since(start), most)
		}
	})
}

func TestRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		r := &flight.Refresh{Every: time.Second, Limit: 5 * time.Second, Work: func(ctx context.Context) error {
			if down != nil {
				return down
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		if err := r.Do(t.Context()); !errors.Is(err, down) {
			t.Errorf("%v, want that it is down", err)
		}
		down = nil
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := r.Do(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who leaves is told %v", err)
		}
		start := time.Now()
		if err := r.Do(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("work that hangs: %v", err)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("it held everybody up for %v", took)
		}
	})
}
