package durability_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/test/env"
)

const requestsPath = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// A held certificate is one with its key, as PEM.
type held struct {
	cert      *x509.Certificate
	text, key []byte
}

// A vault is two processes on one store that renew certificates, and the first of
// them with the credentials of the administrator.
type vault struct {
	t          *testing.T
	kubeconfig string
	replicas   []*replica
}

func newVault(t *testing.T) *vault {
	t.Helper()
	etcds := startCluster(t, 1)
	first := env.Start(t)
	first.Stop()
	flags := moved(t, append([]string{"migrate", "--data-dir", first.DataDir, "--keys-to", filepath.Join(t.TempDir(), "keys")}, etcds.flags()...))
	flags = append(flags, "--cluster-signing-cert-file="+filepath.Join(first.DataDir, "ca.crt"), "--cluster-signing-key-file="+filepath.Join(first.DataDir, "ca.key"),
		"--cluster-signing-duration=12h", "--cluster-signing-kube-apiserver-client-renewable-for=24h")
	v := &vault{t: t, kubeconfig: first.Kubeconfig}
	for range 2 {
		v.replicas = append(v.replicas, startReplica(t, v.kubeconfig, flags))
	}
	admin := v.replicas[0]
	admin.must(t, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "requester"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"certificatesigningrequests"}, Verbs: []string{"create", "get"}}},
	}, nil)
	admin.must(t, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "requesters"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "requester"},
		Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "Group", Name: "owners"}},
	}, nil)
	return v
}

// as returns a client of a process with a certificate.
func (v *vault) as(h *held, base string) *client {
	v.t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", v.kubeconfig)
	if err != nil {
		v.t.Fatal(err)
	}
	cfg = rest.AnonymousClientConfig(cfg)
	cfg.CertData, cfg.KeyData = h.text, h.key
	return connectAs(v.t, cfg, base)
}

// request asks for a certificate of a user, has it approved by admin unless that
// is nil, and waits for it. It fails with what the server answers.
func (v *vault) request(ctx context.Context, c, admin *client, user string) (*held, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: user, Organization: []string{"owners"}}}, key)
	if err != nil {
		return nil, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var r certificatesv1.CertificateSigningRequest
	err = c.do(ctx, "POST", requestsPath, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "request-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}, &r)
	if err != nil {
		return nil, err
	}
	if admin != nil {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test"}}
		if err := admin.do(ctx, "PUT", requestsPath+"/"+r.Name+"/approval", &r, nil); err != nil {
			return nil, err
		}
	}
	for {
		if err := c.do(ctx, "GET", requestsPath+"/"+r.Name, nil, &r); err != nil {
			return nil, err
		}
		for _, condition := range r.Status.Conditions {
			if condition.Type == certificatesv1.CertificateFailed {
				return nil, errors.New(condition.Message)
			}
		}
		if block, _ := pem.Decode(r.Status.Certificate); block != nil {
			cert, err := x509.ParseCertificate(block.Bytes)
			return &held{cert, r.Status.Certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain})}, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// A thief has a certificate, and renews it for as long as he is let in.
type thief struct {
	mu  sync.Mutex
	all []*held
	// end is why he was not let in any more, or was given nothing.
	end error
}

func (t *thief) got() []*held {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[:len(t.all):len(t.all)]
}

func (t *thief) steal(ctx context.Context, v *vault, from *held, user string) {
	for t.end == nil {
		var next *held
		if next, t.end = v.request(ctx, v.as(from, v.replicas[1].base), nil, user); t.end == nil {
			from = next
			t.mu.Lock()
			t.all = append(t.all, next)
			t.mu.Unlock()
		}
	}
}

// TestRevocationReachesRenewals has a thief renew a certificate on one process
// while its owner revokes it on another. Whatever he has got until then, and
// whatever he gets, is good for nothing anywhere.
func TestRevocationReachesRenewals(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	rounds := 4
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		rounds = 40
	}
	v := newVault(t)
	for round := range rounds {
		v.round(t, round)
	}
}

func (v *vault) round(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin, user := v.replicas[0].client, fmt.Sprint("jane-", n)
	first, err := v.request(ctx, admin, admin, user)
	if err != nil {
		t.Fatal(err)
	}
	var robber thief
	done := make(chan struct{})
	go func() { defer close(done); robber.steal(ctx, v, first, user) }()
	eventually(t, startLimit, "a thief who renews", func() error {
		if got := len(robber.got()); got < 3+n%3 {
			return fmt.Errorf("he has renewed %d times", got)
		}
		return nil
	})
	had := robber.got()
	// The first of the chain, by its number; or one of the middle, by its digest.
	named := &v1alpha1.RevokedCertificate{Issuer: "CN=gatehouse", SerialNumber: first.cert.SerialNumber.Text(16)}
	if n%2 == 1 {
		named = &v1alpha1.RevokedCertificate{TBSSHA256: fmt.Sprintf("%x", sha256.Sum256(had[1].cert.RawTBSCertificate))}
	}
	admin.must(t, "POST", "/apis/gatehouse.dev/v1alpha1/revocations", &v1alpha1.Revocation{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "stolen-"}, Spec: v1alpha1.RevocationSpec{Certificate: named, Reason: v1alpha1.ReasonKeyCompromise},
	}, nil)
	for i, h := range append(had, first) {
		if err := v.as(h, admin.base).letIn(ctx); !isRefused(err, http.StatusUnauthorized) {
			t.Errorf("where it was said, renewal %d is answered with %v", i, err)
		}
	}
	<-done
	if !isRefused(robber.end, http.StatusUnauthorized) && (robber.end == nil || !strings.Contains(robber.end.Error(), "has been taken back since")) {
		t.Errorf("the thief ended with %v", robber.end)
	}
	var all certificatesv1.CertificateSigningRequestList
	admin.must(t, "GET", requestsPath, nil, &all)
	signed := 0
	for _, r := range all.Items {
		if r.Spec.Username == user && len(r.Status.Certificate) > 0 {
			signed++
		}
	}
	everything := append(robber.got(), first)
	if signed > len(robber.got())+1 {
		t.Errorf("%d renewals were handed out, and the thief has %d", signed, len(robber.got()))
	}
	for i, h := range everything {
		for _, r := range v.replicas {
			eventually(t, elsewhere, fmt.Sprintf("renewal %d refused by %s", i, r.base), func() error {
				if err := v.as(h, r.base).letIn(ctx); !isRefused(err, http.StatusUnauthorized) {
					return fmt.Errorf("the answer is %v", err)
				}
				return nil
			})
		}
	}
	eventually(t, elsewhere, "a list of all that was renewed", func() error { return v.listed(ctx, everything) })
	t.Logf("the thief has renewed %d times, %d of them after he was revoked elsewhere", len(robber.got()), len(robber.got())-len(had))
}

// listed returns an error unless certificates are on the list of their CA.
func (v *vault) listed(ctx context.Context, all []*held) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.replicas[1].base+"/pki/cluster-signing.crl", nil)
	if err != nil {
		return err
	}
	response, err := v.replicas[1].http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(text)
	if err != nil {
		return fmt.Errorf("%s: %w", response.Status, err)
	}
	on := map[string]bool{}
	for _, entry := range list.RevokedCertificateEntries {
		on[entry.SerialNumber.Text(16)] = true
	}
	for i, h := range all {
		if !on[h.cert.SerialNumber.Text(16)] {
			return fmt.Errorf("renewal %d is not on it", i)
		}
	}
	return nil
}
