package joining

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// A certificate is the one of a node, with its key.
type certificate struct {
	leaf  *x509.Certificate
	chain []byte // in PEM form
	key   crypto.Signer
}

// held returns the certificate in the folder. The error is of a file that does
// not exist if there is none.
func (n *Node) held() (*certificate, error) {
	path := n.file(certificateFile)
	text, err := wholefile.ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		// The cause is left out: it may be about the inside of the key.
		return nil, hinted(fmt.Errorf("%s: is no certificate with its key", path), "remove it and join again")
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, hinted(fmt.Errorf("%s: has a key that cannot sign", path), "remove it and join again")
	}
	c := &certificate{leaf: pair.Leaf, chain: onlyCertificates(text), key: key}
	if name := c.leaf.Subject.CommonName; name != identity.NodePrefix+n.Name {
		return nil, hinted(fmt.Errorf("%s: is the certificate of %q", path, name), "choose another folder with --dir, or the name with --name")
	}
	return c, nil
}

func onlyCertificates(text []byte) []byte {
	var out bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&out, block)
		}
	}
	return out.Bytes()
}

func (c *certificate) valid(now time.Time) bool {
	return !now.Before(c.leaf.NotBefore) && now.Before(c.leaf.NotAfter)
}

func (c *certificate) until() string { return c.leaf.NotAfter.Local().Format(time.RFC3339) }

// issued returns the certificate that was issued for key, or what is wrong with
// it.
func (n *Node) issued(chain []byte, key crypto.Signer) (*certificate, error) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, errors.New("the server has issued something else than a certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the issued certificate: %w", err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	c := &certificate{leaf: leaf, chain: chain, key: key}
	switch {
	case !ok || !public.Equal(leaf.PublicKey):
		return nil, errors.New("the server has issued a certificate for another key")
	case leaf.Subject.CommonName != identity.NodePrefix+n.Name || !slices.Equal(leaf.Subject.Organization, []string{identity.GroupNodes}):
		return nil, fmt.Errorf("the server has issued a certificate for %q", leaf.Subject)
	case !c.valid(time.Now()):
		return nil, fmt.Errorf("the server has issued a certificate that is good from %s until %s, by the clock of this machine not now",
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	}
	return c, nil
}

// write puts the certificate and its key into one file, so that they change
// together.
func (c *certificate) write(path string) error {
	key, err := encodeKey(c.key)
	if err != nil {
		return err
	}
	return wholefile.Write(path, append(bytes.Clone(c.chain), key...), 0o600)
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// pendingKey returns the key that a certificate is asked for with. It is kept in
// a file until there is a certificate, so that who is asked to approve is asked
// once, whatever happens to this process.
func (n *Node) pendingKey() (crypto.Signer, error) {
	path := n.file(pendingFile)
	text, err := wholefile.ReadPrivate(path)
	if errors.Is(err, os.ErrNotExist) {
		return newPendingKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := parsed.(*ecdsa.PrivateKey); err == nil && ok {
			return key, nil
		}
	}
	return nil, hinted(fmt.Errorf("%s: is no key of a certificate that was asked for", path), "remove it and join again")
}

func newPendingKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, wholefile.Write(path, text, 0o600)
}

// signingRequest is the text of a request for the node's certificate.
func (n *Node) signingRequest(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: identity.NodePrefix + n.Name, Organization: []string{identity.GroupNodes}},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("making a request for a certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
