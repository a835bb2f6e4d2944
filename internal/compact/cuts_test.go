package compact_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/compact"
)

// What was added stays as it is, whatever is added behind it, in whatever room.
func TestCuts(t *testing.T) {
	for _, room := range []int{0, 3, 2000} {
		for _, wanted := range [][]string{{"one", "", "three"}, {}, {""}, {"a longer one", strings.Repeat("x", 1000), "o"}} {
			add := func() (made []string) {
				var cuts compact.Cuts
				cuts.Grow(room)
				for _, text := range wanted {
					behind := []byte(text[len(text)/2:])
					made = append(made, cuts.Add(text[:len(text)/2], behind))
					clear(behind)
				}
				return made
			}
			if made := add(); !slices.Equal(made, wanted) {
				t.Errorf("in room for %d: %q, want %q", room, made, wanted)
			}
		}
	}
	text := []byte("text")
	if n := testing.AllocsPerRun(10, func() {
		var cuts compact.Cuts
		cuts.Grow(64)
		for range 8 {
			cuts.Add("a ", text)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
