package docs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

const (
	// shownPort is the one in the pages, and otherPort that of a second server.
	shownPort = "7443"
	otherPort = "7444"
	// commandLimit ends what hangs.
	commandLimit = time.Minute
	// repeatLimit is how long a command that reads may take to be right. It is
	// only there so that a failure ends.
	repeatLimit = 20 * time.Second
	// stopLimit is how long the programs of a page may take to end.
	stopLimit = time.Minute
)

// marker is in the pages whose session is run.
const marker = "<!-- run by test/docs -->"

// TestPages types the session of each page into a shell.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	pages, err := filepath.Glob(filepath.Join(tools.Root(t), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var run int
	for _, page := range pages {
		steps := readPage(t, page)
		if steps == nil {
			continue
		}
		run++
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) { runPage(t, page, steps) })
	}
	if run == 0 {
		t.Error("found no page with a session, so none was run")
	}
}

// runPage runs the steps up to the first that is not as the page says: what
// comes after it could not be.
func runPage(t *testing.T, page string, steps []step) {
	for _, s := range steps {
		for _, program := range []string{"openssl", "curl"} {
			if !strings.Contains(s.command, program) {
				continue
			}
			if _, err := exec.LookPath(program); err != nil {
				t.Fatalf("%s uses %s, which is missing: run test/need.sh %[2]s", filepath.Base(page), program)
			}
		}
	}
	sh := startShell(t)
	ports := strings.NewReplacer(shownPort, env.FreePort(t), otherPort, env.FreePort(t))
	for _, s := range steps {
		s.command = ports.Replace(s.command)
		for i := range s.want {
			s.want[i] = ports.Replace(s.want[i])
		}
		if problem := sh.take(s); problem != "" {
			t.Fatalf("docs/%s:%d: $ %s\n%s", filepath.Base(page), s.line, s.command, problem)
		}
	}
}

// A shell is a process that runs one command after the other.
type shell struct {
	in     io.Writer
	exits  chan string // the exit code of each command
	output string      // the file that has what a command printed
}

// startShell starts a shell that ends with the test, with all it has started.
func startShell(t *testing.T) *shell {
	t.Helper()
	path := []string{filepath.Dir(tools.Gatehouse(t)), filepath.Dir(tools.Kubectl(t, "1.37")), os.Getenv("PATH")}
	dir := t.TempDir()
	sh := &shell{exits: make(chan string, 1), output: filepath.Join(t.TempDir(), "output")}
	cmd := exec.Command("sh", "-u")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + strings.Join(path, string(filepath.ListSeparator)), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting a shell: %v", err)
	}
	sh.in = in
	go func() {
		defer close(sh.exits)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			sh.exits <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		end(t, cmd)
		if !t.Failed() {
			return
		}
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Error(err)
		}
		for _, path := range logs {
			text, err := os.ReadFile(path)
			t.Logf("%s (%v):\n%s", filepath.Base(path), err, text)
		}
	})
	return sh
}

// end ends a process and its group, and waits until none of it is left, so that
// nothing writes into folders that are being removed.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	signal := syscall.SIGTERM
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Kill(-cmd.Process.Pid, signal)
		if errors.Is(err, syscall.ESRCH) {
			return
		}
		if signal = 0; time.Since(begin) > stopLimit {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			t.Error("what the page has started does not end")
		}
		// The shell itself is ours to reap.
		_, _ = syscall.Wait4(cmd.Process.Pid, nil, syscall.WNOHANG, nil)
	}
}

// take runs a step, and returns what is wrong with it or "".
func (sh *shell) take(s step) string {
	begin := time.Now()
	for {
		problem := sh.once(s)
		if problem == "" || !s.reads() || time.Since(begin) > repeatLimit {
			return problem
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (sh *shell) once(s step) string {
	// The braces keep the command in the shell itself, so that its variables
	// stay, and its output in one file.
	_, err := fmt.Fprintf(sh.in, "{\n%s\n} >'%s' 2>&1 </dev/null; echo $?\n", s.command, sh.output)
	if err != nil {
		return "the shell has ended: " + err.Error()
	}
	var exit string
	select {
	case code, ok := <-sh.exits:
		if exit = code; !ok {
			exit = "none: the shell has ended"
		}
	case <-time.After(commandLimit):
		return fmt.Sprintf("does not end within %v", commandLimit)
	}
	text, err := os.ReadFile(sh.output)
	if err != nil {
		return err.Error()
	}
	if d := diff(s.want, strings.Split(string(text), "\n")); d != "" {
		return fmt.Sprintf("prints something else (- the page, + the command; exit code %s):\n%s", exit, d)
	}
	if failed := exit != "0"; failed != s.fails() {
		return fmt.Sprintf("has the exit code %s, which what it prints does not tell:\n%s", exit, text)
	}
	return ""
}
