// Package pki makes and keeps the certificates of a server that is its own
// certificate authority, and reads those that an operator brings.
//
// An [Authority] is created in a data directory or loaded from files. From it
// come a [Serving] certificate, which renews itself, and the certificates of
// clients. Every certificate is parsed again and compared with what was asked
// for before it leaves the package. A [Pair] is a serving certificate of the
// operator's, which is followed.
//
// A key file is written before the certificate that makes it count, so a crash
// in between leaves a directory that is seen to be unfinished. The package
// refuses a certificate without its key, a pair that does not match, a key that
// every user of the machine may read, and to sign what it was not asked for.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

const (
	// Backdate is how long before its making a certificate begins, for clocks
	// that are behind. kube-controller-manager has the same five minutes.
	Backdate = 5 * time.Minute

	day = 24 * time.Hour
	// authorityLifetime is as long as kubeadm's. To replace an authority all
	// clients must be told.
	authorityLifetime = 10 * 365 * day
	servingLifetime   = 365 * day
)

// An Authority is a certificate authority. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// OpenAuthority returns the authority in the files NAME.crt and NAME.key of the
// data directory dir. If there is none it makes one, with the common name
// commonName and a life of ten years. Two processes must not open one directory
// at the same time.
func OpenAuthority(dir, name, commonName string) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	_, err := os.Stat(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		// Without the certificate the key has signed nothing yet.
		return createAuthority(certFile, keyFile, commonName)
	}
	if err != nil {
		return nil, fmt.Errorf("opening certificate authority: %w", err)
	}
	key, err := wholefile.ReadPrivate(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there but not its key %s: restore the key from a backup, or remove the certificate to begin anew (all certificates it has signed end then)", certFile, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("opening certificate authority: %w", err)
	}
	cert, err := wholefile.Read(certFile)
	if err != nil {
		return nil, fmt.Errorf("opening certificate authority: %w", err)
	}
	return parseAuthority(certFile, cert, keyFile, key)
}

// LoadAuthority returns the authority in the given PEM files. Of several
// certificates the first is that of the authority.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	cert, err := wholefile.Read(certFile)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificate: %w", err)
	}
	key, err := wholefile.Read(keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading CA key: %w", err)
	}
	return parseAuthority(certFile, cert, keyFile, key)
}

func parseAuthority(certFile string, cert []byte, keyFile string, key []byte) (*Authority, error) {
	pair, err := parsePair(certFile, cert, keyFile, key)
	if err != nil {
		return nil, err
	}
	ca := pair.Leaf
	switch {
	case !ca.BasicConstraintsValid || !ca.IsCA:
		return nil, fmt.Errorf("%s is no certificate authority: its basic constraints do not say CA", certFile)
	case ca.KeyUsage != 0 && ca.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("%s may not sign certificates: its key usage does not say so", certFile)
	case !time.Now().Before(ca.NotAfter):
		return nil, fmt.Errorf("%s expired at %s: make a new certificate authority", certFile, ca.NotAfter.Format(time.RFC3339))
	}
	return &Authority{cert: ca, key: pair.PrivateKey.(crypto.Signer)}, nil
}

func createAuthority(certFile, keyFile, commonName string) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("creating certificate authority: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		// It signs leaves only, so a stolen leaf cannot be an authority.
		MaxPathLenZero: true,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("creating certificate authority: %w", err)
	}
	if err := writePair(certFile, encodeCertificates(cert), keyFile, key); err != nil {
		return nil, fmt.Errorf("creating certificate authority: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// Certificate returns the certificate of the authority, which the caller must
// not change.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// PEM returns the certificate of the authority in PEM form.
func (a *Authority) PEM() []byte { return encodeCertificates(a.cert) }

// Fingerprint returns the SHA-256 of cert as OpenSSL prints it: pairs of
// upper-case hexadecimal digits with colons between.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// Fingerprints returns the [Fingerprint] of each certificate in a PEM file.
func Fingerprints(file string) ([]string, error) {
	text, err := wholefile.Read(file)
	if err != nil {
		return nil, err
	}
	certs, err := ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := make([]string, len(certs))
	for i, c := range certs {
		out[i] = Fingerprint(c)
	}
	return out, nil
}

// Issue signs template for the holder of the key that public belongs to, and
// returns the certificate. The serial number is random, unless the template has
// one that [NextSerial] has made; the end is no later than that of the authority.
// The template must be of a leaf.
func (a *Authority) Issue(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	if template.IsCA {
		return nil, errors.New("a certificate authority may be created, never issued")
	}
	asked := *template
	if asked.NotAfter.After(a.cert.NotAfter) {
		asked.NotAfter = a.cert.NotAfter
	}
	if !asked.NotBefore.Before(asked.NotAfter) {
		return nil, fmt.Errorf("the certificate would end before it begins; the authority ends at %s", a.cert.NotAfter.Format(time.RFC3339))
	}
	asked.BasicConstraintsValid = true
	return sign(&asked, a.cert, public, a.key)
}

// sign returns what template asks for, signed by the key of parent, after it
// has looked at it again.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	asked := *template
	var err error
	if asked.SerialNumber == nil {
		if asked.SerialNumber, err = newSerial(); err != nil {
			return nil, err
		}
	}
	if len(asked.SubjectKeyId) == 0 {
		if asked.SubjectKeyId, err = keyIdentifier(public); err != nil {
			return nil, err
		}
	}
	// A certificate tells no fractions of a second.
	asked.NotBefore = asked.NotBefore.UTC().Truncate(time.Second)
	asked.NotAfter = asked.NotAfter.UTC().Truncate(time.Second)
	der, err := x509.CreateCertificate(rand.Reader, &asked, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing what was signed: %w", err)
	}
	if parent == template {
		parent = cert
	}
	if err := compare(cert, &asked, public, parent); err != nil {
		return nil, fmt.Errorf("internal error: signed a certificate with another %w", err)
	}
	return cert, nil
}

// keyIdentifier names a public key in certificates. That end entities have one too
// is what RFC 5280 section 4.2.1.2 asks for; it is made by method 1 of RFC 7093.
func keyIdentifier(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("naming a public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("naming a public key: %w", err)
	}
	sum := sha256.Sum256(info.PublicKey.RightAlign())
	return sum[:20], nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
