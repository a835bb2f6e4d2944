package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// writePair writes a key that only its owner may read, and then certs, the
// certificate in PEM form that makes the key count.
func writePair(certFile string, certs []byte, keyFile string, key any) error {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := wholefile.Write(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return wholefile.Write(certFile, certs, 0o644)
}

func encodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parsePair returns the pair of a chain of certificates, the leaf first, and the
// key of the leaf, both in PEM form. The errors name the files and the mend.
func parsePair(certFile string, cert []byte, keyFile string, key []byte) (*tls.Certificate, error) {
	chain, err := ParseCertificates(cert)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	signer, err := parseKey(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return nil, fmt.Errorf("the key in %s is not that of the first certificate in %s: give two files that were made together, the server's own certificate first", keyFile, certFile)
	}
	pair := &tls.Certificate{PrivateKey: signer, Leaf: chain[0]}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

// ParseCertificates reads the certificates of a PEM text, at least one. Other
// blocks are passed over, as a file that has a certificate often has its key too.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in PEM form found")
	}
	return certs, nil
}

// parseKey returns the first private key in data. Why it cannot be read is left
// out of the errors: that is about the inside of a key.
func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("no private key in PEM form found")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			// Refused below, like the older form, which has a header for it.
		default:
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted: decrypt it, for example with openssl pkey -in FILE -out NEWFILE")
		}
		if err != nil {
			return nil, errors.New("the private key cannot be read: it must be unencrypted, in the form PKCS 8, PKCS 1 or SEC 1")
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, fmt.Errorf("the private key is of type %T, which cannot sign", key)
	}
}
