package audit_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"

	"gatehouse.dev/gatehouse/internal/audit"
)

// A slow backend takes its time to deliver what it has.
type slow time.Duration

func (slow) ProcessEvents(...*auditinternal.Event) bool { return true }
func (slow) Run(<-chan struct{}) error                  { return nil }
func (s slow) Shutdown()                                { time.Sleep(time.Duration(s)) }
func (slow) String() string                             { return "slow" }

// A webhook that is down does not keep the server from stopping.
func TestShutdownEnds(t *testing.T) {
	for _, test := range []struct {
		takes, want time.Duration
		lost        bool
	}{
		{0, 0, false},
		{29 * time.Second, 29 * time.Second, false},
		{31 * time.Second, 30 * time.Second, true},
		{10 * time.Minute, 30 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			trail, err := audit.NewOver(slow(test.takes))
			if err != nil {
				t.Fatal(err)
			}
			if err := trail.Start(); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			err = trail.Shutdown()
			if took := time.Since(begin); took != test.want || (err != nil) != test.lost {
				t.Errorf("%v: stopped after %v: %v", test.takes, took, err)
			}
			if test.lost && !strings.Contains(err.Error(), "are lost") {
				t.Errorf("said %v", err)
			}
			if err := trail.Shutdown(); err != nil {
				t.Errorf("a second time: %v", err)
			}
			time.Sleep(test.takes) // until the backend has given up
		})
	}
}
