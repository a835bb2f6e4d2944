// Package tools builds the programs that the tests run: the gatehouse binary of
// this tree, and real kubectl, unmodified, from its published modules.
//
// The go command does the work and its build cache makes a second time cheap.
// The binaries lie outside of the tree, in the folder that GATEHOUSE_TEST_CACHE
// names or else in the user's cache. With GATEHOUSE_TEST_RACE=1 gatehouse is
// built with the race detector; what is not ours never is.
//
// Nothing is looked for in PATH: a program that is not what its name says would
// make the tests say something else than they seem to.
package tools

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofrs/flock"
)

// kubectls are the exact versions by the name of their folder in test/kubectl.
var kubectls = map[string]string{
	"1.28": "v1.28.15",
	"1.37": "v1.37.2",
}

// Kubectl returns the path of a kubectl of a minor version such as "1.28". It
// has the name kubectl, in a folder of its own.
func Kubectl(t testing.TB, minor string) string {
	t.Helper()
	version, ok := kubectls[minor]
	if !ok {
		t.Fatalf("there is no kubectl %s in test/kubectl", minor)
	}
	return build(t, program{
		in:     filepath.Join(Root(t), "test", "kubectl", "v"+minor),
		of:     ".",
		to:     filepath.Join(cache(t), "kubectl-"+version, "kubectl"),
		stamps: []string{"gitVersion=" + version, "gitMajor=1", "gitMinor=" + minor[2:]},
	})
}

// Gatehouse returns the path of the gatehouse binary of this tree.
func Gatehouse(t testing.TB) string {
	t.Helper()
	root := Root(t)
	observe(t, root)
	// A second checkout on the same machine has a folder of its own.
	dir := fmt.Sprintf("gatehouse-%.8x", sha256.Sum256([]byte(root)))
	race := os.Getenv("GATEHOUSE_TEST_RACE") == "1"
	if race {
		dir += "-race"
	}
	return build(t, program{
		in:   root,
		of:   "./cmd/gatehouse",
		to:   filepath.Join(cache(t), dir, "gatehouse"),
		race: race,
	})
}

// Root returns the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("finding the module: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "arch_test.go")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("finding the module: the test is not run in it")
		}
		dir = parent
	}
}

// observe looks at every folder of the module, so that the test cache knows
// that the result depends on them: it cannot see what the go command reads.
func observe(t testing.TB, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") && d.IsDir() {
			return filepath.SkipDir
		}
		if name := d.Name(); strings.HasSuffix(name, ".go") || name == "go.mod" || name == "go.sum" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("looking at the module: %v", err)
	}
}

func cache(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("GATEHOUSE_TEST_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("finding a cache folder (GATEHOUSE_TEST_CACHE names another): %v", err)
	}
	return filepath.Join(dir, "gatehouse-test")
}

// A program is what to build, and where to put it.
type program struct {
	in, of, to string
	race       bool
	// pure leaves out what is written in C.
	pure bool
	// stamps are set in k8s.io/component-base/version.
	stamps []string
}

// build builds p, unless what is there is what would be built: the go command
// knows. Several test binaries may ask at the same time; one builds and the
// others wait.
func build(t testing.TB, p program) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.to), 0o755); err != nil {
		t.Fatalf("building %s: %v", p.of, err)
	}
	lock := flock.New(p.to + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatalf("waiting for others that build %s: %v", p.of, err)
	}
	defer lock.Close()

	args := []string{"build", "-o", p.to}
	if p.race {
		args = append(args, "-race")
	}
	if len(p.stamps) > 0 {
		var flags strings.Builder
		flags.WriteString("-s -w")
		for _, s := range p.stamps {
			fmt.Fprintf(&flags, " -X k8s.io/component-base/version.%s", s)
		}
		args = append(args, "-ldflags", flags.String())
	}
	cmd := exec.Command("go", append(args, p.of)...)
	cmd.Dir = p.in
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if p.pure {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s in %s: %v\n%s", p.of, p.in, err, out)
	}
	return p.to
}
