package durability_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
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
	c.ca, c.cert, c.key = certificates(t)
	var peers []string
	for i := range n {
		m := &member{
			Name: fmt.Sprintf("m%d", i), Dir: t.TempDir(), Client: freeAddress(t), Peer: freeAddress(t),
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

// certificates makes an authority, and one certificate for members and clients.
func certificates(t *testing.T) (caFile, certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	caKey, key := newKey(t), newKey(t)
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			BasicConstraintsValid: true,
		}
	}
	ca, leaf := template(1, "etcd CA"), template(2, "etcd")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}

	save := func(name, kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		write(t, path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		return path
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	caFile = save("ca.crt", "CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	certFile = save("etcd.crt", "CERTIFICATE", der, err)
	der, err = x509.MarshalECPrivateKey(key)
	keyFile = save("etcd.key", "EC PRIVATE KEY", der, err)
	return caFile, certFile, keyFile
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// freeAddress returns one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
