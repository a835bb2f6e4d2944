//go:build linux

package workloads_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/tools"
)

// TestUnit has systemd read the unit that is shown as an example.
func TestUnit(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here to read the unit")
	}
	text, err := os.ReadFile(filepath.Join(tools.Root(t), "examples", "systemd", "backup.service"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "gatehouse")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(dir, "backup.service")
	text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/gatehouse", program))
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(verify, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
