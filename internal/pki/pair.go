package pki

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// reloadEvery is how often a running [Pair] looks at its files. Two small files
// cost some 50 microseconds to read.
const reloadEvery = 10 * time.Second

// A Pair is a serving certificate and its key in two files that somebody else
// writes. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string

	reloading sync.Mutex // guards what follows, but for current
	// digest is of the contents that current was made of.
	digest  [2][sha256.Size]byte
	status  PairStatus
	current atomic.Pointer[tls.Certificate]
}

// A PairStatus is how reading the files of a [Pair] has gone so far.
type PairStatus struct {
	// Problem is why the files do not say what is in force, or nil if they do.
	Problem error
	// Successes counts the pairs that were taken, and Failures the problems that
	// were met. One that lasts is one.
	Successes, Failures uint64
}

// LoadPair returns the pair in the given PEM files. certFile has the server's
// certificate first and then those in between it and its authority.
func LoadPair(certFile, keyFile string) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile}
	if _, err := p.Reload(); err != nil {
		return nil, err
	}
	return p, nil
}

// Reload reads the files again and reports whether they have changed. After an
// error the server goes on with the pair it has: a certificate and a key that
// are written one after the other do not match for a moment.
//
// The contents are compared, not the times of the files, which cp -p and volume
// snapshots keep.
func (p *Pair) Reload() (bool, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	changed, err := p.reload()
	if changed {
		p.status.Successes++
	}
	if err != nil && (p.status.Problem == nil || p.status.Problem.Error() != err.Error()) {
		p.status.Failures++
	}
	p.status.Problem = err
	return changed, err
}

// Status returns how reading has gone so far.
func (p *Pair) Status() PairStatus {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	return p.status
}

// reload is [Pair.Reload] for who holds the lock.
func (p *Pair) reload() (bool, error) {
	certs, err := wholefile.Read(p.certFile)
	if err != nil {
		return false, fmt.Errorf("reading serving certificate: %w", err)
	}
	key, err := wholefile.Read(p.keyFile)
	if err != nil {
		return false, fmt.Errorf("reading serving key: %w", err)
	}
	digest := [2][sha256.Size]byte{sha256.Sum256(certs), sha256.Sum256(key)}
	if p.current.Load() != nil && digest == p.digest {
		return false, nil
	}
	pair, err := parsePair(p.certFile, certs, p.keyFile, key)
	if err != nil {
		return false, fmt.Errorf("loading serving certificate: %w", err)
	}
	p.digest = digest
	p.current.Store(pair)
	return true, nil
}

// GetCertificate returns the certificate, as [tls.Config.GetCertificate].
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.current.Load(), nil
}

// Expires returns when the certificate ends.
func (p *Pair) Expires() time.Time { return p.current.Load().Leaf.NotAfter }

// Names returns the DNS names of the certificate.
func (p *Pair) Names() []string { return p.current.Load().Leaf.DNSNames }

// Run reloads the pair whenever its files change, until ctx is done. It hands
// errors to report, and tries again ten seconds later.
func (p *Pair) Run(ctx context.Context, report func(error)) {
	every(ctx, reloadEvery, func() error {
		_, err := p.Reload()
		return err
	}, report)
}
