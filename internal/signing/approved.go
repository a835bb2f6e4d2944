package signing

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"
)

// bounds are within what a certificate may be valid.
type bounds struct{ from, until time.Time }

// approved returns the first thing in which cert is not what r says, or nil. It
// knows nothing of how cert was made.
func approved(cert *x509.Certificate, r *Request, valid bounds) error {
	holder, ok := r.PKCS10.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	key, extended, err := usages(r.Usages)
	switch {
	case !ok || !holder.Equal(cert.PublicKey):
		return errors.New("public key")
	case err != nil || cert.KeyUsage != key || !slices.Equal(cert.ExtKeyUsage, extended) || len(cert.UnknownExtKeyUsage) > 0:
		return errors.New("usages")
	case !cert.BasicConstraintsValid || cert.IsCA:
		return errors.New("basic constraints")
	case cert.NotAfter.After(valid.until) || cert.NotBefore.Before(valid.from.Add(-time.Second)):
		return errors.New("lifetime")
	case !slices.Equal(attributes(cert.Subject), attributes(r.PKCS10.Subject)):
		return errors.New("subject")
	}
	if err := sameNames(cert, r.PKCS10); err != nil {
		return err
	}
	return knownExtensions(cert)
}

// SubjectID names the subject of a certificate: its digest, as far as subjects are
// signed.
func SubjectID(cert *x509.Certificate) string {
	sum := sha256.New()
	for _, a := range attributes(cert.Subject) {
		fmt.Fprintf(sum, "%q\n", a)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func sameNames(cert *x509.Certificate, asked *x509.CertificateRequest) error {
	if !same(cert.DNSNames, asked.DNSNames) || !same(cert.EmailAddresses, asked.EmailAddresses) ||
		!same(texts(cert.IPAddresses, net.IP.String), texts(asked.IPAddresses, net.IP.String)) ||
		!same(texts(cert.URIs, (*url.URL).String), texts(asked.URIs, (*url.URL).String)) {
		return errors.New("subject alternative names")
	}
	return nil
}

// attributes are the parts of a subject that are signed, sorted: DER sorts the
// values of one attribute.
func attributes(name pkix.Name) []string {
	var all []string
	for _, a := range name.Names {
		if text, ok := a.Value.(string); ok && signedAttribute(a.Type) {
			all = append(all, a.Type.String()+"="+text)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// signedAttribute reports whether crypto/x509 has a field for an attribute:
// 2.5.4.3 and so on.
func signedAttribute(id asn1.ObjectIdentifier) bool {
	if len(id) != 4 || id[0] != 2 || id[1] != 5 || id[2] != 4 {
		return false
	}
	return slices.Contains([]int{3, 5, 6, 7, 8, 9, 10, 11, 17}, id[3])
}

// knownExtensions refuses a certificate that says more than a leaf of ours does.
func knownExtensions(cert *x509.Certificate) error {
	for _, e := range cert.Extensions {
		switch e.Id.String() {
		case "2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37":
			// The identifiers of both keys, usage, names, basic constraints,
			// extended usage.
		case "2.5.29.31", "1.3.6.1.5.5.7.1.1":
			// Where to ask whether it was taken back.
		default:
			return fmt.Errorf("extension %s", e.Id)
		}
	}
	if bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		return errors.New("issuer: it would be its own")
	}
	return nil
}

func texts[T any](values []T, text func(T) string) []string {
	all := make([]string, 0, len(values))
	for _, v := range values {
		all = append(all, text(v))
	}
	return all
}

func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
