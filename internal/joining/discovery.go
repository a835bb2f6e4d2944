package joining

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/internal/pki"
)

// clusterInfo is where a server says of itself where it is and which CA to trust
// (k8s.io/cluster-bootstrap token/api).
const clusterInfo = "/api/v1/namespaces/" + metav1.NamespacePublic + "/configmaps/cluster-info"

// signLimit is how long a new token may take to have signed, and poll how often
// the server is asked.
const (
	signLimit = 30 * time.Second
	poll      = time.Second
)

// find returns the server, and how to get in.
func (w *Way) find(ctx context.Context, say func(string)) (*clientcmdapi.Cluster, *rest.Config, error) {
	switch {
	case w.Kubeconfig != "":
		return fromKubeconfig(w.Kubeconfig)
	case w.Server == "":
		return nil, nil, hinted(errors.New("there is no certificate yet, and no way to get one"), "give a server with --token-file and --ca-hash, or --bootstrap-kubeconfig")
	}
	cluster, err := w.discover(ctx)
	if err != nil {
		return nil, nil, err
	}
	say("found the server " + cluster.Server + ", which the token vouches for")
	return cluster, &rest.Config{
		Host: cluster.Server, BearerToken: string(w.Token.Reveal()), TLSClientConfig: rest.TLSClientConfig{CAData: cluster.CertificateAuthorityData},
	}, nil
}

// fromKubeconfig reads the current context of a kubeconfig, with what it leads to.
func fromKubeconfig(path string) (*clientcmdapi.Cluster, *rest.Config, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: path}, nil)
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, nil, hinted(fmt.Errorf("reading %s: %w", path, err), "name a kubeconfig with a server and a bootstrap token")
	}
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(cfg.CAData) == 0 {
		return nil, nil, hinted(fmt.Errorf("%s: has no certificate-authority-data", path), "put the CA of the server into it")
	}
	return &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData, TLSServerName: cfg.ServerName}, cfg, nil
}

// discover finds the server as kubeadm does (cmd/kubeadm/app/discovery/token): it
// asks whoever answers, checks the answer by the token and the digests, and asks
// again trusting nothing but that answer. The token is not sent.
func (w *Way) discover(ctx context.Context) (*clientcmdapi.Cluster, error) {
	pins, err := parsePins(w.CAHashes)
	if err != nil {
		return nil, err
	}
	id, key, ok := bootstrap.Parse(string(w.Token.Reveal()))
	if !ok {
		return nil, hinted(errors.New("that is no bootstrap token"), "it looks like abcdef.0123456789abcdef; kubeadm token create makes one")
	}
	ctx, cancel := context.WithTimeout(ctx, signLimit)
	defer cancel()
	first, err := w.signed(ctx, rest.TLSClientConfig{Insecure: true}, id, key)
	if err != nil {
		return nil, err
	}
	cluster, err := pinned(first, pins)
	if err != nil {
		return nil, err
	}
	second, err := w.signed(ctx, rest.TLSClientConfig{CAData: cluster.CertificateAuthorityData}, id, key)
	if err != nil {
		return nil, err
	}
	if first != second {
		return nil, fmt.Errorf("%s says something else of itself each time", w.Server)
	}
	return cluster, nil
}

// signed returns the kubeconfig that the server publishes, once the token has
// signed it.
func (w *Way) signed(ctx context.Context, trust rest.TLSClientConfig, id, key string) (string, error) {
	// Nothing that is answered is shown as it comes.
	client, err := connect(&rest.Config{Host: w.Server, TLSClientConfig: trust, WarningHandler: rest.NoWarnings{}})
	if err != nil {
		return "", err
	}
	for {
		var info corev1.ConfigMap
		if err := client.Get().AbsPath(clusterInfo).Do(ctx).Into(&info); err != nil {
			return "", hinted(fmt.Errorf("asking %s who it is: %w", w.Server, strange{err}), "see that the server is there and runs with --enable-bootstrap-token-auth")
		}
		text, signature := info.Data["kubeconfig"], info.Data["jws-kubeconfig-"+id]
		if signature != "" {
			if subtle.ConstantTimeCompare([]byte(signature), []byte(bootstrap.Sign(text, id, []byte(key)))) != 1 {
				return "", hinted(fmt.Errorf("what %s says of itself is not signed by the token: this may be another server, or another token of that ID", w.Server), "give the token and the server of one place: kubeadm token list, or the Secrets in kube-system, show the tokens of a server")
			}
			return text, nil
		}
		if !sleep(ctx, poll) {
			return "", hinted(fmt.Errorf("the token %s has signed nothing at %s", id, w.Server), "see that it is there, has not expired and has usage-bootstrap-signing, with kubeadm token list")
		}
	}
}

// pinned returns the only cluster of a kubeconfig, if one of its CAs has one of
// the keys.
func pinned(text string, pins []string) (*clientcmdapi.Cluster, error) {
	file, err := clientcmd.Load([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("reading cluster-info: %w", err)
	}
	if len(file.Clusters) != 1 {
		return nil, fmt.Errorf("cluster-info has %d clusters, want 1", len(file.Clusters))
	}
	for _, cluster := range file.Clusters {
		authorities, err := pki.ParseCertificates(cluster.CertificateAuthorityData)
		if err != nil {
			return nil, fmt.Errorf("reading the CA in cluster-info: %w", err)
		}
		if !strings.HasPrefix(cluster.Server, "https://") {
			return nil, fmt.Errorf("the server %q in cluster-info is not https", cluster.Server)
		}
		if !slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return slices.Contains(pins, keyHash(c)) }) {
			return nil, hinted(fmt.Errorf("the CA of the server has the key %s, and no other was named", keyHash(authorities[0])), "give that to --ca-hash if it is what the administrator says, and do not join if it is not")
		}
		return &clientcmdapi.Cluster{Server: cluster.Server, CertificateAuthorityData: cluster.CertificateAuthorityData}, nil
	}
	return nil, nil // not reached: there is one
}

// pinPrefix begins the digest of a key.
const pinPrefix = "sha256:"

func keyHash(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + hex.EncodeToString(sum[:])
}

func parsePins(texts []string) ([]string, error) {
	if len(texts) == 0 {
		return nil, hinted(errors.New("nothing says which CA the server must have"), "name the digest of its key with --ca-hash sha256:..., as for kubeadm join")
	}
	var pins []string
	for _, text := range texts {
		pin := strings.ToLower(text)
		if raw, err := hex.DecodeString(strings.TrimPrefix(pin, pinPrefix)); !strings.HasPrefix(pin, pinPrefix) || err != nil || len(raw) != sha256.Size {
			return nil, hinted(fmt.Errorf("%q is no digest of a key", text), "write it as sha256: and 64 hexadecimal digits")
		}
		pins = append(pins, pin)
	}
	return pins, nil
}
