package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkRequest returns what is wrong with a PEM-encoded PKCS #10 request. Like
// kube-apiserver it looks at the first block alone.
func checkRequest(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return csr.CheckSignature()
}

// certificate checks the issued certificate, unless this write leaves it alone
// or that of old is no better.
func certificate(csr, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	if old != nil {
		same := string(csr.Status.Certificate) == string(old.Status.Certificate)
		if same || checkChain(old.Status.Certificate) != nil {
			return nil
		}
	}
	if err := checkChain(csr.Status.Certificate); err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("status", "certificate"), "<certificate data>", err.Error())}
	}
	return nil
}

// checkChain returns what is wrong with PEM-encoded certificates. None at all is
// fine: there is none yet. Text between and after the blocks is allowed.
func checkChain(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	found := false
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		}
		if len(block.Headers) != 0 {
			return errors.New("no PEM block headers are permitted")
		}
		certs, err := x509.ParseCertificates(block.Bytes)
		if err != nil {
			return err
		}
		if len(certs) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
		found = true
	}
	if !found {
		return errors.New("must contain at least one CERTIFICATE PEM block")
	}
	return nil
}
