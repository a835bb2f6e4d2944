package holding

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
	"gatehouse.dev/gatehouse/internal/workload/payload"
)

// Names of the files in a folder, as in a Secret of type kubernetes.io/tls.
const (
	certName = "tls.crt"
	keyName  = "tls.key"
)

// A Place is where a certificate and its key are kept: a folder with tls.crt and
// tls.key, which change in one step, or one file with both. Exactly one of the
// fields is set.
type Place struct {
	// Dir is a folder whose files are links through ..data, as a kubelet makes
	// them.
	Dir string
	// File has the certificates, and then the key, in PEM form.
	File string
}

// Read returns the pair.
func (p Place) Read() (*tls.Certificate, error) {
	certFile, keyFile := p.File, p.File
	if p.Dir != "" {
		// Through ..data once: both are of one time.
		at, err := filepath.EvalSymlinks(filepath.Join(p.Dir, "..data"))
		if err != nil {
			return nil, fmt.Errorf("reading the certificate: %w", err)
		}
		certFile, keyFile = filepath.Join(at, certName), filepath.Join(at, keyName)
	}
	cert, err := wholefile.Read(certFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := wholefile.ReadPrivate(keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// The cause is left out: it may be about the inside of the key.
		return nil, fmt.Errorf("%s: the certificate and its key cannot be read or do not belong together", p)
	}
	return &pair, nil
}

// String is the path.
func (p Place) String() string {
	if p.Dir != "" {
		return p.Dir
	}
	return p.File
}

// write puts certificates and the key there, both at once.
func (p Place) write(chain, key []byte) error {
	if p.File != "" {
		return wholefile.Write(p.File, slices.Concat(chain, key), 0o600)
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return payload.Dir{Root: root, Mode: 0o600}.Write(map[string][]byte{certName: chain, keyName: key})
}

// A pending request, with its key.
type pending struct {
	key     crypto.Signer
	keyPEM  []byte
	request *x509.CertificateRequest
}

func newPending(key crypto.Signer, der []byte) (*pending, error) {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	return &pending{key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), request}, nil
}

// waiting is the file of what is asked for and not yet there.
func (p Place) waiting() string {
	if p.Dir != "" {
		return filepath.Join(p.Dir, ".request.pem")
	}
	return p.File + ".request"
}

// keep writes a pending request down.
func (p Place) keep(r *pending) error {
	text := slices.Concat(r.keyPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: r.request.Raw}))
	return wholefile.Write(p.waiting(), text, 0o600)
}

// pending returns the request that is waited for, or an error if there is none
// that could be gone on with.
func (p Place) pending() (*pending, error) {
	text, err := wholefile.ReadPrivate(p.waiting())
	if err != nil {
		return nil, err
	}
	first, rest := pem.Decode(text)
	second, _ := pem.Decode(rest)
	if first == nil || second == nil {
		return nil, errors.New("no key and request")
	}
	key, err := x509.ParsePKCS8PrivateKey(first.Bytes)
	if err != nil {
		return nil, errors.New("no key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("no key that signs")
	}
	r, err := newPending(signer, second.Bytes)
	if err != nil {
		return nil, err
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(r.request.PublicKey) {
		return nil, errors.New("the key is of another request")
	}
	return r, nil
}

// forget removes what is no longer waited for.
func (p Place) forget() error {
	if err := os.Remove(p.waiting()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func texts[T any](values []T, text func(T) string) []string {
	var all []string
	for _, v := range values {
		all = append(all, text(v))
	}
	return all
}
