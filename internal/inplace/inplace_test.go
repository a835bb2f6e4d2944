package inplace_test

import (
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/inplace"
)

func TestBytes(t *testing.T) {
	for _, s := range []string{"", "a", strings.Repeat("token", 1000)} {
		if got := inplace.Bytes(s); string(got) != s || len(got) != cap(got) {
			t.Errorf("%d of %d bytes of %q", len(got), cap(got), s)
		}
	}
	long := strings.Repeat("x", 1<<16)
	if n := testing.AllocsPerRun(100, func() { inplace.Bytes(long) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
