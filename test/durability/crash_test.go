package durability_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
)

const (
	rounds        = 20
	roundsNightly = 100
	// minAcked is how many writes a round must have acknowledged before the
	// server is killed, for the round to count.
	minAcked = 100
)

// TestNothingAcknowledgedIsLost kills a server in the middle of writes, again
// and again, as a power cut would.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	n := rounds
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		n = roundsNightly
	}
	s := env.Start(t)
	l := &load{deletes: true}
	var slowest time.Duration
	for round := range n {
		c := connect(t, s.Kubeconfig, "")
		before := l.acked.Load()
		ended := make(chan error, 1)
		go func() { ended <- l.run(t.Context(), c) }()
		eventually(t, time.Minute, "the load", func() error {
			if l.acked.Load()-before < minAcked {
				return errTooFew
			}
			return nil
		})
		time.Sleep(rand.N(20 * time.Millisecond))
		s.Kill()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: a write was refused: %v", round, err)
		}
		start := time.Now()
		s.Restart()
		slowest = max(slowest, time.Since(start))
		there := l.check(t, connect(t, s.Kubeconfig, ""))
		if t.Failed() {
			t.Fatalf("after the kill of round %d", round)
		}
		if there < writers*keysPerWriter/2 {
			t.Fatalf("round %d: only %d objects are there, so little was proved", round, there)
		}
	}
	t.Logf("%d kills, %d acknowledged writes, all there; slowest restart %v", n, l.acked.Load(), slowest.Round(time.Millisecond))
}
