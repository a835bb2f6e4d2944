package durability_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/env"
)

const (
	// startLimit is far more than a server takes to be ready.
	startLimit = time.Minute
	// takeover is how long the controllers may stand still after their process
	// was killed: the 15 s for which the Lease is held, up to 2 s until the
	// next one tries, and as much again for a machine that is busy.
	takeover = 40 * time.Second
	// reelection is how long a cluster that has lost a member may be without a
	// leader, and clients may take to leave the member that is gone.
	reelection = 40 * time.Second
)

// A replica is one process of gatehouse serve.
type replica struct {
	*client
	process *exec.Cmd
	ended   chan error
}

// startReplica starts a process with the credentials of a kubeconfig to reach
// it, and waits until it is ready.
func startReplica(t *testing.T, kubeconfig string, flags []string) *replica {
	t.Helper()
	port := env.FreePort(t)
	cmd := exec.Command(binaryPath(t), append([]string{"serve", "--bind-address=127.0.0.1", "--secure-port=" + port}, flags...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &replica{client: connect(t, kubeconfig, "https://127.0.0.1:"+port), process: cmd, ended: make(chan error, 1)}
	go func() { r.ended <- cmd.Wait(); close(r.ended) }()
	t.Cleanup(func() {
		if r.kill(); t.Failed() {
			t.Logf("log of %s:\n%s", r.base, log.String())
		}
	})
	eventually(t, startLimit, "a replica that is ready", func() error {
		select {
		case err := <-r.ended:
			t.Fatalf("the replica has ended: %v\n%s", err, log.String())
		default:
		}
		return r.ready(t.Context())
	})
	return r
}

func (r *replica) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := r.http.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func (r *replica) kill() {
	_ = r.process.Process.Kill()
	<-r.ended
}

// TestCluster moves an embedded store to a cluster of three members, serves it
// with two processes, and then takes away a process and a member.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	etcds := startCluster(t, 3)
	s := env.Start(t)
	c := connect(t, s.Kubeconfig, "")
	for i := range 150 {
		c.must(t, "POST", "/api/v1/namespaces/default/configmaps", configMap(fmt.Sprintf("moved-%d", i), "v"), nil)
	}
	c.must(t, "POST", "/api/v1/namespaces/default/secrets", secret("moved", "hidden"), nil)
	token := c.token(t, "default", "default")
	s.Restart() // the Secret of the restart is as old as the others
	want := inventory(t, connect(t, s.Kubeconfig, ""))

	keys := filepath.Join(t.TempDir(), "keys")
	migrate := append([]string{"migrate", "--data-dir", s.DataDir, "--keys-to", keys}, etcds.flags()...)
	refuse(t, []string{"another gatehouse process uses it"}, migrate...)
	s.Stop()
	flags := moved(t, migrate)
	if again := moved(t, migrate); strings.Join(again, " ") != strings.Join(flags, " ") {
		t.Errorf("a second migration says %v, the first %v", again, flags)
	}

	a := startReplica(t, s.Kubeconfig, flags)
	sameInventory(t, want, inventory(t, a.client))
	refuse(t, []string{"the target is not empty"}, append([]string{"migrate", "--data-dir", other(t), "--keys-to", t.TempDir()}, etcds.flags()...)...)
	b := startReplica(t, s.Kubeconfig, flags)
	sameInventory(t, want, inventory(t, b.client))
	if got := withToken(t, s.Kubeconfig, b.base, token).whoami(t); got != "system:serviceaccount:default:default" {
		t.Errorf("a token from before the migration is of %q", got)
	}
	t.Run("writes through one are seen through the other", func(t *testing.T) { seen(t, a, b) })
	t.Run("a bootstrap token ends everywhere", func(t *testing.T) { endBootstrapToken(t, a, s.Kubeconfig, flags) })
	t.Run("processes with other keys", func(t *testing.T) { refuseForeign(t, flags, keys) })
	t.Run("two clusters", func(t *testing.T) { refuseTwoClusters(t, flags) })
	t.Run("a process is killed", func(t *testing.T) { loseProcess(t, a, b, s.Kubeconfig) })
	t.Run("a member is killed", func(t *testing.T) { loseMember(t, etcds, b, s.Kubeconfig, flags) })
}

// moved runs a migration, and returns the flags that it says to serve with.
func moved(t *testing.T, args []string) []string {
	t.Helper()
	var flags []string
	for line := range strings.Lines(succeed(t, args...)) {
		if line = strings.TrimSuffix(strings.TrimSpace(line), ` \`); strings.HasPrefix(line, "--") {
			flags = append(flags, line)
		}
	}
	if len(flags) < 8 {
		t.Fatalf("the migration says to serve with %v", flags)
	}
	return flags
}

// other returns a data directory of another server.
func other(t *testing.T) string {
	t.Helper()
	s := env.Start(t)
	s.Stop()
	return s.DataDir
}

func seen(t *testing.T, a, b *replica) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+"/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dseen", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	a.must(t, "POST", "/api/v1/namespaces/default/configmaps", configMap("seen", "1"), nil)
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	var event struct{ Type string }
	if err != nil || json.Unmarshal([]byte(line), &event) != nil || event.Type != "ADDED" {
		t.Errorf("a watch through the other process tells %q, %v", line, err)
	}
	var back struct{ Data map[string]string }
	b.must(t, "PUT", "/api/v1/namespaces/default/configmaps/seen", configMap("seen", "2"), nil)
	if a.must(t, "GET", "/api/v1/namespaces/default/configmaps/seen", nil, &back); back.Data["v"] != "2" {
		t.Errorf("a read after an acknowledged write through the other process: %v", back.Data)
	}
}

// endBootstrapToken deletes the Secrets of tokens through one process while
// another, which is started for that, remembers them.
func endBootstrapToken(t *testing.T, a *replica, kubeconfig string, flags []string) {
	other := startReplica(t, kubeconfig, append([]string{"--enable-bootstrap-token-auth"}, flags...))
	defer other.kill()
	// Without a watch the other process would look again after 10 s.
	const limit = 5 * time.Second
	for n := range 10 {
		id, value := fmt.Sprintf("token%d", n), "0123456789abcdef"
		a.must(t, "POST", "/api/v1/namespaces/kube-system/secrets", &corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id},
			Type:       corev1.SecretTypeBootstrapToken,
			StringData: map[string]string{"token-id": id, "token-secret": value, "usage-bootstrap-authentication": "true"},
		}, nil)
		machine := withToken(t, kubeconfig, other.base, id+"."+value)
		version := func() error { return machine.do(t.Context(), "GET", "/version", nil, nil) }
		eventually(t, time.Minute, "logging in through the other process", version)
		if err := version(); err != nil {
			t.Fatal(err)
		}
		a.must(t, "DELETE", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-"+id, nil, nil)
		took := eventually(t, limit, "a token that is refused by the other process", func() error {
			if err := version(); !isRefused(err, http.StatusUnauthorized) {
				return fmt.Errorf("it is answered with %v", err)
			}
			return nil
		})
		t.Logf("refused by the other process after %v", took.Round(time.Millisecond))
	}
}

// refuseForeign starts processes with another key each.
func refuseForeign(t *testing.T, flags []string, keys string) {
	stranger := other(t)
	for _, tt := range []struct{ name, file, flag, want string }{
		{"encryption", "encryption.yaml", "--encryption-provider-config", "encryption key"},
		{"signing", "service-account.key", "--service-account-", "service account key"},
		{"client CA", "ca.crt", "--client-ca-file", "client CA"},
	} {
		changed := make([]string, len(flags))
		for i, f := range flags {
			if strings.HasPrefix(f, tt.flag) && strings.HasSuffix(f, tt.file) {
				f = strings.Replace(f, keys, stranger, 1)
			}
			changed[i] = f
		}
		refuse(t, []string{tt.want, "is not among ours"}, serve(t, changed)...)
	}
}

func refuseTwoClusters(t *testing.T, flags []string) {
	// A member of another cluster that has the same certificates, as one has
	// that was made by copying.
	var ca, cert, key string
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "--etcd-cafile":
			ca = value
		case "--etcd-certfile":
			cert = value
		case "--etcd-keyfile":
			key = value
		}
	}
	m := &member{Name: "stranger", Dir: t.TempDir(), Client: "127.0.0.1:" + env.FreePort(t), Peer: "127.0.0.1:" + env.FreePort(t), CA: ca, Cert: cert, Key: key}
	m.Cluster = m.Name + "=https://" + m.Peer
	m.start(t)
	eventually(t, startLimit, "the other cluster", func() error {
		conn, err := net.Dial("tcp", m.Client)
		if err == nil {
			conn.Close()
		}
		return err
	})
	refuse(t, []string{"belong to different clusters"}, serve(t, append([]string{"--etcd-servers=https://" + m.Client}, flags...))...)
}

func serve(t *testing.T, flags []string) []string {
	t.Helper()
	return append([]string{"serve", "--bind-address=127.0.0.1", "--secure-port=" + env.FreePort(t)}, flags...)
}

// loseProcess kills the process that runs the controllers, in the middle of
// writes through both.
func loseProcess(t *testing.T, a, b *replica, kubeconfig string) {
	throughA, throughB := &load{}, &load{}
	throughB.offset = writers
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	endedA, endedB := make(chan error, 1), make(chan error, 1)
	go func() { endedA <- throughA.run(ctx, a.client) }()
	go func() { endedB <- throughB.run(ctx, b.client) }()
	eventually(t, time.Minute, "the load", func() error {
		if min(throughA.acked.Load(), throughB.acked.Load()) < minAcked {
			return errTooFew
		}
		return nil
	})
	// Together with the process that leads. Another one leads some 15 s later.
	refusedInTime := killedWorkload(t, b, kubeconfig)
	a.kill()
	if err := <-endedA; err != nil {
		t.Fatalf("a write was refused: %v", err)
	}
	after := throughB.acked.Load()
	eventually(t, time.Minute, "more writes through the process that is left", func() error {
		if throughB.acked.Load() < after+minAcked {
			return errTooFew
		}
		return nil
	})
	cancel()
	if err := <-endedB; err != nil {
		t.Fatalf("a write was refused: %v", err)
	}
	throughA.check(t, b.client)
	throughB.check(t, b.client)

	ns := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "orphan"}}
	b.must(t, "POST", "/api/v1/namespaces", ns, nil)
	took := eventually(t, takeover, "a default service account in a new namespace", func() error {
		return b.do(t.Context(), "GET", "/api/v1/namespaces/orphan/serviceaccounts/default", nil, nil)
	})
	t.Logf("the controllers were taken over after %v", took.Round(time.Millisecond))
	refusedInTime()
}

// loseMember kills a member of the cluster, and goes on.
func loseMember(t *testing.T, etcds *cluster, b *replica, kubeconfig string, flags []string) {
	b.must(t, "POST", "/api/v1/namespaces/default/configmaps", configMap("before", "1"), nil)
	etcds.members[0].kill()
	took := eventually(t, reelection, "a write after a member was killed", func() error {
		return b.do(t.Context(), "PUT", "/api/v1/namespaces/default/configmaps/before", configMap("before", "2"), nil)
	})
	t.Logf("writes went on after %v", took.Round(time.Millisecond))
	if err := b.ready(t.Context()); err != nil {
		t.Errorf("the process is not ready with two of three members: %v", err)
	}
	// A process that is started now meets a member that is not there.
	fresh := startReplica(t, kubeconfig, flags)
	var got struct{ Data map[string]string }
	if fresh.must(t, "GET", "/api/v1/namespaces/default/configmaps/before", nil, &got); got.Data["v"] != "2" {
		t.Errorf("what was acknowledged after the loss is %v", got.Data)
	}
	etcds.members[1].kill()
	eventually(t, reelection, "a process that says that its store is gone", func() error {
		if fresh.ready(t.Context()) == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	err := fresh.do(t.Context(), "PUT", "/api/v1/namespaces/default/configmaps/before", configMap("before", "3"), nil)
	if err == nil {
		t.Error("a write was acknowledged by one member of three")
	}
}
