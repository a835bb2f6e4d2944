package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
)

// compare returns an error that names the first thing in which cert is not what
// asked describes for public, or that parent has not signed. CreateCertificate
// takes some fields of a template and derives others; what matters is what came
// out.
func compare(cert, asked *x509.Certificate, public crypto.PublicKey, parent *x509.Certificate) error {
	holder, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	ipString := net.IP.String
	uriString := (*url.URL).String
	switch {
	case !ok || !holder.Equal(cert.PublicKey):
		return errors.New("public key")
	case cert.SerialNumber.Cmp(asked.SerialNumber) != 0:
		return errors.New("serial number")
	case !cert.NotBefore.Equal(asked.NotBefore) || !cert.NotAfter.Equal(asked.NotAfter):
		return errors.New("validity")
	case asked.RawSubject != nil && !bytes.Equal(cert.RawSubject, asked.RawSubject),
		cert.Subject.CommonName != asked.Subject.CommonName,
		!sameSet(cert.Subject.Organization, asked.Subject.Organization):
		return errors.New("subject")
	case cert.IsCA != asked.IsCA || !cert.BasicConstraintsValid:
		return errors.New("basic constraints")
	case cert.KeyUsage != asked.KeyUsage || !slices.Equal(cert.ExtKeyUsage, asked.ExtKeyUsage):
		return errors.New("usage")
	case !sameSet(cert.DNSNames, asked.DNSNames),
		!sameSet(cert.EmailAddresses, asked.EmailAddresses),
		!sameSet(texts(cert.IPAddresses, ipString), texts(asked.IPAddresses, ipString)),
		!sameSet(texts(cert.URIs, uriString), texts(asked.URIs, uriString)):
		return errors.New("subject alternative name")
	}
	if err := cert.CheckSignatureFrom(parent); err != nil {
		return fmt.Errorf("signature: %w", err)
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

// sameSet reports whether a and b have the same elements, in any order: DER
// sorts the organizations of a subject.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
