package compact_test

import (
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/compact"
)

// Each string becomes its own part, whatever was made before it in the same memory.
func TestCuts(t *testing.T) {
	var token compact.Token
	for _, wanted := range [][]string{{"one", "", "three"}, {}, {""}, {"a longer one", strings.Repeat("x", 1000), "o"}, {"1"}} {
		var abandoned string
		token.Cuts().Add(&abandoned, "not", []byte("made"))
		made, cuts := make([]string, len(wanted)), token.Cuts()
		for i, text := range wanted {
			cuts.Add(&made[i], text[:len(text)/2], []byte(text[len(text)/2:]))
		}
		cuts.Make()
		for i, text := range wanted {
			if made[i] != text {
				t.Errorf("%q is made of %q", made[i], text)
			}
		}
		if abandoned != "" {
			t.Errorf("%q: %q is made of what was abandoned", wanted, abandoned)
		}
	}
}
