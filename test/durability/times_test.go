package durability_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// What is measured of each kind of Revocation.
const (
	refusedElsewhere = "refused elsewhere, after the call"
	watchCut         = "watch ended, after the request"
	refusedCutOff    = "refused when cut off, after the cut"
	watchCutOff      = "watch ended then, after the cut"
)

// times are how long things took, by kind and by what was measured.
type times struct {
	mu  sync.Mutex
	all map[string]map[string][]time.Duration
}

func newTimes() *times { return &times{all: map[string]map[string][]time.Duration{}} }

func (s *times) add(kind, what string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[what] == nil {
		s.all[what] = map[string][]time.Duration{}
	}
	s.all[what][kind] = append(s.all[what][kind], took)
}

// p99 returns what 99 of 100 of the times, which are sorted, do not exceed.
func p99(took []time.Duration) time.Duration { return took[(len(took)*99+99)/100-1] }

// report logs what was measured.
func (s *times) report(t *testing.T) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(s.all)) {
		for _, kind := range slices.Sorted(maps.Keys(s.all[what])) {
			took := s.all[what][kind]
			slices.Sort(took)
			const digits = 10 * time.Microsecond
			t.Logf("%-37s  %-18s  median %8v  p99 %8v  longest %8v  of %d", what, kind,
				took[len(took)/2].Round(digits), p99(took).Round(digits), took[len(took)-1].Round(digits), len(took))
		}
	}
}

// hold holds what was reported to limits.
func (s *times) hold(t *testing.T, limits map[string]time.Duration) {
	t.Helper()
	for what, limit := range limits {
		if len(s.all[what]) == 0 {
			t.Errorf("nothing was measured of %q", what)
		}
		for kind, took := range s.all[what] {
			if got := p99(took); got >= limit {
				t.Errorf("%s: %s takes %v in the 99th percentile, and %v are promised", kind, what, got, limit)
			}
		}
	}
}
