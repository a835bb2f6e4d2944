package joining

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// hintAfter is how long it may take until somebody has to be told.
const hintAfter = 5 * time.Second

// request asks for a certificate and waits for it. The server is asked for the
// same one again after a restart.
func (n *Node) request(ctx context.Context, client rest.Interface) (*certificate, error) {
	key, err := n.pendingKey()
	if err != nil {
		return nil, err
	}
	name, err := n.ask(ctx, client, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.Patience)
	defer cancel()
	chain, err := n.await(ctx, client, name)
	if err == nil {
		var got *certificate
		if got, err = n.issued(chain, key); err == nil {
			return got, nil
		}
	}
	if ctx.Err() == nil && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		// That request will never give a certificate; the next one needs another
		// key to have another name.
		err = errors.Join(err, os.Remove(n.file(pendingFile)))
	}
	return nil, err
}

// ask makes the request, or finds the one that was made before for the key.
func (n *Node) ask(ctx context.Context, client rest.Interface, key crypto.Signer) (name string, err error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("encoding the key: %w", err)
	}
	text, err := n.signingRequest(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(public)
	name = fmt.Sprintf("node-%s-%x", n.Name, sum[:6])
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: text, SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}
	err = client.Post().AbsPath(requests).Body(csr).Do(ctx).Error()
	switch {
	case err == nil:
		n.Say("asked for a certificate: CertificateSigningRequest " + name)
		return name, nil
	case !apierrors.IsAlreadyExists(err):
		return "", mayNot(fmt.Errorf("asking for a certificate: %w", err), "create certificatesigningrequests", "system:node-bootstrapper")
	}
	var found certificatesv1.CertificateSigningRequest
	if err := client.Get().AbsPath(requests, name).Do(ctx).Into(&found); err != nil {
		return "", fmt.Errorf("asking for a certificate: %w", err)
	}
	if !isFor(found.Spec.Request, public) {
		return "", hinted(fmt.Errorf("the CertificateSigningRequest %s is somebody else's", name), "remove %s and join again", n.file(pendingFile))
	}
	n.Say("goes on waiting for the certificate of CertificateSigningRequest " + name)
	return name, nil
}

// isFor reports whether a request is for a key.
func isFor(text, public []byte) bool {
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	return err == nil && bytes.Equal(parsed.RawSubjectPublicKeyInfo, public)
}

// mayNot says what a machine lacks that may not do something.
func mayNot(err error, what, role string) error {
	switch {
	case apierrors.IsForbidden(err):
		return hinted(err, "whoever joins must be allowed to %s: bind the ClusterRole %s to the group of the token", what, role)
	case apierrors.IsUnauthorized(err):
		return hinted(err, "the token may have expired, or may lack usage-bootstrap-authentication: kubeadm token list tells")
	}
	return err
}

// await returns the certificate of a request. What may pass is waited for.
func (n *Node) await(ctx context.Context, client rest.Interface, name string) ([]byte, error) {
	told, began := false, time.Now()
	var trouble error
	for {
		var csr certificatesv1.CertificateSigningRequest
		err := client.Get().AbsPath(requests, name).Do(ctx).Into(&csr)
		switch {
		case apierrors.IsNotFound(err):
			return nil, hinted(fmt.Errorf("the CertificateSigningRequest %s was deleted", name), "join again")
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return nil, mayNot(fmt.Errorf("waiting for the certificate: %w", err), "get certificatesigningrequests", "system:node-bootstrapper")
		case err == nil:
			if err := refusal(&csr); err != nil || len(csr.Status.Certificate) > 0 {
				return csr.Status.Certificate, err
			}
		case ctx.Err() == nil:
			trouble = err
		}
		if !told && time.Since(began) > hintAfter {
			told = true
			n.Say("nobody has approved it yet: kubectl certificate approve " + name)
		}
		if !sleep(ctx, poll) {
			err := fmt.Errorf("CertificateSigningRequest %s has no certificate yet", name)
			return nil, hinted(errors.Join(err, trouble), "have it approved with kubectl certificate approve %s, and join again: the same request is waited for", name)
		}
	}
}

// refusal is why there will be no certificate, or nil.
func refusal(csr *certificatesv1.CertificateSigningRequest) error {
	for _, c := range csr.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateDenied:
			return hinted(fmt.Errorf("the CertificateSigningRequest %s was denied: %s", csr.Name, reason(c)), "ask the administrator, and join again")
		case certificatesv1.CertificateFailed:
			return hinted(fmt.Errorf("the CertificateSigningRequest %s could not be signed: %s", csr.Name, reason(c)), "ask the administrator, and join again")
		}
	}
	return nil
}

func reason(c certificatesv1.CertificateSigningRequestCondition) string {
	if c.Message == "" {
		return c.Reason
	}
	return c.Reason + ": " + c.Message
}
