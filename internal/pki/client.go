package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/internal/secret"
)

// A Client is who a client certificate is for.
type Client struct {
	// CommonName becomes the name of the user, and Groups, the organizations of
	// the subject, the groups.
	CommonName string
	Groups     []string
	// Lifetime is counted from now. The certificate ends earlier if the
	// authority does.
	Lifetime time.Duration
}

// A ClientCertificate is a certificate with its key, which nobody else has.
type ClientCertificate struct {
	Certificate *x509.Certificate
	// PEM is Certificate, and Key its private key, in PEM form.
	PEM []byte
	Key secret.Bytes
}

// IssueClient makes a key and issues a certificate for it that is good for
// nothing but to be client.
func (a *Authority) IssueClient(client Client) (*ClientCertificate, error) {
	switch {
	case client.CommonName == "":
		return nil, errors.New("a client certificate must have a common name")
	case slices.Contains(client.Groups, ""):
		return nil, errors.New("a client certificate cannot have a group without a name")
	case client.Lifetime <= 0:
		return nil, fmt.Errorf("a client certificate cannot live for %v", client.Lifetime)
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("issuing client certificate: %w", err)
	}
	now := time.Now()
	cert, err := a.Issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: client.CommonName, Organization: client.Groups},
		NotBefore:   now.Add(-Backdate),
		NotAfter:    now.Add(client.Lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public())
	if err != nil {
		return nil, fmt.Errorf("issuing client certificate: %w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("issuing client certificate: %w", err)
	}
	return &ClientCertificate{Certificate: cert, PEM: encodeCertificates(cert), Key: secret.New(keyPEM)}, nil
}
