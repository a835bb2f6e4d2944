package siege_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/siege"
	"gatehouse.dev/gatehouse/test/tools"
)

// A camp is a server to besiege, and what a siege needs.
type camp struct {
	t       *testing.T
	server  *env.Server
	admin   *http.Client
	order   siege.Order // what all orders share
	program string      // of the forces, once there is one
	forces  []*process
	peak    sample
}

// open starts a server with a service account that may do everything.
func open(t *testing.T) *camp {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED under -short: NOTHING IS BESIEGED, as that starts a server and other processes")
	}
	// The race detector ends a process with more than 8128 goroutines.
	t.Setenv("GATEHOUSE_TEST_RACE", "")
	c := &camp{t: t}
	c.server = env.Start(t)
	kubeconfig, err := clientcmd.LoadFromFile(c.server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var ca []byte
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	for _, cluster := range kubeconfig.Clusters {
		ca = cluster.CertificateAuthorityData
		config.RootCAs.AppendCertsFromPEM(ca)
	}
	for _, user := range kubeconfig.AuthInfos {
		pair, err := tls.X509KeyPair(user.ClientCertificateData, user.ClientKeyData)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	c.admin = &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: 10 * time.Second}
	c.order = siege.Order{
		Address: strings.TrimPrefix(c.server.Address, "https://"), CA: ca, Most: 10 * time.Minute,
	}
	c.ask(http.MethodPost, "/api/v1/namespaces/default/serviceaccounts",
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"honest"}}`)
	c.ask(http.MethodPost, "/api/v1/namespaces/default/serviceaccounts",
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"target"}}`)
	c.ask(http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"honest"},
		"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},
		"subjects":[{"kind":"ServiceAccount","namespace":"default","name":"honest"}]}`)
	var token struct{ Status struct{ Token string } }
	answer := c.ask(http.MethodPost, "/api/v1/namespaces/default/serviceaccounts/honest/token",
		`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`)
	if err := json.Unmarshal(answer, &token); err != nil || token.Status.Token == "" {
		t.Fatalf("asking for a token: %v, %s", err, answer)
	}
	c.order.Token = token.Status.Token
	return c
}

// ask sends a request of the administrator, which must be answered well.
func (c *camp) ask(verb, path, body string) []byte {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), verb, c.server.Address+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.admin.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		c.t.Fatalf("%s %s: %v, %s %.500s", verb, path, err, answer.Status, text)
	}
	return text
}

// A sample is how much of the machine the server uses, and what it has done
// about it.
type sample struct{ files, goroutines, residentMiB, seconds, shed, held int64 }

func (s sample) String() string {
	return fmt.Sprintf("%d open files, %d goroutines, %d MiB resident; in all %d s of processor time, %d connections shed, %d refusals held",
		s.files, s.goroutines, s.residentMiB, s.seconds, s.shed, s.held)
}

// last lets the siege last, and watches the server.
func (c *camp) last(t *testing.T, length time.Duration) {
	t.Helper()
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(time.Second) {
		c.sample(t)
	}
	for _, p := range c.forces {
		_ = p.input.Close()
	}
}

// sample asks the server what it uses, and keeps the most.
func (c *camp) sample(t *testing.T) {
	t.Helper()
	var shed int64
	lines := bufio.NewScanner(bytes.NewReader(c.ask(http.MethodGet, "/metrics", "")))
	for lines.Scan() {
		var name string
		var value float64
		if _, err := fmt.Sscan(lines.Text(), &name, &value); err != nil {
			continue
		}
		if strings.HasPrefix(name, "gatehouse_connections_shed_total") {
			shed += int64(value)
		}
		switch name {
		case "process_open_fds":
			c.peak.files = max(c.peak.files, int64(value))
		case "go_goroutines":
			c.peak.goroutines = max(c.peak.goroutines, int64(value))
		case "process_cpu_seconds_total":
			c.peak.seconds = int64(value)
		case "gatehouse_refusals_held_total":
			c.peak.held = int64(value)
		case "process_resident_memory_bytes":
			c.peak.residentMiB = max(c.peak.residentMiB, int64(value)>>20)
		}
	}
	c.peak.shed = shed
}

// A process is a force at work.
type process struct {
	role  string
	input io.WriteCloser
	lines *json.Decoder
	stood bool
}

// muster returns the program of the forces, which it builds the first time.
func (c *camp) muster() string {
	c.t.Helper()
	if c.program != "" {
		return c.program
	}
	c.program = filepath.Join(c.t.TempDir(), "force")
	build := exec.Command("go", "build", "-o", c.program, "./test/siege/force")
	build.Dir = tools.Root(c.t)
	if out, err := build.CombinedOutput(); err != nil {
		c.t.Fatalf("building the forces: %v\n%s", err, out)
	}
	return c.program
}

// send starts a force. It ends with the test, if not before.
func (c *camp) send(o siege.Order) *process {
	c.t.Helper()
	return c.start(o, exec.Command(c.muster()))
}

// sendBehind starts a force that gives way to the server and the honest where
// they need the same processor. Real crowds bring processors of their own.
func (c *camp) sendBehind(o siege.Order) *process {
	c.t.Helper()
	return c.start(o, exec.Command("nice", "-n", "10", c.muster()))
}

func (c *camp) start(o siege.Order, cmd *exec.Cmd) *process {
	c.t.Helper()
	role, sources, count := o.Role, o.Sources, o.Count
	o = c.order
	o.Role, o.Sources, o.Count = role, sources, count
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := &process{role: role, input: in, lines: json.NewDecoder(out)}
	c.forces = append(c.forces, p)
	c.t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if err := json.NewEncoder(in).Encode(o); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// wait returns when the force is at full strength.
func (p *process) wait(t *testing.T) {
	t.Helper()
	var word string
	if p.stood {
		return
	}
	if err := p.lines.Decode(&word); err != nil {
		t.Fatalf("waiting for %s: %v", p.role, err)
	}
	p.stood = true
}

// end tells the force to end, and returns what it has seen.
func (p *process) end(t *testing.T) *siege.Report {
	t.Helper()
	_ = p.input.Close()
	p.wait(t)
	r := new(siege.Report)
	if err := p.lines.Decode(r); err != nil {
		t.Fatalf("hearing from %s: %v", p.role, err)
	}
	return r
}
