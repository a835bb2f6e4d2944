package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatehouse.dev/gatehouse/bench/measure"
)

// The targets of a whole server.
const (
	freshTarget  = 800 * time.Millisecond
	reopenTarget = 500 * time.Millisecond
	idleTarget   = 120 << 20 // bytes resident
)

const (
	// startRounds is how often a server is started, fresh and reopened.
	startRounds = 7
	// idleAfter is when an idle server is looked at.
	idleAfter = 10 * time.Second
)

// startUp measures the built binary: from its start until it says that it is
// ready, and what it takes when nobody asks anything.
func startUp(t *measure.Table) error {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "gatehouse")
	// With the flags of make build.
	build := exec.Command("go", "build", "-C", "..", "-trimpath", "-o", binary, "./cmd/gatehouse")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building gatehouse: %w", err)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	var fresh, reopened, used []time.Duration
	for i := range startRounds {
		data := filepath.Join(dir, "data"+strconv.Itoa(i))
		for _, list := range []*[]time.Duration{&fresh, &reopened} {
			s, err := start(binary, data)
			if err != nil {
				return err
			}
			*list = append(*list, s.took)
			if err := s.stop(); err != nil {
				return err
			}
			if list == &reopened {
				used = append(used, s.cpu())
			}
		}
	}
	t.Section("A whole server: gatehouse up, until it says that it is ready")
	elapsed := func(what string, list []time.Duration, target time.Duration) {
		median, spread := measure.Median(list)
		t.Alone(what, fmt.Sprintf("%.0f ms +- %.0f", ms(median), ms(spread)), measure.Exceeds(ms(median), ms(spread), ms(target)), fmt.Sprintf("%.0f ms", ms(target)))
	}
	elapsed("start in an empty directory", fresh, freshTarget)
	elapsed("start in a directory that was used before", reopened, reopenTarget)
	median, _ := measure.Median(used)
	t.Alone("processor time of starting and stopping", fmt.Sprintf("%.0f ms", ms(median)), false, "")
	resident, anonymous, err := idle(binary, filepath.Join(dir, "data0"))
	if err != nil {
		return err
	}
	t.Alone("resident when idle for 10 s", megabytes(resident), resident > idleTarget, megabytes(idleTarget))
	t.Alone("  of that not mapped from a file", megabytes(anonymous), false, "")
	t.Alone("size of the binary", megabytes(info.Size()), false, "")
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// A process is a running server.
type process struct {
	command *exec.Cmd
	took    time.Duration
}

// start starts a server, and returns when it says that it is ready.
func start(binary, data string) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "up", "--output", "json", "--data-dir", data, "--secure-port", strconv.Itoa(port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	p := &process{cmd, time.Since(begin)}
	if err != nil || !json.Valid(line) {
		_ = cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("the server did not get ready: %q: %w", line, err), cmd.Wait())
	}
	return p, nil
}

func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.command.Wait()
}

// cpu returns the processor time of a process that has ended.
func (p *process) cpu() time.Duration {
	s := p.command.ProcessState
	return s.UserTime() + s.SystemTime()
}

// idle returns what is resident of a server that has had nothing to do for a
// while, in bytes, and how much of it is not mapped from a file.
func idle(binary, data string) (resident, anonymous int64, err error) {
	p, err := start(binary, data)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if e := p.stop(); err == nil {
			err = e
		}
	}()
	time.Sleep(idleAfter)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading %q: %w", line, err)
		}
		switch fields[0] {
		case "VmRSS:":
			resident = n << 10
		case "RssAnon:":
			anonymous = n << 10
		}
	}
	return resident, anonymous, nil
}
