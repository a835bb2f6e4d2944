package flight_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/flight"
)

// TestGroup has 10,000 callers with 100 keys: each key is asked for once at a
// time, and everybody gets the answer to his own.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flights flight.Group[int, int]
		var asked, flying [100]atomic.Int64
		var work sync.WaitGroup
		for i := range 10_000 {
			work.Go(func() {
				key := i % 100
				got, err := flights.Do(t.Context(), key, time.Minute, func(context.Context) (int, error) {
					asked[key].Add(1)
					if flying[key].Add(1) > 1 {
						t.Errorf("key %d is asked for twice at a time", key)
					}
					defer flying[key].Add(-1)
					time.Sleep(time.Second)
					return key * key, nil
				})
				if err != nil || got != key*key {
					t.Errorf("key %d: %d, %v", key, got, err)
				}
			})
		}
		work.Wait()
		for key := range asked {
			if n := asked[key].Load(); n != 1 {
				t.Errorf("key %d was asked for %d times", key, n)
			}
		}
	})
}

func TestFlightOutlivesWhoCameFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flights flight.Group[string, string]
		slow := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(10 * time.Second):
				return "answer", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := flights.Do(first, "k", time.Minute, slow); left <- err }()
		synctest.Wait()
		type result struct {
			answer string
			err    error
		}
		second := make(chan result, 1)
		go func() {
			answer, err := flights.Do(t.Context(), "k", time.Minute, slow)
			second <- result{answer, err}
		}()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		start := time.Now()
		if r := <-second; r.err != nil || r.answer != "answer" || time.Since(start) > 10*time.Second {
			t.Errorf("who stayed got %+v after %v", r, time.Since(start))
		}
	})
}

// TestAbandonedFlight is joined after the last who waited for it has left, and
// while it does not heed that yet.
func TestAbandonedFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flights flight.Group[string, string]
		var asked atomic.Int64
		stubborn := func(ctx context.Context) (string, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			return "answer", ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		go func() { _, _ = flights.Do(ctx, "k", time.Minute, stubborn) }()
		synctest.Wait()
		leave()
		synctest.Wait()
		answer, err := flights.Do(t.Context(), "k", time.Minute, stubborn)
		if err != nil || answer != "answer" || asked.Load() != 2 {
			t.Errorf("%q, %v after %d questions: who comes must not suffer from who left", answer, err, asked.Load())
		}
	})
}

func TestFlightEndsAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flights flight.Group[string, string]
		start := time.Now()
		_, err := flights.Do(t.Context(), "k", 30*time.Second, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestPanicOfAFlight(t *testing.T) {
	var flights flight.Group[string, string]
	defer func() {
		if p, _ := recover().(string); !strings.HasPrefix(p, "boom") || !strings.Contains(p, "flight_test.go") {
			t.Errorf("recovered %q", p)
		}
	}()
	_, _ = flights.Do(t.Context(), "k", time.Minute, func(context.Context) (string, error) { panic("boom") })
	t.Error("the panic was lost")
}
