//go:build linux

// Package workloads_test runs programs as workloads: the built gatehouse starts
// them, as root and as nobody, and a real server lets them in.
//
// Who starts them is a service account with the ClusterRole that is meant for it,
// so that the tests say that it is enough.
package workloads_test

import (
	"bufio"
	"encoding/base64"
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
	// mountPoint is where the files are.
	mountPoint = "/var/run/secrets/kubernetes.io/serviceaccount"
	// limit ends what hangs.
	limit = time.Minute
	// nobody is the user and the group of that name.
	nobody = 65534
)

// A world is a server with a service account testsa, and one that may run
// processes as it.
type world struct {
	*env.Server
	kubectl string
}

func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	w := &world{Server: env.Start(t, flags...), kubectl: tools.Kubectl(t, "1.37")}
	for _, account := range []string{"testsa", "runner"} {
		w.admin(t, "create", "serviceaccount", account)
	}
	w.admin(t, "create", "rolebinding", "runner", "--clusterrole=gatehouse:workload-runner", "--serviceaccount=default:runner")
	return w
}

// admin runs kubectl as the administrator.
func (w *world) admin(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.with(t, append([]string{"--kubeconfig", w.Kubeconfig}, args...)...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (w *world) with(t *testing.T, args ...string) (string, error) {
	cmd := exec.Command(w.kubectl, args...)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// accepts reports whether the server lets a token in.
func (w *world) accepts(t *testing.T, token string) bool {
	t.Helper()
	out, err := w.with(t, "--kubeconfig", "/dev/null", "--server", w.Address, "--certificate-authority", filepath.Join(w.DataDir, "ca.crt"),
		"--token", token, "auth", "whoami")
	if err != nil && !strings.Contains(out, "Unauthorized") {
		t.Fatalf("asking about a token: %v\n%s", err, out)
	}
	return err == nil
}

// A starter is who starts gatehouse run, with files that it may read.
type starter struct {
	w          *world
	name       string
	credential *syscall.Credential
	binary     string
	home       string
	kubeconfig string
}

// starters are root and nobody, as far as this test may be them.
func (w *world) starters(t *testing.T) []starter {
	t.Helper()
	binary := tools.Gatehouse(t)
	if os.Geteuid() != 0 {
		t.Log("gatehouse run is not tested as root, because the test is not")
		return []starter{w.starter(t, "unprivileged", binary, nil)}
	}
	// What is in the cache of the user is for nobody else.
	copied := filepath.Join(openDir(t), "gatehouse")
	share(t, binary, copied)
	return []starter{
		w.starter(t, "root", binary, nil),
		w.starter(t, "nobody", copied, &syscall.Credential{Uid: nobody, Gid: nobody}),
	}
}

// openDir is a folder that other users get to.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// share makes the program at from one that everybody may run.
func share(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) starter(t *testing.T, name, binary string, credential *syscall.Credential) starter {
	t.Helper()
	s := starter{w: w, name: name, binary: binary, credential: credential, home: filepath.Join(openDir(t), "home")}
	s.kubeconfig = filepath.Join(s.home, ".kube", "config")
	if err := os.MkdirAll(filepath.Dir(s.kubeconfig), 0o755); err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(w.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	token := w.admin(t, "create", "token", "runner", "--duration=1h")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "%s", certificate-authority-data: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: default}}]
current-context: x
`, w.Address, base64.StdEncoding.EncodeToString(authority), token)
	if err := os.WriteFile(s.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if credential != nil {
		for _, path := range []string{s.home, filepath.Dir(s.kubeconfig), s.kubeconfig} {
			if err := os.Chown(path, int(credential.Uid), int(credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// A job is one gatehouse run.
type job struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string
	stderr env.Output
	ended  chan error
}

// start starts gatehouse run with flags and, behind a "--", a command. It has no
// terminal.
func (s starter) start(t *testing.T, args ...string) *job {
	t.Helper()
	j := &job{t: t, lines: make(chan string, 10000), ended: make(chan error, 1)}
	j.cmd = exec.Command(s.binary, append([]string{"run", "--serviceaccount", "testsa"}, args...)...)
	j.cmd.Dir = "/"
	j.cmd.Env = []string{"HOME=" + s.home, "PATH=/usr/local/bin:/usr/bin:/bin", "KUBECONFIG=" + s.kubeconfig,
		"GATEHOUSE_SECRET=canary", "SECRET=canary", "KUBERNETES_SERVICE_HOST=canary.example", "LC_ALL=C"}
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.credential}
	secret, err := os.Open(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	j.cmd.ExtraFiles = []*os.File{secret, secret, secret}
	stdout, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	j.cmd.Stderr = &j.stderr
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		scanner := bufio.NewScanner(stdout)
		for scanner.Scan() {
			j.lines <- scanner.Text()
		}
		close(j.lines)
		j.ended <- j.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = j.cmd.Process.Kill() // most have ended
		if t.Failed() {
			t.Logf("gatehouse run says:\n%s", j.said())
		}
	})
	return j
}

// said is what was printed on standard error so far.
func (j *job) said() string { return j.stderr.String() }

// line returns the next line, or fails the test.
func (j *job) line() string {
	j.t.Helper()
	select {
	case line, ok := <-j.lines:
		if !ok {
			j.t.Fatalf("it has ended; it said:\n%s", j.said())
		}
		return line
	case <-time.After(limit):
		j.t.Fatalf("it prints nothing; it said:\n%s", j.said())
	}
	return ""
}

// until reads lines until one is as wanted.
func (j *job) until(want string) {
	j.t.Helper()
	for line := j.line(); line != want; line = j.line() {
	}
}

// end waits for the end, and returns the exit code and what else was printed.
func (j *job) end() (int, string) {
	j.t.Helper()
	var lines []string
	deadline := time.After(limit)
	for {
		select {
		case line, ok := <-j.lines:
			if ok {
				lines = append(lines, line)
				continue
			}
			err := <-j.ended
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return exit.ExitCode(), strings.Join(lines, "\n")
			}
			if err != nil {
				j.t.Fatal(err)
			}
			return 0, strings.Join(lines, "\n")
		case <-deadline:
			j.t.Fatalf("it does not end; it said:\n%s", j.said())
		}
	}
}

// skipWithoutNamespaces says so where the system allows no mount namespaces.
func (s starter) skipWithoutNamespaces(t *testing.T) {
	t.Helper()
	j := s.start(t, "--", "true")
	if code, _ := j.end(); code != 0 && strings.Contains(j.said(), "a mount namespace is not allowed here") {
		t.Skipf("this system does not let %s have mount namespaces: %s", s.name, j.said())
	} else if code != 0 {
		t.Fatalf("exit code %d: %s", code, j.said())
	}
}
