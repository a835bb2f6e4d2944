package freshness_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/freshness"
)

const limit = 10 * time.Second

// A store answers, or not.
type store struct {
	mu    sync.Mutex
	err   error
	slow  time.Duration
	asked int
	// told is what the view has said.
	told []error
}

func (s *store) set(err error, slow time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.slow = err, slow
}

func (s *store) prove(ctx context.Context) error {
	s.mu.Lock()
	err, slow := s.err, s.slow
	s.asked++
	s.mu.Unlock()
	select {
	case <-time.After(slow):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// says returns what the view has said so far.
func (s *store) says() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

func (s *store) changed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, err)
}

// within runs check in a bubble with a view that is proved. What it logs is in
// log once check has returned.
func within(t *testing.T, log *bytes.Buffer, check func(*freshness.View, *store)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s := &store{}
		v := freshness.New(freshness.Config{
			Limit: limit, Prove: s.prove, Changed: s.changed, Log: slog.New(slog.NewTextHandler(log, nil)),
		}, time.Now())
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { v.Run(ctx); close(done) }()
		check(v, s)
		cancel()
		<-done
	})
}

// A view is stale when the limit has passed since the last proof was begun, not
// sooner and not later, and fresh with the next one.
func TestStale(t *testing.T) {
	gone := errors.New("connection refused")
	for _, tt := range []struct {
		name string
		err  error
		slow time.Duration
		want string
	}{
		{"the store refuses", gone, 0, "connection refused"},
		{"the store is silent", nil, time.Hour, "did not answer in time"},
		{"the store answers too late to prove anything", nil, limit/2 + 1, "did not answer in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			within(t, &log, func(v *freshness.View, s *store) {
				time.Sleep(time.Hour)
				synctest.Wait()
				if err := v.Stale(time.Now()); err != nil || v.Age(time.Now()) > limit/4 {
					t.Errorf("with a store that answers: %v, age %v", err, v.Age(time.Now()))
				}
				s.set(tt.err, tt.slow)
				fresh := v.Fresh()
				last := time.Now().Add(-v.Age(time.Now()))
				time.Sleep(time.Until(last.Add(limit)))
				synctest.Wait()
				if err := v.Stale(time.Now()); err != nil || len(s.says()) > 0 || fresh.Err() != nil {
					t.Errorf("at the limit: %v, told %v, %v", err, s.says(), fresh.Err())
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				err := v.Stale(time.Now())
				if err == nil || !strings.Contains(err.Error(), tt.want) || authn.FactsOf(err).Kind != authn.Unavailable || authn.FactsOf(err).Mend == "" {
					t.Errorf("past the limit: %v", err)
				}
				if cause := context.Cause(fresh); cause == nil || authn.FactsOf(cause).Kind != authn.Unavailable {
					t.Errorf("past the limit who waits is told %v", cause)
				}
				time.Sleep(time.Hour)
				if told := s.says(); len(told) != 1 || told[0] == nil {
					t.Errorf("told %v", told)
				}
				s.set(nil, 0)
				time.Sleep(limit/2 + time.Second)
				synctest.Wait()
				if err, told := v.Stale(time.Now()), s.says(); err != nil || len(told) != 2 || told[1] != nil || v.Fresh().Err() != nil {
					t.Errorf("with a store that answers again: %v, told %v", err, told)
				}
			})
			if n := strings.Count(log.String(), "\n"); n != 2 {
				t.Errorf("%d lines of log:\n%s", n, log.String())
			}
		})
	}
}

// A slow proof holds from when it was begun.
func TestSlowProof(t *testing.T) {
	within(t, &bytes.Buffer{}, func(v *freshness.View, s *store) {
		s.set(nil, 4*time.Second)
		time.Sleep(time.Hour)
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			if age := v.Age(time.Now()); age > 8*time.Second {
				t.Errorf("age %v", age)
				return
			}
		}
		if v.Stale(time.Now()) != nil || len(s.says()) > 0 {
			t.Error("it is stale")
		}
	})
}

// A few attempts are made, whatever the store says.
func TestFewAttempts(t *testing.T) {
	for name, err := range map[string]error{"good": nil, "bad": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			within(t, &bytes.Buffer{}, func(_ *freshness.View, s *store) {
				s.set(err, 0)
				time.Sleep(10 * limit)
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.asked < 40 || s.asked > 110 {
					t.Errorf("%d attempts in ten times the limit", s.asked)
				}
			})
		})
	}
}

// A process that was stopped knows it as soon as it goes on.
func TestStopped(t *testing.T) {
	within(t, &bytes.Buffer{}, func(v *freshness.View, _ *store) {
		if v.Stale(time.Now().Add(limit+time.Second)) == nil {
			t.Error("it is fresh in the future")
		}
	})
}

func BenchmarkStale(b *testing.B) {
	v := freshness.New(freshness.Config{Limit: time.Hour}, time.Now())
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if v.Stale(now) != nil {
			b.Fatal("stale")
		}
	}
}
