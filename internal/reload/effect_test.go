package reload_test

import (
	"errors"
	"testing"

	"gatehouse.dev/gatehouse/internal/reload"
)

// What keeps a file from being in force is told, what was read wrong first, and
// every failure is counted once.
func TestEffect(t *testing.T) {
	unread, unused := errors.New("it cannot be read"), errors.New("it cannot be used")
	var e reload.Effect
	for i, step := range []struct {
		report error
		read   reload.Status
		want   reload.Status
	}{
		{nil, reload.Status{Successes: 1}, reload.Status{Successes: 1}},
		{unused, reload.Status{Successes: 2}, reload.Status{Successes: 2, Failures: 1, Problem: unused}},
		{unused, reload.Status{Successes: 3}, reload.Status{Successes: 3, Failures: 2, Problem: unused}},
		{unused, reload.Status{Successes: 4, Failures: 1, Problem: unread}, reload.Status{Successes: 4, Failures: 4, Problem: unread}},
		{nil, reload.Status{Successes: 4, Failures: 2, Problem: unread}, reload.Status{Successes: 4, Failures: 5, Problem: unread}},
		{nil, reload.Status{Successes: 5, Failures: 2}, reload.Status{Successes: 5, Failures: 5}},
	} {
		e.Report(step.report)
		if got := e.On(step.read); got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}
