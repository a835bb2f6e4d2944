package durability_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
)

// TestFullDisk lets the disk run full under a server that writes. It needs a
// small disk, which only root can make.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128m"); err != nil {
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
			t.Skipf("mounting a small disk: %v", err)
		}
		t.Fatal(err)
	}
	// The servers of the test have ended by then: cleanups run backwards.
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	data, filler := filepath.Join(disk, "data"), filepath.Join(disk, "filler")
	s := env.Start(t, "--data-dir", data)
	c := connect(t, s.Kubeconfig, "")
	fillDisk(t, filler)

	acked := writeUntilItEnds(t, c)
	t.Logf("%d writes were acknowledged on a full disk before the server ended", acked)
	s.Kill()
	refuse(t, []string{"no space left on device", "MiB are free", "make room on the disk"},
		"up", "--data-dir", data, "--secure-port", env.FreePort(t))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	c = connect(t, s.Kubeconfig, "")
	for n := range acked {
		if err := c.do(t.Context(), "GET", fmt.Sprintf("/api/v1/namespaces/default/configmaps/d%d", n), nil, nil); err != nil {
			t.Errorf("what was acknowledged as write %d is gone: %v", n, err)
		}
	}
	c.must(t, "POST", "/api/v1/namespaces/default/configmaps", configMap("after", "x"), nil)
}

// writeUntilItEnds returns how many writes were acknowledged before the first
// one that was not.
func writeUntilItEnds(t *testing.T, c *client) int {
	t.Helper()
	value := strings.Repeat("x", 250_000)
	start := time.Now()
	for n := 0; ; n++ {
		if err := c.do(t.Context(), "POST", "/api/v1/namespaces/default/configmaps", configMap(fmt.Sprintf("d%d", n), value), nil); err != nil {
			return n
		}
		if time.Since(start) > 2*time.Minute {
			t.Fatalf("%d writes of 250 kB were acknowledged on a full disk", n)
		}
	}
}

func fillDisk(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
