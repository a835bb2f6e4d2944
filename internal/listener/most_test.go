package listener_test

import (
	"math"
	"testing"

	"gatehouse.dev/gatehouse/internal/listener"
)

func TestMostConns(t *testing.T) {
	for files, want := range map[uint64]int{
		0: 16, 64: 16, 256: 128, 1024: 768, 20_000: 15_000, 1 << 20: 32 << 10, math.MaxUint64: 32 << 10,
	} {
		if got := listener.ConnsOf(files); got != want {
			t.Errorf("with %d files there are %d connections, want %d", files, got, want)
		}
	}
	if got := listener.MostConns(); got < 16 || got > 32<<10 {
		t.Errorf("MostConns() = %d", got)
	}
}
