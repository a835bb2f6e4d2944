//go:build linux

package workloads_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/tools"
)

// An answer is a line of test/incluster.
type answer struct {
	Client           string
	Asked            time.Time
	Token            int
	User, Credential string
	Unauthorized     bool
	Error            string
}

func (j *job) answer() answer {
	j.t.Helper()
	var a answer
	line := j.line()
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		j.t.Fatalf("%q: %v", line, err)
	}
	return a
}

// incluster builds a program that knows nothing of Gatehouse.
func incluster(t *testing.T) string {
	t.Helper()
	to := filepath.Join(openDir(t), "incluster")
	cmd := exec.Command("go", "build", "-o", to, "./test/incluster")
	cmd.Dir = tools.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return to
}

// TestInCluster runs a program that is made for clusters: over new tokens and
// new starts of the server, until its Pod is deleted.
func TestInCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	// How often there is a new token. client-go reads the file about once a minute,
	// so that only in the long form the client that lives on sees them all.
	interval, tokens := time.Second, 4
	long := os.Getenv("GATEHOUSE_NIGHTLY") == "1"
	if long {
		interval = 90 * time.Second
	}
	program := incluster(t)
	w := newWorld(t)
	for _, s := range w.starters(t) {
		t.Run(s.name, func(t *testing.T) {
			s.skipWithoutNamespaces(t)
			if s.name != "root" && long {
				t.Skip("the long form is run once")
			}
			name := "program-" + s.name
			j := s.start(t, "--name", name, "--refresh-interval", interval.String(), "--on-lost", "continue", "--", program)
			fresh, old := map[string]bool{}, map[string]bool{}
			good := func(a answer) {
				t.Helper()
				if a.Unauthorized || a.Error != "" || a.User != "system:serviceaccount:default:testsa" {
					t.Fatalf("with token %d: %+v", a.Token, a)
				}
				if a.Client == "fresh" {
					fresh[a.Credential] = true
				} else {
					old[a.Credential] = true
				}
			}
			for len(fresh) < tokens || long && len(old) < tokens {
				j.cmdAlive()
				good(j.answer())
			}
			t.Logf("%d tokens in the file, of which the client that lives on has used %d", len(fresh), len(old))

			before := time.Now()
			w.admin(t, "delete", "pod", name)
			deleted := time.Now()
			a := j.answer()
			for ; !a.Unauthorized; a = j.answer() {
				if a.Asked.Before(before) {
					good(a)
				}
				if a.Error != "" || a.Asked.After(deleted.Add(time.Second)) {
					t.Fatalf("%v after the Pod was deleted: %+v", a.Asked.Sub(deleted), a)
				}
			}
			t.Logf("refused %v after the Pod was deleted", a.Asked.Sub(deleted))
			for range 10 {
				if a := j.answer(); !a.Unauthorized {
					t.Errorf("after a refusal: %+v", a)
				}
			}
			if err := j.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code, _ := j.end(); code != 143 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// cmdAlive fails the test if the program has ended.
func (j *job) cmdAlive() {
	j.t.Helper()
	select {
	case err := <-j.ended:
		j.t.Fatalf("it has ended: %v\n%s", err, j.said())
	default:
	}
}

// TestRestart stops the server while tokens are replaced, and starts it again.
func TestRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	program := incluster(t)
	w := newWorld(t)
	s := w.starters(t)[0]
	s.skipWithoutNamespaces(t)
	j := s.start(t, "--refresh-interval", "1s", "--", program)
	last := 0
	for round := range 3 {
		for until := last + 2; last < until; {
			if a := j.answer(); a.Error == "" && !a.Unauthorized && a.Client == "fresh" {
				last = a.Token
			} else if a.Unauthorized {
				t.Fatalf("refused in round %d: %+v", round, a)
			}
		}
		w.Kill()
		time.Sleep(2 * time.Second)
		w.Restart()
	}
	if err := j.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := j.end(); code != 143 {
		t.Errorf("exit code %d", code)
	}
}

// TestKilled kills gatehouse run. Its process is gone at once, and its token within
// 40 s.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	w := newWorld(t)
	for _, s := range w.starters(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.skipWithoutNamespaces(t)
			j := s.start(t, "--", "sh", "-c", "cat "+mountPoint+"/token; echo; echo $$; exec sleep 1000")
			token, text := j.line(), j.line()
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			if !w.accepts(t, token) {
				t.Fatal("the token is not accepted while the process lives")
			}
			if err := j.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			j.end()
			for ; syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
				if time.Since(killed) > limit {
					t.Fatal("the process lives on")
				}
			}
			for asked := time.Now(); w.accepts(t, token); asked = time.Now() {
				if asked.Sub(killed) > 40*time.Second {
					t.Fatalf("the token is accepted %v after gatehouse run was killed", asked.Sub(killed))
				}
				time.Sleep(500 * time.Millisecond)
			}
			t.Logf("refused %v after gatehouse run was killed", time.Since(killed))
		})
	}
}
