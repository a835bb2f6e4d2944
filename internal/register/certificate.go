package register

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"time"

	"gatehouse.dev/gatehouse/identity"
)

// OfCertificate returns the entry of a certificate that issuer has signed, without
// who asked for it. The entry is for the common name and the organizations, which
// are the user and the groups of a client.
func OfCertificate(cert, issuer *x509.Certificate, now time.Time) *Entry {
	key := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	return &Entry{
		Method: identity.ClientCertificate,
		Issuer: fingerprint(issuer), ID: fingerprint(cert),
		Serial: cert.SerialNumber.Text(16), Digest: Digest(cert.RawTBSCertificate),
		KeyID: base64.RawURLEncoding.EncodeToString(key[:]),
		User:  cert.Subject.CommonName, Groups: cert.Subject.Organization,
		Issued: now, Expires: cert.NotAfter,
	}
}

func fingerprint(cert *x509.Certificate) string { return "X509SHA256=" + Digest(cert.Raw) }
