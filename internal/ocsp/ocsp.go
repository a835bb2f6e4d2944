// Package ocsp answers whether a certificate of our own authorities is good, has
// been revoked, or is none of theirs (RFC 6960, in the profile of RFC 5019).
//
// The one idea: an answer is signed once and handed out until it is old or a
// certificate is revoked or released, so that a question that was asked before
// costs no signature. Therefore an answer has no nonce. Answers are signed by a
// certificate that the authority delegates to, which lives for days.
//
// It refuses what is no question about one certificate, and does not sign
// answers about certificates that the authority never issued: that would be work
// for whoever counts serial numbers.
package ocsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// Lifetime is how long an answer may be believed.
	Lifetime = time.Hour
	// responderLifetime is that of the certificate that signs answers.
	responderLifetime = 7 * 24 * time.Hour
	// maxAnswers bounds the answers that are kept, of one or two KiB each.
	maxAnswers = 1 << 14
)

// A Status is what there is to say of a certificate that the authority issued.
type Status struct {
	// Revoked is when it ended before its time, or zero if it has not.
	Revoked time.Time
	// Reason is the CRLReason (RFC 5280 section 5.3.1).
	Reason int
}

// ErrUnknown is returned for a certificate that the authority did not issue.
var ErrUnknown = errors.New("the authority has not issued this certificate")

// An Authority delegates the signing of answers.
type Authority interface {
	Certificate() *x509.Certificate
	IssueResponder(lifetime time.Duration) (*x509.Certificate, crypto.Signer, error)
}

// A Config is what a [Responder] answers from.
type Config struct {
	Authority Authority
	// Lookup returns the status of the authority's certificate with a serial
	// number, or an error that wraps [ErrUnknown].
	Lookup func(ctx context.Context, serial *big.Int) (Status, error)
	// Edition returns what changes with every certificate that is revoked or
	// released.
	Edition func(ctx context.Context) (string, error)
	// Issued is told of each certificate that signs answers, before it does.
	Issued func(ctx context.Context, certificate *x509.Certificate) error
}

// A Responder answers for one authority. Use [New].
type Responder struct {
	Config
	// spki is the public key of the authority as its certificates name it.
	spki []byte

	mu      sync.Mutex
	answers map[question]answer
	// edition is what the answers are of.
	edition string
	signer  crypto.Signer
	cert    *x509.Certificate
}

// A question is what an answer is for. Hash is what the asker named the issuer
// with, which the answer has to repeat.
type question struct {
	serial string
	hash   crypto.Hash
}

type answer struct {
	der         []byte
	from, until time.Time
}

// New returns a responder.
func New(c Config) (*Responder, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.Authority.Certificate().RawSubjectPublicKeyInfo, &info); err != nil {
		return nil, fmt.Errorf("reading the key of the authority: %w", err)
	}
	return &Responder{Config: c, spki: info.PublicKey.RightAlign(), answers: map[question]answer{}}, nil
}

// asks reports whether a request is about this responder's authority.
func (r *Responder) asks(request *ocsp.Request) bool {
	if !request.HashAlgorithm.Available() {
		return false
	}
	sum := func(data []byte) []byte {
		h := request.HashAlgorithm.New()
		h.Write(data)
		return h.Sum(nil)
	}
	return bytes.Equal(request.IssuerNameHash, sum(r.Authority.Certificate().RawSubject)) && bytes.Equal(request.IssuerKeyHash, sum(r.spki))
}

// answer returns an answer to a request that is about our authority. An error
// that wraps [ErrUnknown] is for a certificate that it did not issue.
func (r *Responder) answer(ctx context.Context, request *ocsp.Request, now time.Time) (answer, error) {
	q := question{string(request.SerialNumber.Bytes()), request.HashAlgorithm}
	edition, err := r.Edition(ctx)
	if err != nil {
		return answer{}, err
	}
	// Half an answer's life is left to whoever gets it.
	if kept, ok := r.kept(q, edition); ok && now.Before(kept.from.Add(Lifetime/2)) {
		return kept, nil
	}
	status, err := r.Lookup(ctx, request.SerialNumber)
	if err != nil {
		return answer{}, err
	}
	made, err := r.sign(ctx, q, request.SerialNumber, status, now)
	if err != nil {
		return answer{}, err
	}
	r.keep(q, edition, made)
	return made, nil
}

// kept returns the answer of an edition, if there is one. Those of another
// edition are forgotten.
func (r *Responder) kept(q question, edition string) (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.edition != edition {
		clear(r.answers)
		r.edition = edition
	}
	kept, ok := r.answers[q]
	return kept, ok
}

// keep keeps an answer, unless something was revoked or released while it was
// made.
func (r *Responder) keep(q question, edition string, made answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.edition != edition {
		return
	}
	if len(r.answers) >= maxAnswers {
		clear(r.answers)
	}
	r.answers[q] = made
}

func (r *Responder) sign(ctx context.Context, q question, serial *big.Int, status Status, now time.Time) (answer, error) {
	cert, signer, err := r.responder(ctx, now)
	if err != nil {
		return answer{}, err
	}
	now = now.UTC().Truncate(time.Second)
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: serial, ThisUpdate: now, NextUpdate: now.Add(Lifetime),
		Certificate: cert, IssuerHash: q.hash,
	}
	if !status.Revoked.IsZero() {
		template.Status, template.RevokedAt, template.RevocationReason = ocsp.Revoked, status.Revoked.UTC(), status.Reason
	}
	if template.NextUpdate.After(cert.NotAfter) {
		template.NextUpdate = cert.NotAfter
	}
	der, err := ocsp.CreateResponse(r.Authority.Certificate(), cert, template, signer)
	if err != nil {
		return answer{}, fmt.Errorf("signing answer: %w", err)
	}
	return answer{der, now, template.NextUpdate}, nil
}

// responder returns what signs answers. It is replaced when half of its life is
// over.
func (r *Responder) responder(ctx context.Context, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	r.mu.Lock()
	cert, signer := r.cert, r.signer
	r.mu.Unlock()
	if cert != nil && now.Before(cert.NotAfter.Add(-responderLifetime/2)) {
		return cert, signer, nil
	}
	cert, signer, err := r.Authority.IssueResponder(responderLifetime)
	if err != nil {
		return nil, nil, err
	}
	if err := r.Issued(ctx, cert); err != nil {
		return nil, nil, fmt.Errorf("writing down the certificate that signs answers: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cert, r.signer = cert, signer
	return cert, signer, nil
}
