package readme_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/tools"
)

// startLimit is for a machine that has to compile everything first.
const startLimit = 15 * time.Minute

// TestSession types the session of README.md into a shell, in a copy of the
// tree. If another process has the port that the server would take, it gets one
// of its own, which the test says.
func TestSession(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	root := tools.Root(t)
	lines := session(t, filepath.Join(root, "README.md"))
	if len(lines) != 5 || !strings.HasSuffix(lines[0], "gatehouse up") {
		t.Fatalf("the session is not five lines that begin with gatehouse up: %q", lines)
	}
	dir := copyTree(t, root)
	start(t, dir, lines[0])

	script := exec.Command("sh", "-eu", "-c", strings.Join(lines[1:], "\n"))
	script.Dir = dir
	script.Env = append(os.Environ(),
		"HOME="+t.TempDir(),
		"PATH="+filepath.Dir(tools.Kubectl(t, "1.37"))+string(filepath.ListSeparator)+os.Getenv("PATH"))
	out, err := script.CombinedOutput()
	if err != nil {
		t.Fatalf("running the session: %v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^Username +gatehouse-admin$`,
		`(?m)^serviceaccount/demo created$`,
		`(?m)^eyJ[\w-]+\.[\w-]+\.[\w-]+$`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the session does not print %s:\n%s", want, out)
		}
	}
}

// TestLinks follows the links of the pages to files of the tree.
func TestLinks(t *testing.T) {
	root := tools.Root(t)
	pages, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	var followed int
	for _, page := range append(pages, docs...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllStringSubmatch(string(text), -1) {
			followed++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", filepath.Base(page), m[1])
			}
		}
	}
	if followed == 0 {
		t.Error("found no link, so none was checked")
	}
}

// session returns the lines of the first block of shell commands in a page.
func session(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "\n```sh\n")
	block, _, closed := strings.Cut(after, "\n```\n")
	if !found || !closed {
		t.Fatalf("%s has no block of shell commands", page)
	}
	return strings.Split(block, "\n")
}

// copyTree copies what the go command reads, so that the session finds the
// folder as a clone has it and leaves nothing in ours.
func copyTree(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		top, _, _ := strings.Cut(rel, string(filepath.Separator))
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(top, ".") || top == "bin" || top == "gatehouse-data" || top == "test") {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), text, 0o644)
	})
	if err != nil {
		t.Fatalf("copying the tree: %v", err)
	}
	return dir
}

// start runs a command that serves, and waits until it says that it is ready.
func start(t *testing.T, dir, command string) {
	t.Helper()
	if port, ok := free(t, "127.0.0.1:6443"); !ok {
		t.Logf("port 6443 is taken; the server gets port %d", port)
		command += " --secure-port " + strconv.Itoa(port)
	}
	logPath := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// A group of its own gets the interrupt, as in a terminal: go run leaves it
	// to the program that it runs.
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getenv("GATEHOUSE_TEST_RACE") == "1" {
		// The other tests have compiled nearly everything that way.
		cmd.Env = append(os.Environ(), "GOFLAGS=-race -buildvcs=false")
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); errors.Is(err, syscall.ESRCH) {
			return
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			t.Error("the server did not stop when interrupted")
		}
	})
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(logPath)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("msg=ready")) {
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("the server ended: %v\n%s", err, text)
		default:
		}
		if time.Since(begin) > startLimit {
			t.Fatalf("the server is not ready:\n%s", text)
		}
	}
}

// free reports whether nobody listens on address; if somebody does, it returns
// another port.
func free(t *testing.T, address string) (int, bool) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	ok := err == nil
	if !ok {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatalf("finding a free port: %v", err)
		}
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, ok
}

// TestDependencies compares docs/dependencies.md with go.mod: what is needed is
// explained, and what is explained is needed.
func TestDependencies(t *testing.T) {
	root := tools.Root(t)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+(.*)$`).FindAllStringSubmatch(string(mod), -1) {
		direct := !strings.Contains(m[2], "indirect")
		required[m[1]] = true
		if direct && !bytes.Contains(page, []byte("| "+m[1]+" |")) {
			t.Errorf("docs/dependencies.md does not explain %s", m[1])
		}
	}
	explained := regexp.MustCompile(`(?m)^\| (\S+[./]\S+) \|`).FindAllStringSubmatch(string(page), -1)
	if len(explained) < 10 {
		t.Fatalf("found %d modules, so the page was not read", len(explained))
	}
	for _, m := range explained {
		if !required[m[1]] {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require", m[1])
		}
	}
}
