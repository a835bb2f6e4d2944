package nodejoin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/test/env"
)

// tokens asks for tokens of the service account of a pod, as the kubelet's token
// manager does.
func (k *kubelet) tokens(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	hour := int64(3600)
	ask := func(audience, account string, ref *authenticationv1.BoundObjectReference) error {
		_, err := k.api.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &hour, BoundObjectRef: ref},
		}, metav1.CreateOptions{})
		return err
	}
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	if err := ask("vault", "default", bound); err != nil {
		t.Error(err)
	}
	refused(t, ask("elsewhere", "default", bound), `system:node:one is not authorized to request tokens for audience "elsewhere"`)
	refused(t, ask("vault", "default", nil), "node requested token not bound to a pod")
	refused(t, ask("vault", "other", bound), "no relationship found between node 'one' and this object")
	older := *bound
	older.UID = "older"
	refused(t, ask("vault", "default", &older), "does not match the UID in record")
}

// serves gets a certificate for the kubelet's own server, which an administrator
// approves, and another one when the addresses change.
func (k *kubelet) serves(t *testing.T) {
	t.Helper()
	m := k.serving(t)
	user, signer := "system:node:"+k.name, certificatesv1.KubeletServingSignerName
	asked := func() (csr certificatesv1.CertificateSigningRequest) {
		env.Eventually(t, "a request for a serving certificate", func() bool {
			waiting, _ := k.world.of(t, user, signer)
			if len(waiting) == 1 {
				csr = waiting[0]
			}
			return len(waiting) == 1
		})
		return csr
	}
	first := asked()
	if m.Current() != nil {
		t.Error("a serving certificate came without approval")
	}
	k.world.approve(t, first)
	env.Eventually(t, "a serving certificate", func() bool { return m.Current() != nil })
	leaf := m.Current().Leaf
	if !slices.Equal(leaf.DNSNames, []string{k.name}) || len(leaf.IPAddresses) != 1 || leaf.VerifyHostname("192.0.2.7") != nil {
		t.Errorf("the serving certificate is of %v and %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if err := leaf.CheckSignatureFrom(k.world.ca.Certificate()); err != nil {
		t.Error(err)
	}
	k.mu.Lock()
	k.addresses = []net.IP{net.IPv4(192, 0, 2, 8)}
	k.mu.Unlock()
	k.world.approve(t, asked())
	env.Eventually(t, "a serving certificate with the new address", func() bool { return m.Current().Leaf.VerifyHostname("192.0.2.8") == nil })
}

// isBounded tries what a node that was broken into would.
func (k *kubelet) isBounded(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := k.api.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
	refused(t, err, "can only read namespaced object of this type")
	_, err = k.api.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	refused(t, err, "can only list/watch pods with spec.nodeName field selector")
	_, err = k.api.CoreV1().Nodes().Get(ctx, "two", metav1.GetOptions{})
	refused(t, err, "node 'one' cannot read 'two', only its own Node object")
	_, err = k.api.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "two"}}, metav1.CreateOptions{})
	refused(t, err, `node "one" is not allowed to modify node "two"`)
	for _, tt := range []struct{ patch, want string }{
		{`{"metadata":{"labels":{"node-restriction.kubernetes.io/x":"y"}}}`, "is not allowed to modify labels: node-restriction.kubernetes.io/x"},
		{`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, "is not allowed to modify labels: node-role.kubernetes.io/control-plane"},
		{`{"spec":{"taints":[]}}`, `node "one" is not allowed to modify taints`},
		{`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"y"}]}}`, `node "one" is not allowed to modify ownerReferences`},
	} {
		_, err := k.api.CoreV1().Nodes().Patch(ctx, "one", types.MergePatchType, []byte(tt.patch), metav1.PatchOptions{})
		refused(t, err, tt.want)
	}
	escape := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "escape"}, Spec: corev1.PodSpec{NodeName: "one", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	_, err = k.api.CoreV1().Pods("default").Create(ctx, escape, metav1.CreateOptions{})
	refused(t, err, "node \"one\" can only create mirror pods")
	_, err = k.api.CertificatesV1().CertificateSigningRequests().Create(ctx, k.requestOf(t, "two"), metav1.CreateOptions{})
	refused(t, err, "can only create a node CSR with CN=system:node:one")
	_, err = k.api.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, "two", metav1.GetOptions{})
	refused(t, err, "can only access node lease with the same name as the requesting node")
}

// requestOf is a request for the client certificate of another node.
func (k *kubelet) requestOf(t *testing.T, node string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"}, Spec: certificatesv1.CertificateSigningRequestSpec{
		Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
	}}
}

// writeCurrent puts a certificate where a kubelet looks for its own, by a link.
func writeCurrent(t *testing.T, dir string, text []byte) {
	t.Helper()
	path := filepath.Join(dir, "kubelet-client-before.pem")
	if err := errors.Join(os.WriteFile(path, text, 0o600), os.Symlink(path, filepath.Join(dir, "kubelet-client-current.pem"))); err != nil {
		t.Fatal(err)
	}
}

// TestRenewal is a kubelet that starts with a certificate that ends soon: it asks
// for another one with that, and needs no token.
func TestRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	writeCurrent(t, dir, w.ending(t, "one"))
	if err := w.admin.CoreV1().Secrets("kube-system").Delete(t.Context(), "bootstrap-token-abcdef", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k := w.start(t, "one", dir)
	env.Eventually(t, "a renewed certificate", func() bool { return time.Until(k.client.Current().Leaf.NotAfter) > time.Hour })
	_, issued := w.of(t, "system:node:one", certificatesv1.KubeAPIServerClientKubeletSignerName)
	if len(issued) != 1 || issued[0].Status.Conditions[0].Reason != "AutoApproved" {
		t.Errorf("the requests by the node are %+v", issued)
	}
	k.register(t)
}
