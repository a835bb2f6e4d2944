package peers_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
)

// find returns the path of a program that test/need.sh installs.
func find(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil { // servers are not in everybody's PATH
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	if err != nil {
		t.Fatalf("%s is missing: run test/need.sh %s", name, name)
	}
	return path
}

// A program runs until it is stopped, or until its test ends. What it prints is
// in the log of the test, if that fails.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}
	log   env.Output
}

func start(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // ended by us, or the test sees that it is gone
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", cmd.Path, p.log.String())
		}
	})
	return p
}

// stop ends the program and waits until it is gone.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("stopping %s: %v", p.cmd.Path, err)
	}
	select {
	case <-p.ended:
	case <-time.After(env.Patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		p.t.Errorf("stopping %s: still running after %v", p.cmd.Path, env.Patience)
	}
}

// listens waits until the program speaks TLS at an address.
func (p *program) listens(address string) {
	p.t.Helper()
	for end := time.Now().Add(env.Patience); ; time.Sleep(20 * time.Millisecond) {
		// Who it is, is not what is asked here.
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("%s has ended instead of listening", p.cmd.Path)
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s does not listen: %v", p.cmd.Path, err)
		}
	}
}
