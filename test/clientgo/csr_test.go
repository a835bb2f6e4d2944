package clientgo_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificates "k8s.io/client-go/kubernetes/typed/certificates/v1"

	"gatehouse.dev/gatehouse/test/authority"
)

type csr = certificatesv1.CertificateSigningRequest

// testCSR takes a request for a certificate through its life, with callers who
// may do one step each.
func testCSR(t *testing.T, w *world) {
	ctx := t.Context()
	client := func(name string) certificates.CertificateSigningRequestInterface {
		return typed(t, w.as(name), asProtobuf).CertificatesV1().CertificateSigningRequests()
	}
	const signer = "example.org/tests"
	csrs := func(verb, resource string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{"certificates.k8s.io"}, Resources: []string{resource}}
	}
	w.allow(t, "alice", csrs("create", "certificatesigningrequests"))
	w.allow(t, "bob", csrs("update", "certificatesigningrequests/approval"))
	w.allow(t, "carol", csrs("update", "certificatesigningrequests/status"))

	request := func(name, signer string, organizations ...string) *csr {
		return &csr{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: signingRequest(t, "somebody", organizations...), SignerName: signer, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
			Username: "root", UID: "0", Groups: []string{"system:masters"}, Extra: map[string]certificatesv1.ExtraValue{"a": {"b"}},
		}}
	}
	made := must[*csr](t)(client("alice").Create(ctx, request("one", signer), metav1.CreateOptions{}))
	if s := made.Spec; s.Username != "alice" || s.UID != "alice-uid" || len(s.Groups) != 2 || s.Groups[0] != "team-alice" || s.Groups[1] != "system:authenticated" || s.Extra["a"] != nil {
		t.Errorf("who asks is the client's word: %+v", s)
	}

	approved := made.DeepCopy()
	approved.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "m"}}
	// A client that names another signer does not get that one's permission.
	approved.Spec.SignerName = "example.org/other"
	w.allow(t, "bob", signers("approve", "example.org/other"))
	_, err := client("bob").UpdateApproval(ctx, "one", approved, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, `user not permitted to approve requests with signerName "example.org/tests"`})
	w.allow(t, "bob", signers("approve", "example.org/*"))
	approved = must[*csr](t)(client("bob").UpdateApproval(ctx, "one", approved, metav1.UpdateOptions{}))
	if c := approved.Status.Conditions; len(c) != 1 || c[0].LastUpdateTime.IsZero() || c[0].LastTransitionTime.IsZero() || approved.Spec.SignerName != signer {
		t.Errorf("approved %+v", approved)
	}
	denied := approved.DeepCopy()
	denied.Status.Conditions = append(denied.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateDenied, Status: corev1.ConditionTrue})
	_, err = client("bob").UpdateApproval(ctx, "one", denied, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "status.conditions: Invalid value"})
	denied.Status.Conditions = nil
	_, err = client("bob").UpdateApproval(ctx, "one", denied, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, `updates may not remove a condition of type "Approved"`})

	signed := approved.DeepCopy()
	signed.Status.Certificate = certificate(t)
	_, err = client("carol").UpdateStatus(ctx, signed, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, `user not permitted to sign requests with signerName "example.org/tests"`})
	w.allow(t, "carol", signers("sign", signer))
	signed.Status.Certificate = []byte("no certificate")
	_, err = client("carol").UpdateStatus(ctx, signed, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "status.certificate"})
	signed.Status.Certificate = certificate(t)
	signed = must[*csr](t)(client("carol").UpdateStatus(ctx, signed, metav1.UpdateOptions{}))
	other := signed.DeepCopy()
	other.Status.Certificate = certificate(t)
	_, err = client("carol").UpdateStatus(ctx, other, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "status.certificate: Forbidden: updates may not modify existing certificate content"})
	// Who may sign may not approve by the way.
	sneaked := must[*csr](t)(w.client(t).CertificatesV1().CertificateSigningRequests().Create(ctx, request("two", signer), metav1.CreateOptions{}))
	sneaked.Status.Conditions = approved.Status.Conditions
	_, err = client("carol").UpdateStatus(ctx, sneaked, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, `updates may not add a condition of type "Approved"`})

	t.Run("restriction", func(t *testing.T) {
		_, err := client("alice").Create(ctx, request("masters", certificatesv1.KubeAPIServerClientSignerName, "system:masters"), metav1.CreateOptions{})
		wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"})
		broken := request("broken", signer)
		broken.Spec.Request = []byte("no request")
		_, err = client("alice").Create(ctx, broken, metav1.CreateOptions{})
		wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "spec.request: Invalid value"})
	})
	t.Run("spec", func(t *testing.T) {
		// The spec is what was asked for, and stays.
		changed := must[*csr](t)(w.client(t).CertificatesV1().CertificateSigningRequests().Get(ctx, "one", metav1.GetOptions{}))
		changed.Spec.Username, changed.Spec.SignerName = "root", "example.org/other"
		changed = must[*csr](t)(w.client(t).CertificatesV1().CertificateSigningRequests().Update(ctx, changed, metav1.UpdateOptions{}))
		if changed.Spec.Username != "alice" || changed.Spec.SignerName != signer {
			t.Errorf("changed %+v", changed.Spec)
		}
	})
}

func signers(verb string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"signers"}, ResourceNames: names}
}

// signingRequest returns a request for a certificate in PEM form.
func signingRequest(t *testing.T, name string, organizations ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name, Organization: organizations},
	}, authority.NewKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// certificate returns one in PEM form.
func certificate(t *testing.T) []byte {
	t.Helper()
	key := authority.NewKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "somebody"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
