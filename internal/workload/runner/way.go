//go:build linux

package runner

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/homedir"
)

// kubeconfigName is the file in --token-dir for programs that take one.
const kubeconfigName = "kubeconfig"

// ErrWay is that the server cannot be told in the words of a cluster.
var ErrWay = errors.New("a program in a cluster could not use the server of the kubeconfig")

// A way is how the server is reached: by this process with its own credentials,
// and by the program with the token.
type way struct {
	config     *rest.Config
	namespace  string
	host, port string
	// hidden are the files with the caller's credentials.
	hidden []string
}

// find reads the kubeconfig.
func (r *Run) find() (*way, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = r.Kubeconfig
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: r.Context})
	config, err := loading.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	namespace, _, err := loading.Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	w := &way{config: config, namespace: namespace}
	if w.host, w.port, err = reachable(config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWay, err)
	}
	files := append([]string{r.Kubeconfig, config.KeyFile, config.BearerTokenFile, filepath.Join(homedir.HomeDir(), clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)}, rules.Precedence...)
	for _, name := range files {
		if name == "" {
			continue
		}
		if name, err = filepath.Abs(name); err != nil {
			return nil, fmt.Errorf("reading kubeconfig: %w", err)
		}
		w.hidden = append(w.hidden, name)
	}
	return w, nil
}

// reachable returns where the server is in the words of a cluster, or why it
// cannot be said in them.
func reachable(config *rest.Config) (host, port string, err error) {
	server := config.Host
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Hostname() == "":
		return "", "", fmt.Errorf("%q is no URL like https://host:port", config.Host)
	case u.Scheme != "https":
		return "", "", fmt.Errorf("%s is not https", server)
	case strings.Trim(u.Path, "/") != "" || config.APIPath != "":
		return "", "", fmt.Errorf("%s has a path", server)
	case config.Insecure:
		return "", "", errors.New("it says insecure-skip-tls-verify, and the program verifies")
	case config.ServerName != "" && config.ServerName != u.Hostname():
		return "", "", fmt.Errorf("its certificate is for %s (tls-server-name), and the program expects %s", config.ServerName, u.Hostname())
	case config.Proxy != nil:
		return "", "", errors.New("it is behind a proxy (proxy-url)")
	}
	host, port = u.Hostname(), u.Port()
	if port == "" {
		port = "443"
	}
	return host, port, nil
}

// authority returns the certificates that the program trusts: those that this
// process does, as they are now. None means those of the system.
func (w *way) authority() ([]byte, error) {
	if len(w.config.CAData) > 0 || w.config.CAFile == "" {
		return w.config.CAData, nil
	}
	text, err := os.ReadFile(w.config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the authority of the server: %w", err)
	}
	return text, nil
}

// kubeconfig is for programs that are told where to look: it leads to the files
// beside it.
func (w *way) kubeconfig(dir, namespace string) ([]byte, error) {
	const name = "workload"
	file := api.NewConfig()
	cluster := &api.Cluster{Server: "https://" + net.JoinHostPort(w.host, w.port)}
	if len(w.config.CAData) > 0 || w.config.CAFile != "" {
		cluster.CertificateAuthority = filepath.Join(dir, "ca.crt")
	}
	file.Clusters[name] = cluster
	file.AuthInfos[name] = &api.AuthInfo{TokenFile: filepath.Join(dir, "token")}
	file.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
	file.CurrentContext = name
	return clientcmd.Write(*file)
}
