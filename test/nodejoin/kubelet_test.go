package nodejoin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
	"k8s.io/component-helpers/apimachinery/lease"
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/utils/clock"

	"gatehouse.dev/gatehouse/test/env"
)

// A kubelet is the parts of one that speak to the server before any pod runs:
// cmd/kubelet/app/server.go and pkg/kubelet/certificate, written anew.
type kubelet struct {
	name   string
	dir    string
	world  *world
	client certificate.Manager
	// api acts with the certificate in force.
	api *kubernetes.Clientset

	mu        sync.Mutex
	addresses []net.IP
}

// start asks for a client certificate, with the bootstrap token as long as there
// is none.
func (w *world) start(t *testing.T, name, dir string) *kubelet {
	t.Helper()
	k := &kubelet{name: name, dir: dir, world: w, addresses: []net.IP{net.IPv4(192, 0, 2, 7)}}
	own := w.anonymous()
	current := filepath.Join(dir, "kubelet-client-current.pem")
	own.TLSClientConfig.CertFile, own.TLSClientConfig.KeyFile = current, current
	bootstrap := w.anonymous()
	bootstrap.BearerToken = token
	store, err := certificate.NewFileStore("kubelet-client", dir, dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	k.client, err = certificate.NewManager(&certificate.Config{
		ClientsetFn: func(held *tls.Certificate) (kubernetes.Interface, error) {
			if held != nil {
				return kubernetes.NewForConfig(rest.CopyConfig(own))
			}
			return kubernetes.NewForConfig(rest.CopyConfig(bootstrap))
		},
		Template:   &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}}},
		SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName, GetUsages: certificate.DefaultKubeletClientGetUsages,
		CertificateStore: store,
	})
	if err != nil {
		t.Fatal(err)
	}
	k.client.Start()
	t.Cleanup(k.client.Stop)
	env.Eventually(t, "a client certificate", func() bool { return k.client.Current() != nil })
	k.api = clientset(t, own)
	return k
}

// serving asks for the certificate of the kubelet's own server.
func (k *kubelet) serving(t *testing.T) certificate.Manager {
	t.Helper()
	store, err := certificate.NewFileStore("kubelet-server", k.dir, k.dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := certificate.NewManager(&certificate.Config{
		ClientsetFn: func(*tls.Certificate) (kubernetes.Interface, error) { return k.api, nil },
		GetTemplate: func() *x509.CertificateRequest {
			k.mu.Lock()
			defer k.mu.Unlock()
			return &x509.CertificateRequest{
				Subject:  pkix.Name{CommonName: "system:node:" + k.name, Organization: []string{"system:nodes"}},
				DNSNames: []string{k.name}, IPAddresses: slices.Clone(k.addresses),
			}
		},
		SignerName: certificatesv1.KubeletServingSignerName, GetUsages: certificate.DefaultKubeletServingGetUsages, CertificateStore: store,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(m.Stop)
	return m
}

// register makes the Node as kubelet_node_status.go does, and reports on it.
func (k *kubelet) register(t *testing.T) *corev1.Node {
	t.Helper()
	ctx := t.Context()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: k.name, Labels: map[string]string{
			corev1.LabelHostname: k.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
			"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
		}, Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
		Spec:   corev1.NodeSpec{Taints: []corev1.Taint{{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: k.name}}},
	}
	_, err := k.api.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	// What is read from a cache may be of before; a kubelet tries again.
	var found *corev1.Node
	env.Eventually(t, "the node in the cache", func() (ok bool) {
		var err error
		found, err = k.api.CoreV1().Nodes().Get(ctx, k.name, metav1.GetOptions{ResourceVersion: "0"})
		return err == nil
	})
	ready := found.DeepCopy()
	ready.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: metav1.Now()}}
	ready.Status.Addresses = append(ready.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.0.2.7"})
	updated, _, err := nodeutil.PatchNodeStatus(k.api.CoreV1(), types.NodeName(k.name), found, ready)
	if err != nil {
		t.Fatal(err)
	}
	if len(updated.Status.Conditions) != 1 || len(updated.Status.Addresses) != 2 {
		t.Errorf("the status is %+v", updated.Status)
	}
	return updated
}

// beat keeps the lease for a while.
func (k *kubelet) beat(t *testing.T, node *corev1.Node) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	controller := lease.NewController(clock.RealClock{}, k.api, k.name, 40, nil, 50*time.Millisecond, k.name, corev1.NamespaceNodeLease, func(l *coordinationv1.Lease) error {
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: k.name, UID: node.UID}}
		return nil
	})
	go controller.Run(ctx)
	var first metav1.MicroTime
	env.Eventually(t, "a lease that is renewed", func() bool {
		l, err := k.world.admin.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, k.name, metav1.GetOptions{})
		if err != nil || l.Spec.RenewTime == nil {
			return false
		}
		if first.IsZero() {
			first = *l.Spec.RenewTime
		}
		return first.Before(l.Spec.RenewTime) && len(l.OwnerReferences) == 1
	})
}

// refused holds that err is a refusal with words.
func refused(t *testing.T, err error, words string) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want it forbidden: %s", err, words)
	}
}

// TestKubelet is the life of a kubelet.
func TestKubelet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(t, "one", t.TempDir())
	if leaf := k.client.Current().Leaf; leaf.Subject.String() != "CN=system:node:one,O=system:nodes" || time.Until(leaf.NotAfter) < time.Hour {
		t.Errorf("got a certificate of %s until %s", leaf.Subject, leaf.NotAfter)
	}
	if _, issued := w.of(t, "system:bootstrap:abcdef", certificatesv1.KubeAPIServerClientKubeletSignerName); len(issued) != 1 || issued[0].Status.Conditions[0].Reason != "AutoApproved" {
		t.Errorf("the requests by token are %+v", issued)
	}
	node := k.register(t)
	k.beat(t, node)
	k.follows(t)
	k.serves(t)
	k.isBounded(t)
}

// follows reads what a kubelet's informers do.
func (k *kubelet) follows(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}}
	if _, err := k.world.admin.CoreV1().Secrets("default").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mine := metav1.ListOptions{FieldSelector: "spec.nodeName=" + k.name}
	events, err := k.api.CoreV1().Pods("").Watch(ctx, mine)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	_, err = k.api.CoreV1().Secrets("default").Get(ctx, "key", metav1.GetOptions{})
	refused(t, err, "no relationship found between node 'one' and this object")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{
		NodeName: k.name, ServiceAccountName: "default", Containers: []corev1.Container{{Name: "web", Image: "none"}},
		Volumes: []corev1.Volume{
			{Name: "key", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "key"}}},
			{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "vault", Path: "token"}},
			}}}},
		},
	}}
	if _, err := k.world.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	event := <-events.ResultChan()
	got, ok := event.Object.(*corev1.Pod)
	if !ok || got.Name != "web" {
		t.Fatalf("the watch of pods says %+v", event)
	}
	env.Eventually(t, "the Secret of the pod", func() bool {
		_, err := k.api.CoreV1().Secrets("default").Get(ctx, "key", metav1.GetOptions{})
		return err == nil
	})
	one, err := k.api.CoreV1().Secrets("default").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=key"})
	if err != nil {
		t.Fatal(err)
	}
	one.Stop()
	k.tokens(t, got)
	got.Status.Phase = corev1.PodRunning
	if _, err := k.api.CoreV1().Pods("default").UpdateStatus(ctx, got, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
	if err := k.api.CoreV1().Pods("default").Delete(ctx, "web", *metav1.NewPreconditionDeleteOptions(string(got.UID))); err != nil {
		t.Error(err)
	}
}
