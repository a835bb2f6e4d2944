// Package kubeconfig writes the file that kubectl and every other client of
// Kubernetes reads to find a server and to be let in.
//
// All is inside the file: the authority to trust, the client certificate and
// its key. So it can be moved, and it never says where things are on the
// machine it was made on.
//
// It refuses a server that is not https, to which a client would show what it
// has in the clear, and a certificate, key or authority that clients could not
// use.
package kubeconfig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
	"gatehouse.dev/gatehouse/internal/secret"
)

// A Config is one way to one server.
type Config struct {
	// Context, Cluster and User are the names of the three entries of the file.
	// A client finds the other two by the context, which is the current one.
	Context, Cluster, User string
	// Server is the URL of the server: https, a host, and maybe a path.
	Server string
	// Authority has the certificates to trust, in PEM form.
	Authority []byte
	// Certificate and Key are of the client, in PEM form.
	Certificate []byte
	Key         secret.Bytes
}

// Write writes c to the file at path, in the place of what is there, for its
// owner alone to read.
func (c Config) Write(path string) error {
	data, err := c.Encode()
	if err != nil {
		return err
	}
	return wholefile.Write(path, data, 0o600)
}

// Encode returns what is in the file.
func (c Config) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("making kubeconfig: %w", err)
	}
	file := api.NewConfig()
	file.Clusters[c.Cluster] = &api.Cluster{Server: c.Server, CertificateAuthorityData: c.Authority}
	file.AuthInfos[c.User] = &api.AuthInfo{ClientCertificateData: c.Certificate, ClientKeyData: c.Key.Reveal()}
	file.Contexts[c.Context] = &api.Context{Cluster: c.Cluster, AuthInfo: c.User}
	file.CurrentContext = c.Context
	return clientcmd.Write(*file)
}

func (c Config) check() error {
	if c.Context == "" || c.Cluster == "" || c.User == "" {
		return errors.New("context, cluster and user must have names")
	}
	server, err := url.Parse(c.Server)
	if err != nil || server.Scheme != "https" || server.Hostname() == "" ||
		server.User != nil || server.RawQuery != "" || server.Fragment != "" {
		return fmt.Errorf("the server %q is no URL like https://host:port/path", c.Server)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(c.Authority) {
		return errors.New("no certificate of the authority in PEM form")
	}
	if _, err := tls.X509KeyPair(c.Certificate, c.Key.Reveal()); err != nil {
		// The cause is left out: it may be about the inside of the key.
		return errors.New("the client certificate and its key cannot be read or do not belong together")
	}
	return nil
}
