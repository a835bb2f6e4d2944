package nodejoin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"path/filepath"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/test/env"
)

// What kubeadm puts bootstrap tokens into unless told otherwise, and a token.
const (
	group = "system:bootstrappers:kubeadm:default-node-token"
	token = "abcdef.0123456789abcdef"
)

// A world is a server that nodes may join, as kubeadm sets one up.
type world struct {
	*env.Server
	config *rest.Config
	admin  *kubernetes.Clientset
	ca     *pki.Authority
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	s := env.Start(t, "--enable-bootstrap-token-auth")
	w := &world{Server: s, config: s.Config(), admin: clientset(t, s.Config())}
	var err error
	if w.ca, err = pki.LoadAuthority(filepath.Join(w.DataDir, "ca.crt"), filepath.Join(w.DataDir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	w.bind(t, "kubeadm:kubelet-bootstrap", "system:node-bootstrapper", group)
	w.bind(t, "kubeadm:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", group)
	w.bind(t, "kubeadm:node-autoapprove-certificate-rotation", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"}, Type: "bootstrap.kubernetes.io/token",
		StringData: map[string]string{
			"token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": time.Now().Add(time.Hour).Format(time.RFC3339),
			"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true", "auth-extra-groups": group,
		},
	}
	if _, err := w.admin.CoreV1().Secrets("kube-system").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) bind(t *testing.T, name, role, group string) {
	t.Helper()
	_, err := w.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func clientset(t *testing.T, cfg *rest.Config) *kubernetes.Clientset {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// anonymous leads to the server without a credential.
func (w *world) anonymous() *rest.Config { return rest.AnonymousClientConfig(w.config) }

// pin is the digest of the key of the server's CA.
func (w *world) pin() string {
	sum := sha256.Sum256(w.ca.Certificate().RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ending is a certificate of a node that is nearly over, with its key, so that
// whoever has it renews it at once.
func (w *world) ending(t *testing.T, node string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := w.ca.Issue(&x509.Certificate{
		Subject:   pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(5 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public())
	der, errOfKey := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, errOfKey); err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
}

// of returns the requests of a user for a signer, by what became of them.
func (w *world) of(t *testing.T, user, signer string) (waiting, issued []certificatesv1.CertificateSigningRequest) {
	t.Helper()
	all, err := w.admin.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{FieldSelector: "spec.signerName=" + signer})
	if err != nil {
		t.Fatal(err)
	}
	for _, csr := range all.Items {
		switch {
		case csr.Spec.Username != user:
		case len(csr.Status.Conditions) == 0:
			waiting = append(waiting, csr)
		case len(csr.Status.Certificate) > 0:
			issued = append(issued, csr)
		}
	}
	return waiting, issued
}

// approve is what kubectl certificate approve does.
func (w *world) approve(t *testing.T, csr certificatesv1.CertificateSigningRequest) {
	t.Helper()
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "KubectlApprove", Message: "This CSR was approved by kubectl certificate approve.",
	})
	if _, err := w.admin.CertificatesV1().CertificateSigningRequests().UpdateApproval(t.Context(), csr.Name, &csr, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
