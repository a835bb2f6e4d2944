// Package validationtest compares what a validation function said with what it
// should have said.
//
// The one idea: the text of an error holds its path, its type, the bad value
// and the detail, and the whole of it is what a user reads, so the whole of it
// is what a test pins. An empty list is as much an expectation as any other.
package validationtest

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Check fails the test unless errs are exactly those of want, in any order.
func Check(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	var got []string
	for _, err := range errs {
		got = append(got, err.Error())
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("errors:\n got: %q\nwant: %q", got, want)
	}
}
