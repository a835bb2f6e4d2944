package live_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/live"
)

// crowd returns a registry of n streams, each with a credential of its own.
func crowd(n int, judge func(*identity.Identity) error) (*live.Registry, live.Stay) {
	r := live.New(live.Config{Judge: judge, Patience: time.Second, Log: slog.New(slog.DiscardHandler)})
	var s live.Stay
	for i := range n {
		c := of(fmt.Sprint(i))
		c.until = time.Now().Add(time.Hour)
		s = live.Stay{Who: c.who, Result: c.result(), Again: c.again, Cut: func() {}}
		r.Join(s)
	}
	return r, s
}

// BenchmarkLook is what happens five times a second.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, _ := crowd(n, nil)
			for b.Loop() {
				live.Look(r)
			}
		})
	}
}

// BenchmarkRejudge is what happens when something is revoked.
func BenchmarkRejudge(b *testing.B) {
	r, _ := crowd(10_000, func(who *identity.Identity) error {
		if who.Name == "nobody" {
			return authn.ErrNoCredential
		}
		return nil
	})
	for b.Loop() {
		r.Rejudge()
		live.Look(r)
	}
}

// BenchmarkJoin is what a stream costs.
func BenchmarkJoin(b *testing.B) {
	r, s := crowd(10_000, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Join(s).Leave()
		}
	})
}
