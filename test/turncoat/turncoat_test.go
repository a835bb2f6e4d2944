package turncoat_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/test/turncoat"
)

// What is asked for twice at a time is told, and what is asked for one after the
// other, or is another thing, is not.
func TestCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		questions, callers, turns int
		want                      turncoat.Counts
	}{
		"several things":                 {3, 1, 1, turncoat.Counts{Asked: 3, Most: 3}},
		"one thing, one after the other": {1, 1, 3, turncoat.Counts{Asked: 3, Most: 1}},
		"one thing, by two":              {1, 2, 1, turncoat.Counts{Asked: 2, Most: 2, Twice: "/0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &turncoat.Service{Key: func(r *http.Request) string { return r.URL.Path }}
				s.Behave(turncoat.Slow(10*time.Second, "{}"))
				before := turncoat.Running()
				for range tt.turns {
					turncoat.Crowd(t.Context(), tt.questions, tt.callers, func(_ context.Context, n int) {
						// Nobody leaves: this counts what the service is asked.
						r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/"+string(rune('0'+n)), nil)
						if err != nil {
							t.Error(err)
							return
						}
						if res, err := s.RoundTrip(r); err != nil {
							t.Error(err)
						} else {
							_ = res.Body.Close()
						}
					}).Wait()
				}
				if got := s.Counts(); got != tt.want {
					t.Errorf("%+v, want %+v", got, tt.want)
				}
				turncoat.Settle(t, before)
			})
		})
	}
}
