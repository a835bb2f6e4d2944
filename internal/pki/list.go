package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// SignsLists reports whether the authority may sign lists of revoked
// certificates. One that an operator brought may be for certificates alone.
func (a *Authority) SignsLists() bool {
	return a.cert.KeyUsage&x509.KeyUsageCRLSign != 0 && len(a.cert.SubjectKeyId) > 0
}

// RevocationList returns a list (RFC 5280 section 5) of the authority's
// certificates that ended before their time, in DER form. Number must be greater
// than that of any list before. The list is good from one time until the other.
func (a *Authority) RevocationList(number *big.Int, entries []x509.RevocationListEntry, from, until time.Time) ([]byte, error) {
	if !a.SignsLists() {
		return nil, errors.New("the certificate authority may not sign lists of revoked certificates: its key usage does not say cRLSign, or it has no subject key identifier")
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: number, RevokedCertificateEntries: entries, ThisUpdate: from.UTC(), NextUpdate: until.UTC(),
	}, a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing list of revoked certificates: %w", err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("parsing what was signed: %w", err)
	}
	if err := list.CheckSignatureFrom(a.cert); err != nil {
		return nil, fmt.Errorf("internal error: signed a list with another signature: %w", err)
	}
	if list.Number.Cmp(number) != 0 || !sameEntries(list.RevokedCertificateEntries, entries) {
		return nil, errors.New("internal error: signed a list with other entries")
	}
	return der, nil
}

func sameEntries(got, asked []x509.RevocationListEntry) bool {
	if len(got) != len(asked) {
		return false
	}
	for i := range got {
		if got[i].SerialNumber.Cmp(asked[i].SerialNumber) != 0 || got[i].ReasonCode != asked[i].ReasonCode {
			return false
		}
	}
	return true
}

// noCheck is id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1): nobody has to
// ask whether the certificate of who answers is revoked.
func noCheck() pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: asn1.NullBytes}
}

// IssueResponder makes a key and issues a certificate for it that is good for
// nothing but to answer for the authority whether a certificate is revoked (RFC
// 6960 section 4.2.2.2).
func (a *Authority) IssueResponder(lifetime time.Duration) (*x509.Certificate, crypto.Signer, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, fmt.Errorf("issuing responder certificate: %w", err)
	}
	now := time.Now()
	cert, err := a.Issue(&x509.Certificate{
		Subject:         pkix.Name{CommonName: "gatehouse OCSP responder"},
		NotBefore:       now.Add(-Backdate),
		NotAfter:        now.Add(lifetime),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{noCheck()},
	}, key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("issuing responder certificate: %w", err)
	}
	return cert, key, nil
}
