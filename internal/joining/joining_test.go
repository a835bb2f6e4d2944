package joining_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/internal/joining"
	"gatehouse.dev/gatehouse/internal/secret"
)

const token = "abcdef.0123456789abcdef"

// A fake is a server that signs what it is asked for at once, unless a test
// changes that.
type fake struct {
	*httptest.Server
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	info map[string]string // the data of cluster-info

	// decide fills in the status of a request that is read for the n-th time.
	decide func(csr *certificatesv1.CertificateSigningRequest, n int)
	// refuse answers a request instead, if it returns a code.
	refuse func(r *http.Request) int
	// introduce answers who the server is, instead.
	introduce http.HandlerFunc

	mu     sync.Mutex
	csrs   map[string]*certificatesv1.CertificateSigningRequest
	reads  int
	tokens []string // who asked for something else than cluster-info
	nodes  []*corev1.Node
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{csrs: map[string]*certificatesv1.CertificateSigningRequest{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = nil
	f.StartTLS()
	t.Cleanup(f.Close)
	f.ca = f.Certificate()
	var err error
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	f.publish(t, f.URL, f.ca, token)
	f.decide = func(csr *certificatesv1.CertificateSigningRequest, _ int) {
		csr.Status.Certificate = f.sign(t, csr, nil)
	}
	return f
}

// publish writes a cluster-info, signed with a token.
func (f *fake) publish(t *testing.T, server string, ca *x509.Certificate, token string) {
	t.Helper()
	text, err := clientcmd.Write(clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{"": {Server: server, CertificateAuthorityData: encode(ca)}}})
	if err != nil {
		t.Fatal(err)
	}
	id, key, _ := bootstrap.Parse(token)
	f.info = map[string]string{"kubeconfig": string(text), "jws-kubeconfig-" + id: bootstrap.Sign(string(text), id, []byte(key))}
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// sign makes the certificate that was asked for, as change has it.
func (f *fake) sign(t *testing.T, csr *certificatesv1.CertificateSigningRequest, change func(*x509.Certificate)) []byte {
	block, _ := pem.Decode(csr.Spec.Request)
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Error(err)
		return nil
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: asked.Subject, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), PublicKey: asked.PublicKey}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}}, template.PublicKey, f.key)
	if err != nil {
		t.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		if code := f.refuse(r); code != 0 {
			answer(w, code, status(code))
			return
		}
	}
	const requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	if strings.HasSuffix(r.URL.Path, "/cluster-info") && f.introduce != nil {
		f.introduce(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/cluster-info") {
		answer(w, 200, &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: f.info})
		return
	}
	f.tokens = append(f.tokens, r.Header.Get("Authorization"))
	switch {
	case r.URL.Path == requests:
		csr := &certificatesv1.CertificateSigningRequest{}
		_ = json.NewDecoder(r.Body).Decode(csr)
		if f.csrs[csr.Name] != nil {
			s := status(409)
			s.Reason = metav1.StatusReasonAlreadyExists
			answer(w, 409, s)
			return
		}
		f.csrs[csr.Name] = csr
		answer(w, 201, csr)
	case strings.HasPrefix(r.URL.Path, requests):
		csr := f.csrs[filepath.Base(r.URL.Path)]
		if csr == nil {
			answer(w, 404, status(404))
			return
		}
		f.reads++
		f.decide(csr, f.reads)
		answer(w, 200, csr)
	case r.URL.Path == "/api/v1/nodes" && r.Method == http.MethodPost:
		node := &corev1.Node{}
		_ = json.NewDecoder(r.Body).Decode(node)
		f.nodes = append(f.nodes, node)
		answer(w, 201, node)
	default:
		answer(w, 404, status(404))
	}
}

func status(code int) *metav1.Status {
	reasons := map[int]metav1.StatusReason{401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound}
	return &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reasons[code], Message: fmt.Sprint("answer ", code)}
}

func answer(w http.ResponseWriter, code int, obj any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(obj)
}

func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// node is a machine that joins the server by its token.
func (f *fake) node(t *testing.T) *joining.Node {
	return &joining.Node{
		Name: "one", Folder: filepath.Join(t.TempDir(), "node"), Patience: 10 * time.Second, Release: "test", Say: func(text string) { t.Log(text) },
		Way: joining.Way{Server: f.URL, Token: secret.New([]byte(token)), CAHashes: []string{pin(f.ca)}},
	}
}

// refused holds that joining fails with words, and says what can be done.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	hinted, ok := errors.AsType[*joining.Hinted](err)
	if !ok || !strings.Contains(err.Error(), want) || hinted.Mend == "" {
		t.Errorf("got %v (%T), want %q and a hint", err, err, want)
	}
	if err != nil && strings.Contains(err.Error(), "0123456789abcdef") {
		t.Errorf("the token is told: %v", err)
	}
}

func TestJoin(t *testing.T) {
	f := newFake(t)
	n := f.node(t)
	n.Labels = map[string]string{"example.org/a": "b"}
	if err := n.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.nodes) != 1 || f.nodes[0].Name != "one" || f.nodes[0].Labels["example.org/a"] != "b" || f.nodes[0].Labels["kubernetes.io/hostname"] != "one" {
		t.Errorf("registered %+v", f.nodes)
	}
	for _, csr := range f.csrs {
		if csr.Spec.SignerName != "kubernetes.io/kube-apiserver-client-kubelet" || len(csr.Spec.Usages) != 2 {
			t.Errorf("asked for %+v", csr.Spec)
		}
	}
	for name, want := range map[string]os.FileMode{"node.pem": 0o600, "kubeconfig": 0o600, "node.key.pending": 0} {
		info, err := os.Stat(filepath.Join(n.Folder, name))
		if want == 0 && !errors.Is(err, os.ErrNotExist) || want != 0 && (err != nil || info.Mode().Perm() != want) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig())
	if err != nil || cfg.Host != f.URL || cfg.CertFile != filepath.Join(n.Folder, "node.pem") || cfg.KeyFile != cfg.CertFile || len(cfg.CAData) == 0 {
		t.Errorf("the kubeconfig says %+v, %v", cfg, err)
	}

	// Again: there is nothing to ask for, and nobody vouches for anything.
	f.info, f.csrs = nil, map[string]*certificatesv1.CertificateSigningRequest{}
	n.Way = joining.Way{}
	if err := n.Join(t.Context()); err != nil || len(f.csrs) > 0 {
		t.Errorf("again: %v, %d requests", err, len(f.csrs))
	}
	n.Name = "two"
	refused(t, n.Join(t.Context()), `is the certificate of "system:node:one"`)
}

// The machine goes on waiting for what it asked for before.
func TestJoinGoesOn(t *testing.T) {
	f := newFake(t)
	sign := f.decide
	f.decide = func(*certificatesv1.CertificateSigningRequest, int) {}
	n := f.node(t)
	n.Patience = 100 * time.Millisecond
	refused(t, n.Join(t.Context()), "has no certificate yet")
	f.decide = sign
	if err := n.Join(t.Context()); err != nil || len(f.csrs) != 1 {
		t.Errorf("later: %v, %d requests", err, len(f.csrs))
	}

	// Somebody has made a request of that name.
	f.decide = func(*certificatesv1.CertificateSigningRequest, int) {}
	n = f.node(t)
	n.Patience = 100 * time.Millisecond
	refused(t, n.Join(t.Context()), "has no certificate yet")
	for _, csr := range f.csrs {
		csr.Spec.Request = nil
	}
	refused(t, n.Join(t.Context()), "is somebody else's")
}

// Who cannot prove to be the server is not shown the token.
func TestStrangers(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fake, *joining.Node)
		want   string
	}{
		"another CA":              {func(_ *fake, n *joining.Node) { n.Way.CAHashes = []string{"sha256:" + strings.Repeat("00", 32)} }, "the CA of the server has the key sha256:"},
		"no hash":                 {func(_ *fake, n *joining.Node) { n.Way.CAHashes = nil }, "nothing says which CA"},
		"a hash of another kind":  {func(_ *fake, n *joining.Node) { n.Way.CAHashes = []string{"md5:00"} }, "is no digest of a key"},
		"a short hash":            {func(_ *fake, n *joining.Node) { n.Way.CAHashes = []string{"sha256:00"} }, "is no digest of a key"},
		"no token":                {func(_ *fake, n *joining.Node) { n.Way.Token = secret.Bytes{} }, "no bootstrap token"},
		"half a token":            {func(_ *fake, n *joining.Node) { n.Way.Token = secret.New([]byte("abcdef")) }, "no bootstrap token"},
		"signed by another token": {func(f *fake, _ *joining.Node) { f.publish(t, f.URL, f.ca, "abcdef.ffffffffffffffff") }, "is not signed by the token"},
		"changed on the way": {func(f *fake, _ *joining.Node) {
			f.info["kubeconfig"] = strings.Replace(f.info["kubeconfig"], "127.0.0.1", "127.0.0.2", 1)
		}, "is not signed by the token"},
		"no cluster-info": {func(f *fake, _ *joining.Node) {
			f.refuse = func(r *http.Request) int { return 403 }
		}, "asking https://127.0.0.1"},
		"http":                {func(_ *fake, n *joining.Node) { n.Way.Server = "http://127.0.0.1:1" }, "is not https"},
		"nothing":             {func(_ *fake, n *joining.Node) { n.Way = joining.Way{} }, "no way to get one"},
		"no kubeconfig":       {func(_ *fake, n *joining.Node) { n.Way = joining.Way{Kubeconfig: "none"} }, "reading none"},
		"a name that is none": {func(_ *fake, n *joining.Node) { n.Name = "One" }, "is no name of a node"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			n := f.node(t)
			tt.change(f, n)
			refused(t, n.Join(t.Context()), tt.want)
			if len(f.tokens) > 0 || len(f.csrs) > 0 {
				t.Errorf("somebody was asked who is not known: %q", f.tokens)
			}
		})
	}
}

// What the server does with the request.
func TestRefusedCertificates(t *testing.T) {
	deny := func(kind certificatesv1.RequestConditionType) func(*fake, *certificatesv1.CertificateSigningRequest) {
		return func(_ *fake, csr *certificatesv1.CertificateSigningRequest) {
			csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: kind, Reason: "Because", Message: "not you"}}
		}
	}
	signed := func(change func(*x509.Certificate)) func(*fake, *certificatesv1.CertificateSigningRequest) {
		return func(f *fake, csr *certificatesv1.CertificateSigningRequest) {
			csr.Status.Certificate = f.sign(t, csr, change)
		}
	}
	for name, tt := range map[string]struct {
		decide func(*fake, *certificatesv1.CertificateSigningRequest)
		want   string
	}{
		"denied":            {deny(certificatesv1.CertificateDenied), "was denied: Because: not you"},
		"failed":            {deny(certificatesv1.CertificateFailed), "could not be signed: Because: not you"},
		"of another node":   {signed(func(c *x509.Certificate) { c.Subject.CommonName = "system:node:two" }), "a certificate for"},
		"of another group":  {signed(func(c *x509.Certificate) { c.Subject.Organization = []string{"system:masters"} }), "a certificate for"},
		"of one group more": {signed(func(c *x509.Certificate) { c.Subject.Organization = append(c.Subject.Organization, "x") }), "a certificate for"},
		"expired":           {signed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "by the clock of this machine not now"},
		"not yet valid":     {signed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), "by the clock of this machine not now"},
		"of another key": {signed(func(c *x509.Certificate) {
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			c.PublicKey = key.Public()
		}), "for another key"},
		"no certificate": {func(_ *fake, csr *certificatesv1.CertificateSigningRequest) { csr.Status.Certificate = []byte("x") }, "something else than a certificate"},
		"a broken one": {func(_ *fake, csr *certificatesv1.CertificateSigningRequest) {
			csr.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"})
		}, "reading the issued certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.decide = func(csr *certificatesv1.CertificateSigningRequest, _ int) { tt.decide(f, csr) }
			n := f.node(t)
			n.Patience = 1500 * time.Millisecond
			err := n.Join(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			for _, file := range []string{"node.pem", "kubeconfig"} {
				if _, err := os.Stat(filepath.Join(n.Folder, file)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("there is a %s: %v", file, err)
				}
			}
			if len(f.nodes) > 0 {
				t.Error("registered without a certificate")
			}
		})
	}
}

// What the machine may not do.
func TestForbidden(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path string
		code         int
		want, mend   string
		// pending is whether the same request may still give a certificate.
		pending bool
	}{
		"to ask":      {"POST", "certificatesigningrequests", 403, "asking for a certificate", "system:node-bootstrapper", true},
		"to be there": {"POST", "certificatesigningrequests", 401, "asking for a certificate", "kubeadm token list", true},
		"to wait":     {"GET", "certificatesigningrequests", 403, "waiting for the certificate", "system:node-bootstrapper", true},
		"to register": {"POST", "nodes", 403, "registering the Node one", "the mode Node", false},
		"to act":      {"POST", "nodes", 401, "registering the Node one", "remove it and join again", false},
		"deleted":     {"GET", "certificatesigningrequests", 404, "was deleted", "join again", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.refuse = func(r *http.Request) int {
				if r.Method == tt.method && strings.Contains(r.URL.Path, "/"+tt.path) {
					return tt.code
				}
				return 0
			}
			n := f.node(t)
			err := n.Join(t.Context())
			refused(t, err, tt.want)
			if _, err := os.Stat(filepath.Join(n.Folder, "node.key.pending")); (err == nil) != tt.pending {
				t.Errorf("the key that waits: %v", err)
			}
			if hinted, ok := errors.AsType[*joining.Hinted](err); ok && !strings.Contains(hinted.Mend, tt.mend) {
				t.Errorf("the hint is %q, want %q", hinted.Mend, tt.mend)
			}
		})
	}
}

// Files that are not what they should be are left alone.
func TestFiles(t *testing.T) {
	for name, text := range map[string]string{"node.pem": "none", "node.key.pending": "none"} {
		f := newFake(t)
		n := f.node(t)
		path := filepath.Join(n.Folder, name)
		if err := errors.Join(os.MkdirAll(n.Folder, 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		refused(t, n.Join(t.Context()), path)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := n.Join(t.Context()); err == nil || !strings.Contains(err.Error(), "open to every user") {
			t.Errorf("%s for everybody: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s was changed: %q, %v", name, got, err)
		}
	}
}
