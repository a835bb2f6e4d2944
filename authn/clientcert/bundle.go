package clientcert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync/atomic"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/internal/reload"
)

// A Bundle is the CA certificates that client certificates may chain to:
// Kubernetes' --client-ca-file. It follows its file.
type Bundle struct {
	path    string
	file    *reload.File[*roots]
	notify  func(error)
	current atomic.Pointer[roots]
	// known are the chains that were verified, and uses how many authenticators
	// there are of them.
	known *verified.Table[proof, *proof]
	uses  atomic.Uint64
}

// roots is what one reading of the file found.
type roots struct {
	pool *x509.CertPool
	// members are the digests of the certificates, and certs these themselves.
	members map[[sha256.Size]byte]bool
	certs   []*x509.Certificate
	// subjects are those of the certificates, as they are written in them, and
	// authorities what names each of them.
	subjects    map[string]bool
	authorities map[*x509.Certificate]*authority
	// inForce changes when another reading takes effect. The stamp is from before
	// that: one that is taken by who has found the roots could be from after.
	inForce *authn.Generation
	rests   authn.Stamp
}

// OpenBundle reads a PEM file of CA certificates. It fails if there is none in
// it, or a bad one. Notify, which may be nil, is called after each later reading
// of the file: with nil once it is in force, or with what is wrong.
func OpenBundle(path string, notify func(error)) (*Bundle, error) {
	known, err := verified.NewTable[proof](rememberedChains)
	if err != nil {
		return nil, err
	}
	b := &Bundle{path: path, notify: notify, known: known}
	file, err := reload.Open(path, readRoots, b.changed)
	if err != nil {
		return nil, err
	}
	b.file = file
	b.current.Store(file.Value())
	return b, nil
}

// readRoots reads the certificates of a PEM file. Blocks of other kinds, and
// those with headers, are skipped, as Kubernetes skips them.
func readRoots(data []byte) (*roots, error) {
	r := &roots{
		pool: x509.NewCertPool(), members: make(map[[sha256.Size]byte]bool), inForce: new(authn.Generation),
		subjects: make(map[string]bool), authorities: make(map[*x509.Certificate]*authority),
	}
	r.rests = r.inForce.Stamp()
	blocks, certs := bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")), 0
	for n := 1; ; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certs++
		if len(block.Headers) > 0 {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		r.pool.AddCert(cert)
		r.members[sha256.Sum256(cert.Raw)] = true
		r.certs = append(r.certs, cert)
		r.subjects[string(cert.RawSubject)] = true
		r.authorities[cert] = newAuthority(cert)
	}
	if certs < blocks {
		return nil, fmt.Errorf("%d of %d certificates are broken PEM", blocks-certs, blocks)
	}
	if len(r.members) == 0 {
		return nil, errors.New("no certificate: write at least one CA certificate in PEM")
	}
	return r, nil
}

// changed puts what the file says in force, and ends what it said before.
func (b *Bundle) changed(problem error) {
	if problem == nil {
		next := b.file.Value()
		if before := b.current.Swap(next); before != next {
			before.inForce.Bump()
		}
	}
	if b.notify != nil {
		b.notify(problem)
	}
}

// Run follows the file until ctx ends.
func (b *Bundle) Run(ctx context.Context) { b.file.Run(ctx) }

// Status returns how reading the file has gone so far.
func (b *Bundle) Status() reload.Status { return b.file.Status() }

// Pool returns the certificates in force, for a server to name them to its
// clients in the handshake. The caller must not change it.
func (b *Bundle) Pool() *x509.CertPool { return b.current.Load().pool }

// Shares reports whether any certificate is in force in both bundles.
func (b *Bundle) Shares(other *Bundle) bool {
	here, there := b.current.Load().members, other.current.Load().members
	if len(here) > len(there) {
		here, there = there, here
	}
	for id := range here {
		if there[id] {
			return true
		}
	}
	return false
}
