package joining

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

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
// known yet.
const maxAnswer = 4 << 20

// bounded reads at most maxAnswer of each answer.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, maxAnswer), response.Body}
	}
	return response, err
}

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
