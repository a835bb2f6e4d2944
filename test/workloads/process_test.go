//go:build linux

package workloads_test

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProcess runs what shows how a process is started, as root and as nobody.
func TestProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	w := newWorld(t)
	for _, s := range w.starters(t) {
		t.Run(s.name, func(t *testing.T) {
			s.skipWithoutNamespaces(t)
			t.Run("files", func(t *testing.T) { testFiles(t, s) })
			t.Run("nothing of the parent", func(t *testing.T) { testNothing(t, s) })
			t.Run("exit codes", func(t *testing.T) { testExits(t, s) })
			t.Run("signals", func(t *testing.T) { testSignals(t, s) })
			t.Run("token dir", func(t *testing.T) { testTokenDir(t, s) })
			t.Run("lost", func(t *testing.T) { testLost(t, s) })
		})
	}
	t.Run("as another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root may choose the user of a process")
		}
		testOtherUser(t, w.starters(t)[0])
	})
	if left := w.admin(t, "get", "pods,leases", "-A", "-l", "gatehouse.dev/workload=run", "-o", "name"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// testFiles looks at the files as the process sees them, and at what is left.
func testFiles(t *testing.T, s starter) {
	j := s.start(t, "-n", "default", "--", "sh", "-c", `cd `+mountPoint+`
		readlink token ca.crt namespace; readlink ..data | cut -c1-4
		cat namespace; echo; cat ca.crt | head -1; cut -c1-3 token
		stat -Lc %a . ..data token
		touch x 2>/dev/null || echo read-only
		rm token 2>/dev/null || echo read-only
		readlink /proc/self/ns/mnt; id -u; ls /run | sort | tr '\n' ' '; echo
		grep -c ' /run/secrets/kubernetes.io/serviceaccount ' /proc/self/mountinfo`)
	code, out := j.end()
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	uid := os.Geteuid()
	if s.credential != nil {
		uid = int(s.credential.Uid)
	}
	got := strings.Split(out, "\n")
	want := []string{"..data/token", "..data/ca.crt", "..data/namespace", "..20", "default", "-----BEGIN CERTIFICATE-----", "eyJ",
		"755", "755", "644", "read-only", "read-only"}
	if code != 0 || len(got) != len(want)+4 || !slices.Equal(got[:len(want)], want) {
		t.Fatalf("exit code %d and\n%s\nwant\n%s", code, out, strings.Join(want, "\n"))
	}
	got = got[len(want):]
	if got[0] == here || got[1] != fmt.Sprint(uid) || got[3] != "2" {
		t.Errorf("namespace %s (here %s), user %s, mounts %s", got[0], here, got[1], got[3])
	}
	entries, err := os.ReadDir("/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(strings.Fields(got[2]), e.Name()) {
			t.Errorf("the process does not see /run/%s", e.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), "kubernetes.io/serviceaccount") {
		t.Errorf("the mount is seen outside, or: %v", err)
	}
}

// testNothing looks for what a process must not get of its parent.
func testNothing(t *testing.T, s starter) {
	j := s.start(t, "--env", "GIVEN=yes", "--env", "SECRET_NOT_SET", "--", "sh", "-c", `env | cut -d= -f1 | sort | tr '\n' ' '; echo
		ls -m /proc/$$/fd
		wc -c <"$1"
		cat /proc/$PPID/environ 2>&1 | tr '\0' '\n' | grep -c canary
		grep -c . /proc/self/status >/dev/null; grep Cap[PEA][rfm] /proc/self/status | cut -f2 | sort -u | tr '\n' ' '`, "sh", s.kubeconfig)
	code, out := j.end()
	got := strings.Split(out, "\n")
	if code != 0 || len(got) != 5 {
		t.Fatalf("exit code %d and\n%s", code, out)
	}
	if want := "GIVEN HOME KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT LC_ALL PATH PWD"; strings.TrimSpace(got[0]) != want {
		t.Errorf("variables %s, want %s", got[0], want)
	}
	if strings.TrimSpace(got[1]) != "0, 1, 2" {
		t.Errorf("descriptors %s, want 0, 1, 2", got[1])
	}
	if got[2] != "0" {
		t.Errorf("the kubeconfig of the parent has %s bytes, want none", got[2])
	}
	if unprivileged := s.name != "root"; unprivileged && got[3] != "0" {
		t.Errorf("the variables of the parent can be read")
	} else if unprivileged && strings.TrimSpace(got[4]) != "0000000000000000" {
		t.Errorf("capabilities %s, want none", got[4])
	}
	if text, err := os.ReadFile(s.kubeconfig); err != nil || len(text) == 0 {
		t.Errorf("the kubeconfig is gone outside too: %v", err)
	}
}

func testExits(t *testing.T, s starter) {
	plain := filepath.Join(s.home, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(s.home, "broken")
	if err := os.WriteFile(broken, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		said string // on standard error
	}{
		{"0", []string{"--", "true"}, 0, ""},
		{"1", []string{"--", "false"}, 1, ""},
		{"without dashes", []string{"sh", "-c", "exit 3"}, 3, ""},
		{"255", []string{"--", "sh", "-c", "exit 255"}, 255, ""},
		{"TERM", []string{"--", "sh", "-c", "kill -TERM $$"}, 143, ""},
		{"KILL", []string{"--", "sh", "-c", "kill -KILL $$"}, 137, ""},
		{"no such program", []string{"--", "/no/such/program"}, 127, "no such file"},
		{"no such program in PATH", []string{"--", "no-such-program"}, 127, "not found in $PATH"},
		{"not executable", []string{"--", plain}, 126, "permission denied"},
		{"no format of a program", []string{"--", broken}, 126, "exec format error"},
		{"no such account", []string{"--serviceaccount", "nobody-knows", "--", "true"}, 125, `"nobody-knows" not found`},
		{"no rights there", []string{"-n", "kube-system", "--", "true"}, 125, "forbidden"},
		{"no such kubeconfig", []string{"--kubeconfig", "/no/such/file", "--", "true"}, 125, "no such file"},
		{"no command", []string{}, 2, "no command to run"},
		{"no flag", []string{"--nope", "--", "true"}, 2, "there is no such flag"},
		{"no choice", []string{"--on-lost", "panic", "--", "true"}, 2, "choose terminate or continue"},
		{"too short", []string{"--refresh-interval", "10ms", "--", "true"}, 2, "too short or too long"},
		{"too long", []string{"--refresh-interval", "9m", "--", "true"}, 2, "too short or too long"},
		{"no name", []string{"--name", "A_b", "--", "true"}, 2, "is no name"},
		{"a kubeconfig for the process", []string{"--env", "KUBECONFIG=/x", "--", "true"}, 2, "who the process is"},
		{"no such user", []string{"--user", "no-such-user", "--", "true"}, 2, "--user"},
	} {
		if tt.code == 2 && s.credential != nil {
			continue // a command line is wrong for everybody
		}
		t.Run(tt.name, func(t *testing.T) {
			j := s.start(t, tt.args...)
			code, out := j.end()
			if said := j.said(); code != tt.code || !strings.Contains(said, tt.said) || (tt.said == "") != (said == "") || out != "" {
				t.Errorf("exit code %d, printed %q and said\n%s\nwant %d and %q", code, out, said, tt.code, tt.said)
			}
		})
	}
}

// testSignals sends each signal that has to get through.
func testSignals(t *testing.T, s starter) {
	signals := []struct {
		name   string
		signal syscall.Signal
	}{
		{"INT", syscall.SIGINT}, {"HUP", syscall.SIGHUP}, {"QUIT", syscall.SIGQUIT}, {"USR1", syscall.SIGUSR1},
		{"USR2", syscall.SIGUSR2}, {"ALRM", syscall.SIGALRM}, {"WINCH", syscall.SIGWINCH}, {"TSTP", syscall.SIGTSTP}, {"CONT", syscall.SIGCONT},
	}
	script := ""
	for _, sig := range signals {
		script += fmt.Sprintf("trap 'echo %s' %s\n", sig.name, sig.name)
	}
	// A shell cannot trap what was ignored when it began, as nohup has it of HUP.
	// What is handled here is not ignored in what is started.
	handled := make(chan os.Signal, 1)
	for _, sig := range signals {
		signal.Notify(handled, sig.signal)
	}
	defer signal.Stop(handled)
	j := s.start(t, "--", "sh", "-c", script+"trap 'echo TERM; exit 9' TERM\necho ready\nwhile :; do sleep 0.05; done")
	j.until("ready")
	for _, sig := range signals {
		if err := j.cmd.Process.Signal(sig.signal); err != nil {
			t.Fatal(err)
		}
		if got := j.line(); got != sig.name {
			t.Errorf("after SIG%s it says %q", sig.name, got)
		}
	}
	if err := j.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, out := j.end(); code != 9 || out != "TERM" {
		t.Errorf("after SIGTERM exit code %d, printed %q", code, out)
	}

	// One that is not handled ends it, and one that stops it can be taken back.
	j = s.start(t, "--", "sh", "-c", "echo $$; echo ready; while :; do sleep 0.05; echo tick; done")
	pid := j.line()
	j.until("ready")
	state := func(want string) {
		t.Helper()
		for start := time.Now(); time.Since(start) < limit; time.Sleep(10 * time.Millisecond) {
			text, err := os.ReadFile("/proc/" + pid + "/stat")
			if err != nil {
				t.Fatal(err)
			}
			if fields := strings.Fields(string(text)); (fields[2] == "T") == (want == "T") {
				return
			}
		}
		t.Fatalf("the process is not in state %s", want)
	}
	for _, step := range []struct {
		signal syscall.Signal
		state  string
	}{{syscall.SIGTSTP, "T"}, {syscall.SIGCONT, "R"}} {
		if err := j.cmd.Process.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		state(step.state)
	}
	if err := j.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if code, _ := j.end(); code != 128+int(syscall.SIGUSR1) {
		t.Errorf("after SIGUSR1 exit code %d", code)
	}
}

// testTokenDir has kubectl find its way by the files in a folder.
func testTokenDir(t *testing.T, s starter) {
	dir := filepath.Join(s.home, "token")
	kubectl := filepath.Join(s.home, "kubectl")
	share(t, s.w.kubectl, kubectl)
	j := s.start(t, "--token-dir", dir, "--", "sh", "-c", `stat -Lc %a "$0" "$0"/token; readlink "$0"/token; `+kubectl+` auth whoami -o 'jsonpath={.status.userInfo.username}'; echo; echo $KUBECONFIG
		readlink /proc/self/ns/mnt; ls -m /proc/$$/fd`, dir)
	code, out := j.end()
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{"700", "600", "..data/token", "system:serviceaccount:default:testsa", dir + "/kubeconfig", here, "0, 1, 2"}, "\n")
	if code != 0 || strings.TrimSpace(out) != want {
		t.Errorf("exit code %d and\n%s\nwant\n%s\n%s", code, out, want, j.said())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}

	first := s.start(t, "--token-dir", dir, "--", "sh", "-c", "echo ready; exec sleep 1000")
	first.until("ready")
	second := s.start(t, "--token-dir", dir, "--", "true")
	if code, _ := second.end(); code != 125 || !strings.Contains(second.said(), "another gatehouse run's") {
		t.Errorf("a second one in the folder: exit code %d, %s", code, second.said())
	}
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := first.end(); code != 143 {
		t.Errorf("exit code %d", code)
	}

	open := filepath.Join(s.home, "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	j = s.start(t, "--token-dir", open, "--", "true")
	if code, _ := j.end(); code != 125 || !strings.Contains(j.said(), "others than its owner may write") {
		t.Errorf("a folder for everybody: exit code %d, %s", code, j.said())
	}
	if err := os.Chmod(open, 0o755); err != nil { // and it is that of who runs the test
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return // nobody else's folder can be made
	}
	if s.credential == nil {
		if err := os.Chown(open, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	j = s.start(t, "--token-dir", open, "--", "true")
	if code, _ := j.end(); code != 125 || !strings.Contains(j.said(), "belongs to somebody else") {
		t.Errorf("a folder of somebody else: exit code %d, %s", code, j.said())
	}
}

// testLost deletes the Pod of a process, which is told so.
func testLost(t *testing.T, s starter) {
	name := "lost-" + s.name
	j := s.start(t, "--name", name, "--refresh-interval", "1s", "--", "sh", "-c", "trap 'echo told; exit 4' TERM; echo ready; while :; do sleep 0.05; done")
	j.until("ready")
	s.w.admin(t, "delete", "pod", name)
	if code, out := j.end(); code != 4 || out != "told" {
		t.Errorf("exit code %d, printed %q", code, out)
	}
	if said := j.said(); !strings.Contains(said, "the Pod was deleted") || !strings.Contains(said, "is ended") {
		t.Errorf("it said\n%s", said)
	}
}

func testOtherUser(t *testing.T, s starter) {
	j := s.start(t, "--user", "nobody", "--", "sh", "-c", `id -u; id -g; cut -c1-3 `+mountPoint+`/token; echo $HOME; cat "$0" 2>&1 | grep -c runner; grep CapEff /proc/self/status | cut -f2`, s.kubeconfig)
	code, out := j.end()
	if want := "65534\n65534\neyJ\n/nonexistent\n0\n0000000000000000"; code != 0 || out != want {
		t.Errorf("exit code %d and\n%s\nwant\n%s\n%s", code, out, want, j.said())
	}
	dir := filepath.Join(s.home, "of-nobody")
	j = s.start(t, "--user", "nobody", "--token-dir", dir, "--", "sh", "-c", `id -u; cut -c1-3 "$0"/token`, dir)
	if code, out := j.end(); code != 0 || out != "65534\neyJ" {
		t.Errorf("exit code %d and\n%s\n%s", code, out, j.said())
	}
}
