package joining

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// requestTimeout is how long one request may take.
const requestTimeout = 30 * time.Second

// connect returns a client of a server, which must be https. The library's typed
// clients are not used, as they link every API group.
func connect(cfg *rest.Config) (rest.Interface, error) {
	cfg = rest.CopyConfig(cfg)
	if !strings.Contains(cfg.Host, "://") {
		cfg.Host = "https://" + cfg.Host
	}
	if !strings.HasPrefix(cfg.Host, "https://") {
		return nil, hinted(fmt.Errorf("%s is not https", cfg.Host), "credentials are only sent encrypted: name the server as https://...")
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, certificatesv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.Timeout, cfg.QPS = requestTimeout, -1
	cfg.UserAgent = "gatehouse-node"
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", cfg.Host, err)
	}
	return client, nil
}

// maxAnswer bounds what is read of an answer, in bytes: who it is of may not be
// known yet. It is more than etcd stores of one object.
const maxAnswer = 4 << 20

// bounded refuses answers that are longer than maxAnswer, and those that send us
// elsewhere: API servers do not, and what is sent along is for one of them only.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return nil, fmt.Errorf("it redirects to %.200q, and an API server does not", response.Header.Get("Location"))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("it answers with more than %d bytes", maxAnswer)
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	return response, nil
}

// A strange error is one whose text may be that of somebody who is not known.
type strange struct{ error }

// Error returns the text as it can be shown: with nothing that a terminal obeys,
// and not at any length.
func (s strange) Error() string {
	const most = 400
	text := s.error.Error()
	if len(text) > most || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%.*q", most, text)
	}
	return text
}

func (s strange) Unwrap() error { return s.error }

// client returns a client that acts as the node.
func (n *Node) client() (rest.Interface, error) {
	_, cfg, err := fromKubeconfig(n.Kubeconfig())
	if err != nil {
		return nil, err
	}
	return connect(cfg)
}

// writeKubeconfig writes a kubeconfig that leads to the certificate beside it.
// Whoever uses it finds a new certificate by itself, and the folder may be moved.
func writeKubeconfig(path, node string, cluster *clientcmdapi.Cluster) error {
	user := identity.NodePrefix + node
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"gatehouse": cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {ClientCertificate: certificateFile, ClientKey: certificateFile}},
		Contexts:       map[string]*clientcmdapi.Context{user: {Cluster: "gatehouse", AuthInfo: user}},
		CurrentContext: user,
	})
	if err != nil {
		return fmt.Errorf("making %s: %w", filepath.Base(path), err)
	}
	return wholefile.Write(path, text, 0o600)
}

// sleep waits, and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
