//go:build linux

package workloads_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A session is a shell at a terminal.
type session struct {
	t      *testing.T
	master *os.File
	output chan string
	seen   string
}

// openSession starts an interactive shell that finds gatehouse.
func openSession(t *testing.T, s starter) *session {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatalf("there is no bash to type into: %v", err)
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd := exec.Command(bash, "--norc", "--noprofile", "--noediting", "-i")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", slave, slave, slave
	cmd.Env = []string{"HOME=" + s.home, "PATH=/usr/local/bin:/usr/bin:/bin", "KUBECONFIG=" + s.kubeconfig, "PS1=",
		"RUN=" + s.binary + " run --serviceaccount testsa --"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shell := &session{t: t, master: master, output: make(chan string, 1000)}
	go func() {
		defer close(shell.output)
		for buffer := make([]byte, 4096); ; {
			n, err := master.Read(buffer)
			if err != nil {
				return // the shell has ended
			}
			shell.output <- string(buffer[:n])
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		master.Close()
		if t.Failed() {
			t.Logf("on the terminal:\n%s", shell.seen)
		}
	})
	return shell
}

// send types something.
func (s *session) send(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a text, and returns what came before it since the last time.
func (s *session) until(text string) string {
	s.t.Helper()
	from := len(s.seen)
	deadline := time.After(limit)
	for {
		if i := strings.Index(s.seen[from:], text); i >= 0 {
			before := s.seen[from : from+i]
			s.seen = s.seen[:from+i+len(text)]
			return before
		}
		select {
		case more, ok := <-s.output:
			if !ok {
				s.t.Fatalf("the shell has ended before %q", text)
			}
			s.seen += more
		case <-deadline:
			s.t.Fatalf("%q does not appear", text)
		}
	}
}

// TestTerminal types into a shell that runs a process as a workload.
func TestTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	w := newWorld(t)
	s := w.starters(t)[0]
	s.skipWithoutNamespaces(t)

	t.Run("Ctrl-C arrives once", func(t *testing.T) {
		shell := openSession(t, s)
		shell.send(`$RUN sh -c 'trap "echo got-$((40+2))" INT; trap "echo quit-$((40+3)); exit 5" QUIT; echo ready-$((40+4)); while :; do sleep 0.05; done'; echo code=$?` + "\n")
		shell.until("ready-44")
		shell.send("\x03")
		shell.until("got-42")
		time.Sleep(300 * time.Millisecond) // for one that should not come
		shell.send("\x1c")
		if between := shell.until("quit-43"); strings.Contains(between, "got-42") {
			t.Error("Ctrl-C arrived twice")
		}
		shell.until("code=5")
	})
	t.Run("Ctrl-Z and fg", func(t *testing.T) {
		shell := openSession(t, s)
		shell.send(`$RUN sh -c 'echo ready-$((40+4)); read x; echo read-$x; exit 6'` + "\n")
		shell.until("ready-44")
		shell.send("\x1a")
		shell.until("Stopped")
		shell.send("echo shell-$((1+1))\n")
		shell.until("shell-2")
		shell.send("fg\n")
		shell.until("$RUN")
		time.Sleep(300 * time.Millisecond) // until it has the terminal; typed sooner it is there as well
		shell.send("hello\n")
		shell.until("read-hello")
		shell.send("echo code=$?\n")
		shell.until("code=6")
	})
	t.Run("in the background", func(t *testing.T) {
		shell := openSession(t, s)
		shell.send(`$RUN sh -c 'echo ready-$((40+4)); read x; echo read-$x' &` + "\n")
		shell.until("ready-44")
		shell.send("echo shell-$((1+1))\n")
		shell.until("shell-2")
		// It is stopped because it reads, and the shell is told so.
		shell.send("until jobs | grep -q Stopped; do sleep 0.1; done; echo stopped-$((2+2))\n")
		shell.until("stopped-4")
		shell.send("fg\n")
		time.Sleep(300 * time.Millisecond)
		shell.send("hello\n")
		shell.until("read-hello")
	})
	t.Run("the terminal comes back", func(t *testing.T) {
		shell := openSession(t, s)
		shell.send(`sh -c "$RUN true; read y; echo got-\$y"` + "\n")
		time.Sleep(300 * time.Millisecond)
		shell.send("hello\n")
		shell.until("got-hello")
	})
	t.Run("a terminal of nobody's cannot be stopped", func(t *testing.T) {
		shell := openSession(t, s)
		shell.send(`exec $RUN sh -c 'echo ready-$((40+4)); read x; echo read-$x'` + "\n")
		shell.until("ready-44")
		shell.send("\x1a")
		time.Sleep(500 * time.Millisecond)
		shell.send("hello\n")
		shell.until("read-hello")
	})
}
