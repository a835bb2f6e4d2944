package durability_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
)

const (
	// staleness is what the processes of this test are given, and lateness how
	// much later a busy machine may say so.
	staleness = 3 * time.Second
	lateness  = 10 * time.Second
	// recovery is how long a process may take to follow the store again: its
	// watches wait up to half a minute between two tries.
	recovery = time.Minute
)

// A gate stands between a process and its etcd.
type gate struct {
	t      *testing.T
	socket net.Listener
	to     string

	mu     sync.Mutex
	opened *sync.Cond
	shut   bool
	conns  map[net.Conn]bool
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, socket: socket, to: to, conns: map[net.Conn]bool{}}
	g.opened = sync.NewCond(&g.mu)
	go g.run()
	t.Cleanup(func() { socket.Close(); g.set(false); g.reset() })
	return g
}

// behind returns the flags of a process whose way to the store is through the gate.
func (g *gate) behind(flags []string) []string {
	var behind []string
	for _, flag := range flags {
		if strings.HasPrefix(flag, "--etcd-servers=") {
			flag = "--etcd-servers=https://" + g.socket.Addr().String()
		}
		behind = append(behind, flag)
	}
	return behind
}

func (g *gate) run() {
	for {
		from, err := g.socket.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", g.to)
		if err != nil {
			from.Close()
			continue
		}
		g.mu.Lock()
		g.conns[from], g.conns[to] = true, true
		g.mu.Unlock()
		go g.pass(from, to)
		go g.pass(to, from)
	}
}

// pass lets bytes through while the gate is open, and holds them back while it
// is not, as a network does that has lost a link.
func (g *gate) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		g.mu.Lock()
		for g.shut {
			g.opened.Wait()
		}
		g.mu.Unlock()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.opened.Broadcast()
}

// reset ends all connections, as a network does that has forgotten them.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.Close()
	}
	clear(g.conns)
}

// TestCutOff has two processes on one etcd, and cuts one of them off: it refuses
// within its limit, says so, ends its watches, and comes back, and what was taken
// away meanwhile stays taken away.
func TestCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	etcd := startCluster(t, 1)
	s := env.Start(t)
	s.Stop()
	flags := append(moved(t, append([]string{"migrate", "--data-dir", s.DataDir, "--keys-to", filepath.Join(t.TempDir(), "keys")}, etcd.flags()...)),
		"--max-staleness="+staleness.String())
	g := newGate(t, etcd.members[0].Client)
	behind := g.behind(flags)
	a, b := startReplica(t, s.Kubeconfig, flags), startReplica(t, s.Kubeconfig, behind)
	heedless := startReplica(t, s.Kubeconfig, append(behind, "--serve-stale"))
	for _, lost := range []struct {
		name  string
		reset bool
	}{{"in silence", false}, {"with its connections", true}} {
		t.Run(lost.name, func(t *testing.T) {
			cutOff(t, g, lost.reset, s.Kubeconfig, a, b, heedless)
		})
	}
}

func cutOff(t *testing.T, g *gate, reset bool, kubeconfig string, a, b, heedless *replica) {
	name := "gone-" + fmt.Sprint(reset)
	a.must(t, "POST", "/api/v1/namespaces/default/serviceaccounts", map[string]any{"metadata": map[string]any{"name": name}}, nil)
	robot := withToken(t, kubeconfig, b.base, a.token(t, "default", name))
	eventually(t, lateness, "a token that both know", func() error { return robot.do(t.Context(), "GET", "/version", nil, nil) })
	watch := openWatch(t, b)

	g.set(true)
	cut := time.Now()
	if reset {
		g.reset()
	}
	if err := b.do(t.Context(), "GET", "/version", nil, nil); err != nil && time.Since(cut) < staleness/4 {
		t.Errorf("right after the cut: %v", err)
	}
	a.must(t, "DELETE", "/api/v1/namespaces/default/serviceaccounts/"+name, nil, nil)
	eventually(t, staleness+lateness, "a refusal by the one that is cut off", func() error {
		err := b.do(t.Context(), "GET", "/version", nil, nil)
		if isRefused(err, http.StatusServiceUnavailable) {
			return nil
		}
		return fmt.Errorf("answers %v", err)
	})
	t.Logf("it refused %v after the cut", time.Since(cut).Round(time.Millisecond))
	if err := b.ready(t.Context()); err == nil {
		t.Error("it says that it is ready")
	}
	select {
	case last := <-watch:
		if !strings.Contains(last, `"ERROR"`) || !strings.Contains(last, `"code":503`) {
			t.Errorf("its watch ends with %q", last)
		}
	case <-time.After(lateness):
		t.Error("its watch goes on")
	}
	if err := robot.do(t.Context(), "GET", "/version", nil, nil); !isRefused(err, http.StatusServiceUnavailable) {
		t.Errorf("who is gone is told %v", err)
	}
	for what, r := range map[string]*replica{"the other one": a, "one that serves stale": heedless} {
		if err := r.do(t.Context(), "GET", "/version", nil, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	g.set(false)
	eventually(t, recovery, "the end of the cut", func() error { return b.do(t.Context(), "GET", "/version", nil, nil) })
	if err := robot.do(t.Context(), "GET", "/version", nil, nil); !isRefused(err, http.StatusUnauthorized) {
		t.Errorf("who went meanwhile is told %v", err)
	}
	eventually(t, lateness, "being ready", func() error { return b.ready(t.Context()) })
}

// openWatch returns what has the last line of a watch when it has ended.
func openWatch(t *testing.T, r *replica) <-chan string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/api/v1/namespaces?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.http.Do(request)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("watching: %v %v", response, err)
	}
	last := make(chan string, 1)
	go func() {
		defer response.Body.Close()
		in, line := bufio.NewReader(response.Body), ""
		for {
			next, err := in.ReadString('\n')
			if next != "" {
				line = next
			}
			if err != nil {
				if err != io.EOF {
					line += err.Error()
				}
				last <- line
				return
			}
		}
	}()
	return last
}
