package register

import (
	"crypto/x509"
	"time"

	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
)

// OfCertificate returns the entry of a certificate that issuer has signed, without
// who asked for it. The entry is for the common name and the organizations, which
// are the user and the groups of a client. It is named as the authenticator names
// the certificate, so that what is taken back by an entry is refused.
func OfCertificate(cert, issuer *x509.Certificate, now time.Time) *Entry {
	c := clientcert.Credential(identity.ClientCertificate, []*x509.Certificate{cert, issuer})
	return &Entry{
		Method: c.Method, Issuer: c.Issuer, ID: c.ID, Serial: c.Serial, Digest: c.Digest, KeyID: c.KeyID,
		User: cert.Subject.CommonName, Groups: cert.Subject.Organization,
		Issued: now, Expires: cert.NotAfter,
	}
}
