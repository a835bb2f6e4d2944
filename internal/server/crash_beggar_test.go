package server_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A beggar asks a server for whatever it issues until it is gone. Any request may
// fail.
type beggar struct {
	t      *testing.T
	victim *victim
	round  int
	url    string
	client *http.Client
	mu     sync.Mutex // for what the victim has issued
}

const (
	accounts = "/api/v1/namespaces/default/serviceaccounts"
	requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
)

func (b *beggar) askUntilGone(kubeconfig string) {
	if b.victim.check(b.t, kubeconfig) != nil {
		return // killed
	}
	b.url, b.client = way(b.t, kubeconfig)
	if b.round == 0 {
		_ = b.send("POST", accounts, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, nil)
		_ = b.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "renewers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:node-bootstrapper"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:authenticated"}},
		}, nil)
	}
	var all sync.WaitGroup
	if !b.victim.step.external {
		all.Go(func() { b.askOthers(kubeconfig) })
	}
	for range 6 {
		all.Go(b.askTokens)
	}
	all.Wait()
}

func (b *beggar) askTokens() {
	for {
		var answer authenticationv1.TokenRequest
		if b.send("POST", accounts+"/robot/token", &authenticationv1.TokenRequest{}, &answer) != nil {
			return
		}
		name := "jti-" + jtiOf(b.t, answer.Status.Token)
		b.mu.Lock()
		b.victim.issued[name] = "a token that was answered"
		b.mu.Unlock()
	}
}

// askOthers asks for one of each of the others.
func (b *beggar) askOthers(kubeconfig string) {
	_ = b.send("POST", "/api/v1/namespaces/default/secrets", &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("held-", b.round), Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, nil)
	b.askResponder()
	ann := &wish{name: "ann", signer: certificatesv1.KubeAPIServerClientSignerName, subject: pkix.Name{CommonName: "ann"}}
	b.request(b.client, ann, nil)
	b.approve(ann)
	node := pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}
	asNode := http.Header{"Impersonate-User": {node.CommonName}, "Impersonate-Group": node.Organization}
	kubelet := &wish{name: "kubelet", signer: certificatesv1.KubeAPIServerClientKubeletSignerName, subject: node}
	serving := &wish{name: "serving", signer: certificatesv1.KubeletServingSignerName, subject: node, serving: true}
	for _, w := range []*wish{
		kubelet, serving,
		{name: "own", signer: ownSigner, subject: pkix.Name{CommonName: "workload"}},
	} {
		var header http.Header
		if w == serving {
			header = asNode
		}
		b.request(b.client, w, header)
		b.approve(w)
	}
	if client := b.certified(kubeconfig, ann); client != nil {
		again := &wish{name: "ann-again", signer: ann.signer, subject: ann.subject}
		b.request(client, again, nil)
	}
}

// A wish is for a certificate.
type wish struct {
	name, signer string
	subject      pkix.Name
	serving      bool
	key          *ecdsa.PrivateKey
	made         certificatesv1.CertificateSigningRequest
}

func (b *beggar) request(client *http.Client, w *wish, header http.Header) {
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		b.t.Error(err)
		return
	}
	template := &x509.CertificateRequest{Subject: w.subject}
	usages := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	if w.serving {
		usages[1] = certificatesv1.UsageServerAuth
		template.DNSNames, template.IPAddresses = []string{"n1"}, []net.IP{net.IPv4(192, 0, 2, 1)}
	}
	asked, err := x509.CreateCertificateRequest(rand.Reader, template, w.key)
	if err != nil {
		b.t.Error(err)
		return
	}
	_ = b.sendAs(client, header, "POST", requests, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(w.name, "-", b.round)},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: w.signer, Usages: usages, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: asked}),
		},
	}, &w.made)
}

func (b *beggar) approve(w *wish) {
	if w.made.Name == "" {
		return // killed
	}
	w.made.Status.Conditions = append(w.made.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "test",
	})
	_ = b.send("PUT", requests+"/"+w.made.Name+"/approval", &w.made, nil)
}

// certified returns a client with the certificate of a wish, or nil if it does not
// come.
func (b *beggar) certified(kubeconfig string, w *wish) *http.Client {
	if w.made.Name == "" {
		return nil
	}
	var got certificatesv1.CertificateSigningRequest
	for len(got.Status.Certificate) == 0 {
		if b.send("GET", requests+"/"+w.made.Name, nil, &got) != nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		b.t.Error(err)
		return nil
	}
	trust, err := rest.TLSConfigFor(rest.AnonymousClientConfig(cfg))
	if err != nil {
		b.t.Error(err)
		return nil
	}
	block, _ := pem.Decode(got.Status.Certificate)
	trust.Certificates = []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: w.key}}
	transport := &http.Transport{TLSClientConfig: trust}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// askResponder asks about the administrator's certificate, and notes who answers.
func (b *beggar) askResponder() {
	text, err := os.ReadFile(filepath.Join(b.victim.dir, "ca.crt"))
	if err != nil {
		b.t.Error(err)
		return
	}
	block, _ := pem.Decode(text)
	issuer, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.t.Error(err)
		return
	}
	own := certificateIn(b.t, filepath.Join(b.victim.dir, "admin.kubeconfig"))
	question, err := ocsp.CreateRequest(own, issuer, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		b.t.Error(err)
		return
	}
	response, err := b.client.Post(b.url+"/pki/ocsp", "application/ocsp-request", bytes.NewReader(question))
	if err != nil {
		return // killed
	}
	defer response.Body.Close()
	der, err := io.ReadAll(response.Body)
	if err != nil {
		return
	}
	answer, err := ocsp.ParseResponse(der, issuer)
	if err != nil {
		b.t.Errorf("the answer about the administrator's certificate: %v", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.victim.issued[entryOf(b.t, answer.Certificate.Raw)] = "the certificate of the responder"
}

func (b *beggar) send(method, path string, in, out any) error {
	return b.sendAs(b.client, nil, method, path, in, out)
}

func (b *beggar) sendAs(client *http.Client, header http.Header, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, &body)
	if err != nil {
		return err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		return &refusal{path, response.Status}
	}
	if out == nil {
		out = new(json.RawMessage)
	}
	return json.NewDecoder(response.Body).Decode(out)
}

// A refusal is an answer that is not the one that was asked for.
type refusal struct{ path, status string }

func (r *refusal) Error() string { return r.path + " answers " + r.status }
