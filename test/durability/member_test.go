package durability_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// memberVariable makes this test binary a member of an etcd cluster, so that
// members are processes which can be killed, and none has to be installed.
const memberVariable = "GATEHOUSE_TEST_ETCD_MEMBER"

func TestMain(m *testing.M) {
	if text := os.Getenv(memberVariable); text != "" {
		if err := runMember(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A member is one etcd of a cluster.
type member struct {
	Name, Dir, Client, Peer, Cluster string
	CA, Cert, Key                    string

	process *exec.Cmd
	alive   io.Closer // the member ends when it is closed, as it is if the test dies
}

func runMember(text string) error {
	var m member
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	address := func(s string) url.URL { return url.URL{Scheme: "https", Host: s} }
	secure := transport.TLSInfo{TrustedCAFile: m.CA, CertFile: m.Cert, KeyFile: m.Key, ClientCertAuth: true}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.InitialCluster, cfg.LogLevel = m.Name, m.Dir, m.Cluster, "panic"
	cfg.ListenClientUrls = []url.URL{address(m.Client)}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{address(m.Peer)}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.ClientTLSInfo, cfg.PeerTLSInfo = secure, secure
	// The machine may be busy; an election for that is not what is tested.
	cfg.TickMs, cfg.ElectionMs = 200, 2000
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	e.Close()
	return err
}

func (m *member) start(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	m.process = exec.Command(os.Args[0])
	m.process.Env = append(os.Environ(), memberVariable+"="+string(text))
	m.process.Stderr = t.Output()
	if m.alive, err = m.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
}

func (m *member) stop() {
	_ = m.alive.Close()
	_ = m.process.Wait()
}

func (m *member) kill() {
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
}

// A cluster is etcd as an operator runs it, with TLS everywhere.
type cluster struct {
	members       []*member
	ca, cert, key string
}

// startCluster starts the members and returns without waiting for them.
func startCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{}
	ca := authority.New(t, "etcd CA")
	c.ca = ca.File
	c.cert, c.key = ca.Issue(t, "etcd")
	var peers []string
	for i := range n {
		m := &member{
			Name: fmt.Sprintf("m%d", i), Dir: t.TempDir(), Client: "127.0.0.1:" + env.FreePort(t), Peer: "127.0.0.1:" + env.FreePort(t),
			CA: c.ca, Cert: c.cert, Key: c.key,
		}
		c.members = append(c.members, m)
		peers = append(peers, m.Name+"=https://"+m.Peer)
	}
	for _, m := range c.members {
		m.Cluster = strings.Join(peers, ",")
		m.start(t)
	}
	return c
}

// flags are those of gatehouse that name the cluster.
func (c *cluster) flags() []string {
	var servers []string
	for _, m := range c.members {
		servers = append(servers, "https://"+m.Client)
	}
	return []string{
		"--etcd-servers=" + strings.Join(servers, ","),
		"--etcd-cafile=" + c.ca, "--etcd-certfile=" + c.cert, "--etcd-keyfile=" + c.key,
	}
}
