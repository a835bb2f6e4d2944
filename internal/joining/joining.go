// Package joining makes a machine a node that is no kubelet's: it gets a client
// certificate, registers a Node, and keeps its Lease and the certificate.
//
// The idea is that a machine has nothing to lose before it knows whom it talks
// to. What the server says of itself counts if the token has signed it and the
// key of its CA is the one that was named; the token is sent after that, and the
// key of the certificate is made here and never sent. What a kubelet does with a
// bootstrap kubeconfig (k8s.io/client-go/util/certificate,
// k8s.io/kubernetes pkg/kubelet) is done here call for call.
//
// It refuses a server whose CA nobody vouches for, a certificate that is not what
// was asked for, and files of another node.
package joining

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/internal/secret"
)

// Names of the files in the folder of a node.
const (
	// KubeconfigFile is for whoever acts as the node. It names the file beside it.
	KubeconfigFile = "kubeconfig"
	// certificateFile has the certificate in force and its key, as the file of a
	// kubelet does.
	certificateFile = "node.pem"
	// pendingFile has the key of a certificate that is still asked for.
	pendingFile = "node.key.pending"
)

// A Node is a machine that joins. All fields but Labels are required.
type Node struct {
	// Name is that of the Node, and Folder is for its files.
	Name, Folder string
	// Labels are given to the Node besides those that a kubelet gives it.
	Labels map[string]string
	// Way is how the machine gets in as long as it has no certificate.
	Way Way
	// Patience is how long the machine waits for its certificate.
	Patience time.Duration
	// Release is told as the version of what runs the node.
	Release string
	// Say tells how it goes, in a line.
	Say func(string)
}

// A Way is how a machine gets in first: by a kubeconfig, or by a server, a
// bootstrap token, and the digests of the keys of CAs, one of which must be the
// server's.
type Way struct {
	Kubeconfig string
	Server     string
	Token      secret.Bytes
	CAHashes   []string
}

// A Hinted is an error that somebody can mend, and how.
type Hinted struct {
	error
	Mend string
}

// Unwrap returns the error.
func (h *Hinted) Unwrap() error { return h.error }

func hinted(err error, mend string, args ...any) error {
	return &Hinted{err, fmt.Sprintf(mend, args...)}
}

// Kubeconfig returns the path of the file for whoever acts as the node.
func (n *Node) Kubeconfig() string { return filepath.Join(n.Folder, KubeconfigFile) }

// Join gets a certificate, unless there is one that is still good, and registers
// the Node.
func (n *Node) Join(ctx context.Context) error {
	if problems := validation.IsDNS1123Subdomain(n.Name); len(problems) > 0 {
		return hinted(fmt.Errorf("%q is no name of a node", n.Name), "choose another with --name: %s", problems[0])
	}
	if err := n.enter(ctx); err != nil {
		return err
	}
	client, err := n.client()
	if err != nil {
		return err
	}
	return n.register(ctx, client)
}

// enter sees to it that there are a good certificate and its kubeconfig.
func (n *Node) enter(ctx context.Context) error {
	held, err := n.held()
	switch {
	case err == nil && held.valid(time.Now()):
		if _, err := os.Stat(n.Kubeconfig()); err != nil {
			return hinted(err, "remove %s and join again", n.file(certificateFile))
		}
		n.Say(fmt.Sprintf("there is a certificate until %s already", held.until()))
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	cluster, cfg, err := n.Way.find(ctx, n.Say)
	if err != nil {
		return err
	}
	client, err := connect(cfg)
	if err != nil {
		return err
	}
	held, err = n.request(ctx, client)
	if err != nil {
		return err
	}
	return n.keep(cluster, held)
}

// keep writes the certificate and the kubeconfig that leads to it. The kubeconfig
// comes last: where it is, it works.
func (n *Node) keep(cluster *clientcmdapi.Cluster, held *certificate) error {
	if err := held.write(n.file(certificateFile)); err != nil {
		return err
	}
	if err := writeKubeconfig(n.Kubeconfig(), n.Name, cluster); err != nil {
		return err
	}
	n.Say(fmt.Sprintf("has a certificate until %s", held.until()))
	return os.Remove(n.file(pendingFile))
}

func (n *Node) file(name string) string { return filepath.Join(n.Folder, name) }
