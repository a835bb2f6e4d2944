//go:build linux

package process_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/workload/process"
)

// starting is the argument by which this test binary is a gatehouse run, and
// endingEnv a variable with the file whose appearance makes it end its program.
const (
	starting  = "starting"
	endingEnv = "ENDING"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case process.Stage:
			if err := process.Inside(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			os.Exit(99)
		case starting:
			os.Exit(start(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

// start runs a command, with one file in its folder. It returns its exit code, or
// 120 if it did not get there, or 121 if the program is at fault.
func start(text string) int {
	var c process.Command
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return complain(120, err)
	}
	if err := process.KeepNothing(); err != nil {
		return complain(120, err)
	}
	p, err := process.Prepare(c)
	if err != nil {
		return complain(120, err)
	}
	if p.Files != nil {
		if err := p.Files.WriteFile("file", []byte("written\n"), 0o644); err != nil {
			return complain(120, err)
		}
	}
	if err := process.Seal(); err != nil {
		return complain(120, err)
	}
	if err := p.Begin(); err != nil {
		p.Abandon()
		if _, ok := errors.AsType[*process.StartError](err); ok {
			return complain(121, err)
		}
		return complain(120, err)
	}
	ended := make(chan error, 1)
	if file := os.Getenv(endingEnv); file != "" {
		go func() {
			for _, err := os.Stat(file); err != nil; _, err = os.Stat(file) {
				time.Sleep(10 * time.Millisecond)
			}
			ended <- p.End(3 * time.Second)
		}()
	} else {
		ended <- nil
	}
	exit := p.Wait()
	if err := <-ended; err != nil {
		return complain(119, err)
	}
	return exit.Code()
}

func complain(code int, err error) int {
	fmt.Fprintln(os.Stderr, err)
	return code
}

// A tester starts commands as somebody.
type tester struct {
	name, binary string
	credential   *syscall.Credential
}

func testers(t *testing.T) []tester {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Log("nothing is tested as root, because the test is not")
		return []tester{{name: "unprivileged", binary: self}}
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(folder(t, "/tmp"), "test")
	if err := os.WriteFile(copied, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return []tester{{name: "root", binary: self}, {name: "nobody", binary: copied, credential: &syscall.Credential{Uid: 65534, Gid: 65534}}}
}

// folder is a folder that everybody gets to, and only this user writes to.
func folder(t *testing.T, in string) string {
	t.Helper()
	dir, err := os.MkdirTemp(in, "gatehouse-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s tester) command(c process.Command) *exec.Cmd {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(s.binary, starting, string(text))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.credential}
	return cmd
}

// run returns the exit code and what was printed.
func (s tester) run(t *testing.T, c process.Command) (int, string) {
	t.Helper()
	out, err := s.command(c).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	if strings.Contains(string(out), process.ErrNotAllowed.Error()) {
		t.Skipf("this system does not let %s have mount namespaces: %s", s.name, out)
	}
	if ok {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

func sh(script string, args ...string) process.Command {
	return process.Command{Path: "/bin/sh", Args: append([]string{"sh", "-c", script, "sh"}, args...), Env: []string{"PATH=/usr/bin:/bin"}}
}

// The mount point may be there, or be made, or be made in a copy of what is above
// it, where everything else is still to be seen.
func TestMount(t *testing.T) {
	for _, s := range testers(t) {
		t.Run(s.name, func(t *testing.T) {
			above := folder(t, "/var/tmp")
			for _, dir := range []string{"there", "full"} {
				if err := os.Mkdir(filepath.Join(above, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(above, "full", "x"), []byte("inside\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(above, "plain"), []byte("beside\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for name, to := range map[string]string{"link": "full", "broken": "nowhere"} {
				if err := os.Symlink(to, filepath.Join(above, name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := syscall.Mkfifo(filepath.Join(above, "fifo"), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, mount := range []string{"there", "deep/er/still"} {
				c := sh(`cat "$1"/file "$2"/plain "$2"/link/x; readlink "$2"/broken; stat -c %F "$2"/fifo; ls -A "$2"; echo x 2>/dev/null >"$1"/y || echo read-only`,
					filepath.Join(above, mount), above)
				c.Mount = filepath.Join(above, mount)
				code, out := s.run(t, c)
				list := []string{"broken", "fifo", "full", "link", "plain", "there"}
				if mount != "there" {
					list = slices.Insert(list, 1, "deep")
				}
				if want := "written\nbeside\ninside\nnowhere\nfifo\n" + strings.Join(list, "\n") + "\nread-only\n"; code != 0 || out != want {
					t.Errorf("at %s exit code %d and\n%s\nwant\n%s", mount, code, out, want)
				}
			}
			if left, err := os.ReadDir(filepath.Join(above, "there")); err != nil || len(left) != 0 {
				t.Errorf("what is mounted is seen outside: %v, %v", left, err)
			}
		})
	}
}

func TestHidden(t *testing.T) {
	for _, s := range testers(t) {
		t.Run(s.name, func(t *testing.T) {
			above := folder(t, "/var/tmp")
			secret, link := filepath.Join(above, "secret"), filepath.Join(above, "link")
			if err := os.WriteFile(secret, []byte("s3cret"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("secret", link); err != nil {
				t.Fatal(err)
			}
			for _, hidden := range []string{secret, link} {
				c := sh(`wc -c <"$1"; wc -c <"$2"`, secret, link)
				c.Mount, c.Hidden = filepath.Join(above, "mount"), []string{hidden, filepath.Join(above, "missing"), above, "/dev/null"}
				if code, out := s.run(t, c); code != 0 || out != "0\n0\n" {
					t.Errorf("hiding %s: exit code %d and\n%s", hidden, code, out)
				}
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "s3cret" {
				t.Errorf("outside it is %q, %v", text, err)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	for _, s := range testers(t) {
		t.Run(s.name, func(t *testing.T) {
			above := folder(t, "/var/tmp")
			plain := filepath.Join(above, "plain")
			if err := os.WriteFile(plain, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			missing := func(c process.Command) process.Command { c.Path = "/no/such/program"; return c }
			at := func(mount string, c process.Command) process.Command { c.Mount = mount; return c }
			for _, tt := range []struct {
				name    string
				command process.Command
				code    int
				said    string
			}{
				{"no program", missing(sh("")), 121, "starting /no/such/program: no such file"},
				{"no program in the namespace", missing(at(filepath.Join(above, "m"), sh(""))), 121, "starting /no/such/program: no such file"},
				{"no mount point", at(filepath.Join(plain, "x"), sh("")), 120, "making a mount namespace: "},
			} {
				code, out := s.run(t, tt.command)
				// Who has started it says so, and nobody else.
				if code != tt.code || !strings.HasPrefix(out, tt.said) || !strings.Contains(out, "directory\n") || strings.Count(out, "\n") != 1 {
					t.Errorf("%s: exit code %d and %q, want %d and %q", tt.name, code, out, tt.code, tt.said)
				}
			}
		})
	}
}

// The stage is of no use to people.
func TestInsideByHand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, extra := range [][]*os.File{nil, {file}} {
		cmd := exec.Command(self, process.Stage)
		cmd.ExtraFiles = extra
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 99 || !strings.Contains(string(out), "which starts it by itself") {
			t.Errorf("it says %q, %v", out, err)
		}
	}
}

// Nothing of the parent gets through, and the program dies with it.
func TestParent(t *testing.T) {
	for _, s := range testers(t) {
		for _, mount := range []string{"", "mount"} {
			t.Run(s.name+" "+mount, func(t *testing.T) {
				c := sh(`ls -m /proc/$$/fd; cat /proc/$PPID/environ 2>/dev/null | grep -c canary; echo $$; exec sleep 1000`)
				if mount != "" {
					c.Mount = filepath.Join(folder(t, "/var/tmp"), mount)
					if code, out := s.run(t, at(c)); code != 0 {
						t.Fatalf("exit code %d: %s", code, out)
					}
				}
				cmd := s.command(c)
				cmd.Env = []string{"A=canary"}
				file, err := os.Open(os.DevNull)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				cmd.ExtraFiles = []*os.File{file, file}
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				var fds, seen string
				var pid int
				var a, b string
				if _, err := fmt.Fscan(out, &a, &b, &fds, &seen, &pid); err != nil {
					t.Fatal(err)
				}
				if fds = a + b + fds; fds != "0,1,2" {
					t.Errorf("descriptors %s", fds)
				}
				if s.name != "root" && seen != "0" {
					t.Error("the environment of the parent can be read")
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // it was killed
				for began := time.Now(); alive(pid); time.Sleep(10 * time.Millisecond) {
					if time.Since(began) > time.Minute {
						t.Fatal("the program lives on")
					}
				}
			})
		}
	}
}

// The program is ended with all that it has started: what is stopped, what will not
// hear, what has a session of its own, and what it does not know of any more.
func TestEnd(t *testing.T) {
	for _, s := range testers(t) {
		for _, mount := range []string{"", "mount"} {
			t.Run(s.name+" "+mount, func(t *testing.T) {
				stray, want := "", 3
				if mount != "" {
					// Its parent has ended, and nothing but the namespace leads to it.
					stray, want = `(setsid sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done' &); `, 4
				}
				c := sh(stray + `trap 'exit 4' TERM
					sh -c 'trap "" TERM; echo $$; while :; do sleep 0.05; done' &
					setsid sh -c 'echo $$; sleep 1000' &
					sh -c 'echo $$; kill -STOP $$; sleep 1000' &
					while :; do sleep 0.05; done`)
				if mount != "" {
					c.Mount = filepath.Join(folder(t, "/var/tmp"), mount)
					if code, out := s.run(t, at(c)); code != 0 {
						t.Fatalf("exit code %d: %s", code, out)
					}
				}
				now := filepath.Join(folder(t, "/var/tmp"), "now")
				cmd := afterAnother(s.command(c))
				cmd.Env = []string{endingEnv + "=" + now}
				cmd.Stderr = os.Stderr
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				var neighbour int
				if _, err := fmt.Fscan(out, &neighbour); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = syscall.Kill(neighbour, syscall.SIGKILL) }()
				pids := make([]int, want)
				for i := range pids {
					if _, err := fmt.Fscan(out, &pids[i]); err != nil {
						t.Fatal(err)
					}
					if !alive(pids[i]) {
						t.Errorf("process %d does not live", pids[i])
					}
				}
				bystander := exec.Command("sleep", "1000")
				if err := bystander.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
				if err := os.WriteFile(now, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				err = cmd.Wait()
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 4 {
					t.Errorf("it ends with %v, want the exit code of the program", err)
				}
				for _, pid := range pids {
					if alive(pid) {
						t.Errorf("process %d lives on", pid)
					}
				}
				if !alive(neighbour) {
					t.Error("what its own process had started before was ended too")
				}
				if !alive(bystander.Process.Pid) {
					t.Error("somebody else's process was ended too")
				}
			})
		}
	}
}

// afterAnother is the same command in a process that has another child already,
// whose number it prints.
func afterAnother(cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = append([]string{"sh", "-c", `setsid sleep 1000 & echo $!; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	return cmd
}

// at is the same command without an end to wait for.
func at(c process.Command) process.Command {
	c.Args = []string{"sh", "-c", "true"}
	return c
}

// alive reports whether there is a process that is no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}
