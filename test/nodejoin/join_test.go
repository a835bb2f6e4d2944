package nodejoin_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// A command is a gatehouse node join that runs.
type command struct {
	*exec.Cmd
	out, err bytes.Buffer
}

func (w *world) join(t *testing.T, dir string, args ...string) *command {
	t.Helper()
	c := &command{}
	c.Cmd = exec.CommandContext(t.Context(), tools.Gatehouse(t), append([]string{"node", "join", "--name", "one", "--dir", dir}, args...)...)
	c.Stdout, c.Stderr = &c.out, &c.err
	c.Stdin = strings.NewReader(token + "\n")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// byToken joins with the token and the digest of the CA.
func (w *world) byToken(t *testing.T, dir string, args ...string) *command {
	t.Helper()
	return w.join(t, dir, append([]string{w.config.Host, "--token-file", "-", "--ca-hash", w.pin()}, args...)...)
}

func (c *command) end(t *testing.T) {
	t.Helper()
	if err := c.Wait(); err != nil {
		t.Errorf("gatehouse node join: %v\n%s", err, c.err.String())
	}
}

// TestJoinAndWatch joins, comes back with a certificate that is nearly over, and
// stays: the certificate is renewed with itself, and the lease goes on.
func TestJoinAndWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "node")
	first := w.byToken(t, dir, "--label", "example.org/rack=r1")
	first.end(t)
	if got := strings.TrimSpace(first.out.String()); got != filepath.Join(dir, "kubeconfig") {
		t.Errorf("printed %q", got)
	}
	ctx := t.Context()
	node, err := w.admin.CoreV1().Nodes().Get(ctx, "one", metav1.GetOptions{})
	if err != nil || node.Labels["example.org/rack"] != "r1" {
		t.Fatalf("registered %+v, %v", node, err)
	}

	path := filepath.Join(dir, "node.pem")
	if err := os.WriteFile(path, w.ending(t, "one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.CoreV1().Secrets("kube-system").Delete(ctx, "bootstrap-token-abcdef", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second := w.join(t, dir, "--watch")
	env.Eventually(t, "a renewed certificate", func() bool {
		pair, err := tls.LoadX509KeyPair(path, path)
		return err == nil && time.Until(pair.Leaf.NotAfter) > time.Hour
	})
	if _, issued := w.of(t, "system:node:one", certificatesv1.KubeAPIServerClientKubeletSignerName); len(issued) != 1 {
		t.Errorf("%d certificates were asked for by the node, want 1", len(issued))
	}
	lease, err := w.admin.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, "one", metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != "one" || *lease.Spec.LeaseDurationSeconds != 40 || lease.OwnerReferences[0].UID != node.UID {
		t.Errorf("the lease is %+v, %v", lease, err)
	}
	if is := w.ready(t); is != corev1.ConditionTrue {
		t.Errorf("the node is ready: %s", is)
	}
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	second.end(t)
	if is := w.ready(t); is != corev1.ConditionFalse {
		t.Errorf("after the end the node is ready: %s", is)
	}
	for _, c := range []*command{first, second} {
		if strings.Contains(c.err.String()+c.out.String(), "0123456789abcdef") {
			t.Error("the token is told")
		}
	}
}

func (w *world) ready(t *testing.T) corev1.ConditionStatus {
	t.Helper()
	node, err := w.admin.CoreV1().Nodes().Get(t.Context(), "one", metav1.GetOptions{})
	if err != nil || len(node.Status.Conditions) != 1 {
		t.Fatalf("%+v, %v", node, err)
	}
	return node.Status.Conditions[0].Status
}
