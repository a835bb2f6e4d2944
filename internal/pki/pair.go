package pki

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"gatehouse.dev/gatehouse/internal/reload"
)

// A Pair is a serving certificate and its key in two files that somebody else
// writes, and which are followed as one: a certificate and a key that are
// written one after the other do not match for a moment, and the last pair that
// does goes on being shown. It is safe for concurrent use.
type Pair struct {
	file *reload.File[*tls.Certificate]
}

// LoadPair returns the pair in the given PEM files. certFile has the server's
// certificate first and then those in between it and its authority. Notify,
// which may be nil, is called after each later reading of the files: with nil
// once another pair is in force, or with what is wrong.
func LoadPair(certFile, keyFile string, notify func(error)) (*Pair, error) {
	file, err := reload.OpenSet(certFile, func(certs []byte, read reload.Reader) (*tls.Certificate, error) {
		key, err := read(keyFile)
		if err != nil {
			return nil, fmt.Errorf("its key: %w", err)
		}
		return parsePair(certFile, certs, keyFile, key)
	}, notify)
	if err != nil {
		return nil, err
	}
	return &Pair{file}, nil
}

// Certificate returns the certificate that is to be shown now.
func (p *Pair) Certificate() *tls.Certificate { return p.file.Value() }

// Expires returns when the certificate ends.
func (p *Pair) Expires() time.Time { return p.file.Value().Leaf.NotAfter }

// Status returns how reading the files has gone so far.
func (p *Pair) Status() reload.Status { return p.file.Status() }

// Run follows the files until ctx is done.
func (p *Pair) Run(ctx context.Context) { p.file.Run(ctx) }
