package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/config"
)

const (
	signerOne = "example.com/one"
	signerTwo = "example.com/two"
)

// Two signers that approve by themselves feed each other no chain that outlives
// the Revocation of what it began with, and none that comes back to a signer whose
// total lifetime would begin anew.
func TestSignersThatFeedEachOther(t *testing.T) {
	cfg := configure(filepath.Join(t.TempDir(), "data"))
	for _, name := range []string{signerOne, signerTwo} {
		cfg.Certificates.Signers = append(cfg.Certificates.Signers, config.Signer{
			Name: name, CommonNames: []string{"${username}"}, Usages: []string{"client auth"},
			Duration: config.Duration(time.Hour), RenewableFor: config.Duration(24 * time.Hour), AutoApprove: true,
		})
	}
	s, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	run(t, s)
	admin := s.AdminKubeconfig()
	letAsk(t, admin)

	own := obtain(t, admin, admin, certificatesv1.KubeAPIServerClientSignerName, true)
	one := obtain(t, admin, own, signerOne, false)
	two := obtain(t, admin, one, signerTwo, false)
	renewed := obtain(t, admin, two, signerTwo, false)
	unrelated := obtain(t, admin, admin, certificatesv1.KubeAPIServerClientSignerName, true)

	// The first certificate may ask as often as it is needed. What would go round
	// waits for a person.
	round := asks(t, renewed, signerOne)
	again := obtain(t, admin, own, signerTwo, false)
	for _, c := range round.read(t, admin).Status.Conditions {
		t.Errorf("the way round is approved: %+v", c)
	}
	byPerson := round.obtain(t, admin, true)

	first := certificateOf(t, one)
	revoke := &v1alpha1.Revocation{
		TypeMeta:   metav1.TypeMeta{APIVersion: "gatehouse.dev/v1alpha1", Kind: "Revocation"},
		ObjectMeta: metav1.ObjectMeta{Name: "stolen"},
		Spec: v1alpha1.RevocationSpec{Reason: v1alpha1.ReasonKeyCompromise, Certificate: &v1alpha1.RevokedCertificate{
			Issuer: first.Issuer.String(), SerialNumber: first.SerialNumber.Text(16),
		}},
	}
	if code := call(t, admin, "POST", "/apis/gatehouse.dev/v1alpha1/revocations", revoke, nil); code != http.StatusCreated {
		t.Fatalf("revoking: %d", code)
	}
	for name, kubeconfig := range map[string]string{
		"the one that is named": one, "what it was got with": own, "what was got with it": two, "the renewal of that": renewed, "another one": again, "what a person has approved": byPerson,
	} {
		if code := call(t, kubeconfig, "GET", "/version", nil, nil); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code := call(t, unrelated, "GET", "/version", nil, nil); code != http.StatusOK {
		t.Errorf("what was got with nothing of it: %d", code)
	}
}

// letAsk lets jane ask for certificates, and has every signer that can approve it.
func letAsk(t *testing.T, admin string) {
	t.Helper()
	for path, object := range map[string]any{
		"clusterroles": &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "asker"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{certificatesv1.GroupName}, Resources: []string{"certificatesigningrequests"}, Verbs: []string{"create", "get"}},
			{APIGroups: []string{certificatesv1.GroupName}, Resources: []string{"signers"}, Verbs: []string{"auto-approve"}},
		}},
		"clusterrolebindings": &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "askers"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "asker"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "jane"}}},
	} {
		if code := call(t, admin, "POST", "/apis/rbac.authorization.k8s.io/v1/"+path, object, nil); code != http.StatusCreated {
			t.Fatalf("making the %s: %d", path, code)
		}
	}
}

// A pending request has been sent, with the key that it is for.
type pending struct {
	kubeconfig, name string
	key              *ecdsa.PrivateKey
}

// asks sends a request for a certificate of jane.
func asks(t *testing.T, kubeconfig, signer string) *pending {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	var made certificatesv1.CertificateSigningRequest
	if code := call(t, kubeconfig, "POST", requests, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "request-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: signer,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}, &made); code != http.StatusCreated {
		t.Fatalf("asking %s: %d", signer, code)
	}
	return &pending{kubeconfig, made.Name, key}
}

func (p *pending) read(t *testing.T, admin string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	var r certificatesv1.CertificateSigningRequest
	if code := call(t, admin, "GET", requests+"/"+p.name, nil, &r); code != http.StatusOK {
		t.Fatalf("reading %s: %d", p.name, code)
	}
	return &r
}

// obtain returns a kubeconfig with the certificate, which a person approves first
// if that is needed.
func (p *pending) obtain(t *testing.T, admin string, person bool) string {
	t.Helper()
	if person {
		r := p.read(t, admin)
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test",
		})
		if code := call(t, admin, "PUT", requests+"/"+p.name+"/approval", r, nil); code != http.StatusOK {
			t.Fatalf("approving %s: %d", p.name, code)
		}
	}
	var cert []byte
	for deadline := time.Now().Add(time.Minute); len(cert) == 0; time.Sleep(5 * time.Millisecond) {
		if cert = p.read(t, admin).Status.Certificate; time.Now().After(deadline) {
			t.Fatalf("there is no certificate for %s", p.name)
		}
	}
	cfg, err := clientcmd.LoadFromFile(p.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range cfg.AuthInfos {
		*user = clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain})}
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func obtain(t *testing.T, admin, kubeconfig, signer string, person bool) string {
	t.Helper()
	return asks(t, kubeconfig, signer).obtain(t, admin, person)
}

func certificateOf(t *testing.T, kubeconfig string) *x509.Certificate {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(cfg.CertData)
	if block == nil {
		t.Fatalf("there is no certificate in %s", kubeconfig)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
