package verified_test

import (
	"testing"

	"gatehouse.dev/gatehouse/authn/verified"
)

// A scratch that is given back is somebody else's: nothing is written into it any
// more, or his key would be that of other bytes.
func TestScratchIsGivenBackLast(t *testing.T) {
	if got := verified.AfterGivingBack("what the next one writes"); got != "what the next one writes" {
		t.Errorf("the next one digests %q", got)
	}
}
