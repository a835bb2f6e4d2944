package tools

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gofrs/flock"
)

// Dex returns the path of Dex v2.45.1, whose module has pseudo-versions only.
func Dex(t testing.TB) string {
	t.Helper()
	return build(t, program{
		in:   filepath.Join(Root(t), "test", "dex"),
		of:   "github.com/dexidp/dex/cmd/dex",
		to:   filepath.Join(cache(t), "dex-v2.45.1", "dex"),
		pure: true, // a storage that nobody here uses would compile SQLite
	})
}

// Kubelogin returns the path of kubelogin, under the name that it has as a
// plugin of kubectl.
func Kubelogin(t testing.TB) string {
	t.Helper()
	return build(t, program{
		in:   filepath.Join(Root(t), "test", "kubelogin"),
		of:   "github.com/int128/kubelogin",
		to:   filepath.Join(cache(t), "kubelogin-v1.36.3", "kubectl-oidc_login"),
		pure: true,
	})
}

// NodeProgram installs the packages that a program of Node.js names in its lock
// file, and returns a folder with both. Source has the program and the file.
func NodeProgram(t testing.TB, source string) string {
	t.Helper()
	dir := filepath.Join(cache(t), "node-"+filepath.Base(source))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("installing %s: %v", source, err)
	}
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatalf("waiting for others that install %s: %v", source, err)
	}
	defer lock.Close()

	installed := filepath.Join(dir, "node_modules")
	_, err := os.Stat(filepath.Join(installed, ".package-lock.json")) // npm writes it last
	fresh := err == nil
	files, err := os.ReadDir(source)
	if err != nil {
		t.Fatalf("installing %s: %v", source, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(source, f.Name()))
		if err != nil {
			t.Fatalf("installing %s: %v", source, err)
		}
		to := filepath.Join(dir, f.Name())
		before, _ := os.ReadFile(to) // nothing, if it is not there
		fresh = fresh && (bytes.Equal(before, text) || filepath.Ext(to) == ".js")
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatalf("installing %s: %v", source, err)
		}
	}
	if fresh {
		return dir
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("installing %s with npm (test/need.sh node npm): %v\n%s", source, err, out)
	}
	return dir
}

// Zlint returns the path of zlint v3.7.3, which lints certificates.
func Zlint(t testing.TB) string {
	t.Helper()
	return build(t, program{
		in:   filepath.Join(Root(t), "test", "zlint"),
		of:   "github.com/zmap/zlint/v3/cmd/zlint",
		to:   filepath.Join(cache(t), "zlint-v3.7.3", "zlint"),
		pure: true,
	})
}
