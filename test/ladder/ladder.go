// Package ladder holds what authenticators say against what an operator needs
// to hear: of each refusal its kind, what was compared last and did not hold,
// and what would mend it.
package ladder

import (
	"errors"
	"testing"

	"gatehouse.dev/gatehouse/authn"
)

// Why returns the last refusal in err as "KIND: WHAT", where WHAT is what was
// compared and did not hold, or "passed" if err is no refusal. It fails the
// test if the refusal does not explain itself.
func Why(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return "accepted"
	}
	var last *authn.Rung
	for _, r := range authn.Ladder(err) {
		if r.Found == authn.Refused {
			last = &r
		}
	}
	if last == nil {
		if !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("%v is neither a refusal nor a pass", err)
		}
		return "passed"
	}
	if last.Method == "" || last.Kind == "" || last.Kind == authn.Other || last.Reason == "" {
		t.Errorf("%v is refused without a reason that counts: %+v", err, last)
	}
	what := ""
	for i, c := range last.Checks {
		if c.What == "" || c.Got == "" && c.Want == "" && !c.OK {
			t.Errorf("%v: check %+v compares nothing", err, c)
		}
		if final := i == len(last.Checks)-1; c.OK && final && last.Kind != authn.Unavailable || !c.OK && !final {
			t.Errorf("%v: the checks do not end with the one that failed: %+v", err, last.Checks)
		}
		if !c.OK {
			what = c.What
		}
	}
	if last.Mend == "" {
		t.Errorf("%v: nothing would mend it", err)
	}
	return string(last.Kind) + ": " + what
}
