// Package env starts a Gatehouse the way an operator does: the built binary, in
// a process of its own, on a free port, with an empty data folder. Tests speak
// to it by the network alone, and may kill it.
//
// A server ends with its test. If the test failed, its log is in the test's.
// Around it is what most of those tests need besides: to wait, a port, a file.
package env

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/tools"
)

// How long a server may take to be ready and to end. Far more than it needs:
// only a server that hangs should meet them.
const (
	startLimit = 2 * time.Minute
	stopLimit  = time.Minute
)

// Facts are what a server says of itself once it is ready.
type Facts struct {
	Address       string `json:"address"`
	Kubeconfig    string `json:"kubeconfig"`
	DataDir       string `json:"dataDir"`
	CAFingerprint string `json:"caFingerprint"`
}

// A Server is one Gatehouse and its data folder. It is for one goroutine.
type Server struct {
	Facts

	t      testing.TB
	binary string
	args   []string
	log    Output

	process *exec.Cmd
	ended   chan error // what Wait returned, once
}

// Start starts a server with more flags than the data folder and the port, and
// returns when it is ready. It fails the test if the server does not get there.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	s := &Server{t: t, binary: tools.Gatehouse(t)}
	s.args = append([]string{
		"up", "--output", "json",
		"--data-dir", t.TempDir(),
		"--secure-port", FreePort(t),
	}, flags...)
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.Log())
		}
	})
	s.start()
	return s
}

// Stop asks the server to end, and waits until it has. A server that was ended
// before is left alone.
func (s *Server) Stop() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	// An error means that it has ended by itself; the wait tells.
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("stopping the server: %v", err)
		}
	case <-time.After(stopLimit):
		_ = s.process.Process.Kill()
		<-s.ended
		s.t.Errorf("stopping the server: still running after %v", stopLimit)
	}
	s.process = nil
}

// Kill ends the server at once, as a power cut does, and waits until it is gone.
// One that has ended by itself is gone already.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatalf("killing the server: %v", err)
	}
	<-s.ended
	s.process = nil
}

// Restart starts the server again on the same data folder and port, after
// stopping it if it runs.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// Log returns what the server has logged so far, over all its starts.
func (s *Server) Log() string { return s.log.String() }

func (s *Server) start() {
	s.t.Helper()
	cmd := exec.Command(s.binary, s.args...)
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatalf("starting the server: %v", err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("starting the server: %v", err)
	}
	s.process, s.ended = cmd, make(chan error, 1)
	ready := make(chan error, 1)
	go func() {
		ready <- json.NewDecoder(out).Decode(&s.Facts)
		// Nothing else is promised on standard output, but a full pipe
		// must not stop the server.
		_, _ = io.Copy(io.Discard, out)
		s.ended <- cmd.Wait()
	}()
	select {
	case err = <-ready:
	case <-time.After(startLimit):
		err = fmt.Errorf("not ready after %v", startLimit)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		err = fmt.Errorf("%w; %v", err, <-s.ended)
		s.process = nil
		s.t.Fatalf("starting the server: %v", err)
	}
}
