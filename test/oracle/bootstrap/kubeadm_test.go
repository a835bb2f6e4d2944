package bootstrap_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate/csr"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	tokenutil "k8s.io/cluster-bootstrap/util/tokens"

	"gatehouse.dev/gatehouse/test/env"
)

// kubeadm itself lives in k8s.io/kubernetes, which is no library, so what follows
// makes its calls, in its order, with the libraries that it makes them with
// (cmd/kubeadm/app: cmd/token.go, phases/bootstraptoken, discovery/token): the
// commands token create, list and delete, what `init phase bootstrap-token` binds,
// and the discovery of join up to the request for the certificate of a kubelet.

// patience is how long a change may take to be seen. Only what never comes
// should meet it.
const patience = 30 * time.Second

// nodeGroup is what kubeadm puts tokens into unless told otherwise.
const nodeGroup = "system:bootstrappers:kubeadm:default-node-token"

func clientset(t *testing.T, cfg *rest.Config) *kubernetes.Clientset {
	t.Helper()
	cfg.QPS = -1
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts a server with bootstrap tokens, and returns its administrator.
func start(t *testing.T) (*env.Server, *kubernetes.Clientset) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server in a process of its own")
	}
	s := env.Start(t, "--enable-bootstrap-token-auth")
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return s, clientset(t, cfg)
}

// createToken is `kubeadm token create`: it generates a token, sees that there is
// none of its ID, and makes the Secret.
func createToken(t *testing.T, c *kubernetes.Clientset, ttl time.Duration, usages ...string) string {
	t.Helper()
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		t.Fatal(err)
	}
	id, secret, err := tokenutil.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	name := bootstraputil.BootstrapTokenSecretName(id)
	if _, err := c.CoreV1().Secrets(metav1.NamespaceSystem).Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("a token with this id already exists: %v", err)
	}
	data := map[string][]byte{
		bootstrapapi.BootstrapTokenIDKey:          []byte(id),
		bootstrapapi.BootstrapTokenSecretKey:      []byte(secret),
		bootstrapapi.BootstrapTokenExpirationKey:  []byte(time.Now().Add(ttl).UTC().Format(time.RFC3339)),
		bootstrapapi.BootstrapTokenExtraGroupsKey: []byte(nodeGroup),
	}
	for _, usage := range usages {
		data[bootstrapapi.BootstrapTokenUsagePrefix+usage] = []byte("true")
	}
	_, err = c.CoreV1().Secrets(metav1.NamespaceSystem).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		Data:       data,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// listTokens is `kubeadm token list`: the IDs.
func listTokens(t *testing.T, c *kubernetes.Clientset) []string {
	t.Helper()
	list, err := c.CoreV1().Secrets(metav1.NamespaceSystem).List(t.Context(), metav1.ListOptions{
		FieldSelector: fields.SelectorFromSet(map[string]string{"type": string(bootstrapapi.SecretTypeBootstrapToken)}).String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range list.Items {
		ids = append(ids, string(s.Data[bootstrapapi.BootstrapTokenIDKey]))
	}
	return ids
}

// deleteToken is `kubeadm token delete`.
func deleteToken(t *testing.T, c *kubernetes.Clientset, token string) {
	t.Helper()
	id, _, _ := strings.Cut(token, ".")
	err := c.CoreV1().Secrets(metav1.NamespaceSystem).Delete(t.Context(), bootstraputil.BootstrapTokenSecretName(id), metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// allowNodes binds what `kubeadm init phase bootstrap-token` binds, so that who
// has a token may ask for the certificate of a node.
func allowNodes(t *testing.T, c *kubernetes.Clientset) {
	t.Helper()
	for name, role := range map[string]string{
		"kubeadm:kubelet-bootstrap":          "system:node-bootstrapper",
		"kubeadm:node-autoapprove-bootstrap": "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
	} {
		_, err := c.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: nodeGroup}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pinOf is what `kubeadm token create --print-join-command` prints for
// --discovery-token-ca-cert-hash.
func pinOf(t *testing.T, ca []byte) string {
	t.Helper()
	certs, err := certutil.ParseCertsPEM(ca)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certs[0].RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// clusterInfo gets cluster-info without a credential, and waits until the token
// has signed it.
func clusterInfo(ctx context.Context, c *kubernetes.Clientset, id string) (*corev1.ConfigMap, error) {
	for {
		cm, err := c.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, bootstrapapi.ConfigMapClusterInfo, metav1.GetOptions{})
		if err == nil && cm.Data[bootstrapapi.JWSSignatureKeyPrefix+id] != "" {
			return cm, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("could not find a JWS signature for token ID %q: %w", id, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// discover is the discovery of `kubeadm join` by token and pin: what it returns
// is how to reach the cluster.
func discover(ctx context.Context, t *testing.T, endpoint, token, pin string) (*rest.Config, error) {
	t.Helper()
	id, secret, err := tokenutil.ParseToken(token)
	if err != nil {
		return nil, err
	}
	insecure := clientset(t, &rest.Config{Host: endpoint, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	first, err := clusterInfo(ctx, insecure, id)
	if err != nil {
		return nil, err
	}
	content := first.Data[bootstrapapi.KubeConfigKey]
	if !jws.DetachedTokenIsValid(first.Data[bootstrapapi.JWSSignatureKeyPrefix+id], content, id, secret) {
		return nil, errors.New("failed to verify JWS signature of received cluster info object")
	}
	config, err := clientcmd.Load([]byte(content))
	if err != nil {
		return nil, err
	}
	cluster := config.Clusters[""]
	if len(config.Clusters) != 1 || cluster == nil {
		return nil, fmt.Errorf("the kubeconfig has clusters %v, want one without a name", config.Clusters)
	}
	certs, err := certutil.ParseCertsPEM(cluster.CertificateAuthorityData)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(certs, func(c *x509.Certificate) bool {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		return "sha256:"+hex.EncodeToString(sum[:]) == pin
	}) {
		return nil, errors.New("cluster CA found in cluster-info is none of the pinned ones")
	}
	trusting := func(host string) *rest.Config {
		return &rest.Config{Host: host, TLSClientConfig: rest.TLSClientConfig{CAData: cluster.CertificateAuthorityData}}
	}
	second, err := clusterInfo(ctx, clientset(t, trusting(endpoint)), id)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal([]byte(second.Data[bootstrapapi.KubeConfigKey]), []byte(content)) {
		return nil, errors.New("the second kubeconfig was different from the first")
	}
	return trusting(cluster.Server), nil
}

// certificateRequest is what a kubelet asks for with a token.
func certificateRequest(t *testing.T, node string) ([]byte, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := certutil.MakeCSR(key, &pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request, key
}

func TestJoin(t *testing.T) {
	s, admin := start(t)
	allowNodes(t, admin)
	token := createToken(t, admin, 24*time.Hour, "signing", "authentication")
	id, _, _ := strings.Cut(token, ".")
	if got := listTokens(t, admin); !slices.Equal(got, []string{id}) {
		t.Errorf("the tokens %q are listed, want %s", got, id)
	}
	ca, err := os.ReadFile(filepath.Join(s.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := discover(t.Context(), t, s.Address, token, pinOf(t, ca))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Host != s.Address {
		t.Errorf("cluster-info says %s, the server is at %s", cfg.Host, s.Address)
	}

	cfg.BearerToken = token
	joining := clientset(t, cfg)
	request, key := certificateRequest(t, "node-1")
	name, _, err := csr.RequestCertificateWithContext(t.Context(), joining, request, "node-csr-1", certificatesv1.KubeAPIServerClientKubeletSignerName, nil,
		[]certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := joining.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(got.Spec.Extra, "gatehouse.dev/asked-with") // docs/kubernetes-divergences.md has why it is there
	groups := []string{"system:bootstrappers", nodeGroup, "system:authenticated"}
	if got.Spec.Username != "system:bootstrap:"+id || got.Spec.UID != "" || len(got.Spec.Extra) != 0 || !slices.Equal(got.Spec.Groups, groups) {
		t.Errorf("the request is of %q, %q, %q, %v", got.Spec.Username, got.Spec.UID, got.Spec.Groups, got.Spec.Extra)
	}
	if _, err := joining.CoreV1().Secrets(metav1.NamespaceSystem).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a token lists the Secrets: %v", err)
	}
}

// A join that should not happen.
func TestJoinRefused(t *testing.T) {
	s, admin := start(t)
	ca, err := os.ReadFile(filepath.Join(s.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pin := pinOf(t, ca)
	good := createToken(t, admin, time.Hour, "signing", "authentication")
	if _, err := discover(t.Context(), t, s.Address, good, pin); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, token, pin, want string }{
		{"another secret", good[:7] + "0123456789abcdef", pin, "failed to verify JWS signature"},
		{"another CA", good, pinOf(t, foreign(t)), "none of the pinned ones"},
		{"an unknown token", "zzzzzz.0123456789abcdef", pin, "could not find a JWS signature"},
		{"a token that does not sign", createToken(t, admin, time.Hour, "authentication"), pin, "could not find a JWS signature"},
		{"a token that has expired", createToken(t, admin, -time.Second, "signing", "authentication"), pin, "could not find a JWS signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			cfg, err := discover(ctx, t, s.Address, tt.token, tt.pin)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("discovery gives %v, %v, want %q", cfg, err, tt.want)
			}
		})
	}

	// Who has no credential may read this one ConfigMap, and nothing else.
	nobody := clientset(t, &rest.Config{Host: s.Address, TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
	maps := nobody.CoreV1().ConfigMaps(metav1.NamespacePublic)
	if _, err := maps.List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("nobody lists kube-public: %v", err)
	}
	if _, err := maps.Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("nobody reads another ConfigMap: %v", err)
	}
	if err := maps.Delete(t.Context(), bootstrapapi.ConfigMapClusterInfo, metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("nobody deletes cluster-info: %v", err)
	}
}

// A token ends with its Secret, for logging in at once, and soon for signing.
func TestTokenEnds(t *testing.T) {
	s, admin := start(t)
	ca, err := os.ReadFile(filepath.Join(s.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	who := func(token string) error {
		c := clientset(t, &rest.Config{Host: s.Address, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
		_, err := c.Discovery().ServerVersion()
		return err
	}
	for range 20 {
		token := createToken(t, admin, time.Hour, "signing", "authentication")
		id, _, _ := strings.Cut(token, ".")
		eventually(t, "logging in", func() bool { return who(token) == nil })
		if err := who(token); err != nil {
			t.Fatalf("with the token that was good: %v", err)
		}
		deleteToken(t, admin, token)
		if err := who(token); !apierrors.IsUnauthorized(err) {
			t.Fatalf("after its Secret was deleted: %v", err)
		}
		eventually(t, "withdrawing the signature", func() bool {
			cm, err := admin.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(t.Context(), bootstrapapi.ConfigMapClusterInfo, metav1.GetOptions{})
			return err == nil && cm.Data[bootstrapapi.JWSSignatureKeyPrefix+id] == ""
		})
	}
	// One that expires is gone by itself.
	token := createToken(t, admin, 2*time.Second, "signing", "authentication")
	eventually(t, "cleaning up", func() bool { return len(listTokens(t, admin)) == 0 })
	if err := who(token); !apierrors.IsUnauthorized(err) {
		t.Errorf("after it expired: %v", err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// foreign is a CA of somebody else.
func foreign(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "foreign"}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: ca.Raw})
}
