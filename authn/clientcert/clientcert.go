// Package clientcert authenticates the client certificate of a connection, as
// Kubernetes does: the common name is the user, the organizations are the
// groups.
//
// The one idea: a certificate is verified once, and judged again on each
// request. The verdict is kept with the [authn.Conn] of the connection, for the
// very certificates that were verified; and a good one with the CA bundle, for
// all connections that present the same chain, byte for byte: what a chain
// proves does not depend on who presents it, and that it is the client's own
// the handshake has shown. Both end when the bundle changes, and when the first
// certificate of the chain expires; a refusal ends with the connection.
//
// It refuses, before any cryptography, chains and keys that are too large; a CA
// certificate used as a client's; and a certificate without a common name,
// which proves something but names nobody.
package clientcert

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
)

// Limits of what a client may present. A chain has two or three certificates of
// 1 to 2 KiB; an RSA key of 8192 bits already takes milliseconds to verify.
const (
	maxCerts = 10
	maxBytes = 64 << 10
	maxRSA   = 8192
)

// maxRefused is how long a refusal is remembered for a connection, because a
// certificate that is not valid yet becomes so.
const maxRefused = 10 * time.Second

// rememberedChains bounds the chains of which it is remembered that they are
// good, at about 1 KB each.
const rememberedChains = 1 << 14

// An Authenticator authenticates client certificates.
type Authenticator struct {
	bundle   *Bundle
	use      string // tells it from others of the bundle
	method   identity.Method
	identify Identify
	none     error // says that there is no certificate
	clock    verified.Clock
}

// An Identify says who a certificate stands for that has been verified, and
// fills in its name, UID, groups and extra. Its error says why it stands for
// nobody.
type Identify func(leaf *x509.Certificate) (*identity.Identity, error)

// New returns an [authn.Authenticator] of the client certificates that chain to
// bundle. The server must ask for a certificate but not verify it
// ([crypto/tls.RequestClientCert]), and should give every request its
// [authn.Conn]; without, each request is verified anew.
func New(bundle *Bundle) *Authenticator {
	return NewFor(bundle, identity.ClientCertificate, identify)
}

// NewFor is [New] for certificates of another kind, which stand for whom
// identify says, and are called method.
func NewFor(bundle *Bundle, method identity.Method, identify Identify) *Authenticator {
	use := strconv.FormatUint(bundle.uses.Add(1), 10)
	return &Authenticator{
		bundle: bundle, use: use, method: method, identify: identify,
		none: authn.Pass(method, "the connection has no client certificate"),
	}
}

// Describe implements [authn.Described].
func (a *Authenticator) Describe() (identity.Method, string) { return a.method, a.bundle.path }

// A verdict is what was found about the certificates of a connection.
type verdict struct {
	certs []*x509.Certificate
	res   *authn.Result
	err   error
	until time.Time   // for err; res has its own
	rests authn.Stamp // for err
}

// about reports whether v is about the very same certificates. They are compared
// by address: a connection parses its certificates once.
func (v *verdict) about(certs []*x509.Certificate) bool { return slices.Equal(v.certs, certs) }

func (v *verdict) fresh(now time.Time) bool {
	if v.res != nil {
		return v.res.Fresh(now)
	}
	return now.Before(v.until) && v.rests.Current()
}

// Authenticate implements [authn.Authenticator].
func (a *Authenticator) Authenticate(r *http.Request) (*authn.Result, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, a.none
	}
	certs := r.TLS.PeerCertificates
	conn := authn.ConnFrom(r.Context())
	if v, ok := conn.Memo(a).(*verdict); ok && v.about(certs) && v.fresh(a.clock.Soon()) {
		return v.res, v.err
	}
	v := a.judge(certs, time.Now())
	conn.Remember(a, v)
	return v.res, v.err
}

// A proof is a good verdict, from when on it may be given.
type proof struct {
	res  *authn.Result
	from time.Time
}

// Fresh implements [verified.Fresh].
func (p *proof) Fresh(now time.Time) bool { return !now.Before(p.from) && p.res.Fresh(now) }

// judge says what is to be thought of what a client has presented, and verifies
// it if it is not known to be good.
func (a *Authenticator) judge(certs []*x509.Certificate, now time.Time) *verdict {
	roots := a.bundle.current.Load()
	if checkSize(certs) != nil {
		v, _ := a.examine(certs, roots, now)
		return v
	}
	if roots.stranger(certs, now) {
		return a.strange(certs, roots, now)
	}
	var room [maxCerts][]byte
	parts := room[:0]
	for _, c := range certs {
		parts = append(parts, c.Raw)
	}
	key := a.bundle.known.KeyOfParts(a.use, parts)
	if p := a.bundle.known.Lookup(key, now); p != nil {
		return &verdict{certs: certs, res: p.res}
	}
	v, from := a.examine(certs, roots, now)
	if v.err == nil {
		a.bundle.known.Store(key, &proof{v.res, from}, now)
	}
	return v
}

// examine verifies what a client has presented. A good verdict may be given from
// the time that it returns on.
func (a *Authenticator) examine(certs []*x509.Certificate, roots *roots, now time.Time) (*verdict, time.Time) {
	v := &verdict{certs: certs, until: now.Add(maxRefused), rests: roots.rests}
	chain, err := verify(certs, roots, now)
	if err != nil {
		v.err = &authn.Refusal{Method: a.method, Cause: trial{certs, roots, a.bundle.path, now}.unverified(err)}
		return v, time.Time{}
	}
	who, err := a.identify(chain[0])
	if err != nil {
		v.err = &authn.Refusal{
			Method: a.method,
			Reason: "certificate " + describe(certs[0]) + " names no user",
			Cause:  trial{certs, roots, a.bundle.path, now}.unnamed(err),
		}
		return v, time.Time{}
	}
	who.Credential = roots.credential(a.method, chain)
	from, until := validity(chain)
	v.res = &authn.Result{Identity: who, Until: until, Rests: []authn.Stamp{roots.rests}}
	return v, from
}

// stranger reports whether a lone certificate is of an authority that has not
// even its name in r, so that the standard library would find nothing to verify
// it with and say so. Where a server has several bundles, nearly every
// certificate is a stranger to some of them. What is wrong with the certificate
// itself is for the library to say.
func (r *roots) stranger(certs []*x509.Certificate, now time.Time) bool {
	c := certs[0]
	return len(certs) == 1 && !r.subjects[string(c.RawIssuer)] && !r.subjects[string(c.RawSubject)] &&
		!(c.BasicConstraintsValid && c.IsCA) && len(c.UnhandledCriticalExtensions) == 0 &&
		!now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// verify returns a chain from the first of certs to one of roots. The others of
// certs may be used as intermediates.
func verify(certs []*x509.Certificate, roots *roots, now time.Time) ([]*x509.Certificate, error) {
	if err := checkSize(certs); err != nil {
		return nil, err
	}
	leaf := certs[0]
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return nil, errIsCA
	}
	intermediates := x509.NewCertPool()
	for _, c := range certs[1:] {
		intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots.pool,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	// An old CA certificate may not say that it is one.
	if len(chains[0]) == 1 {
		return nil, errInBundle
	}
	return chains[0], nil
}

var (
	errIsCA     = errors.New("it is a CA certificate")
	errInBundle = errors.New("it is itself in the CA bundle")
)

// checkSize refuses what would be expensive to verify.
func checkSize(certs []*x509.Certificate) error {
	if len(certs) > maxCerts {
		return tooLarge("%d certificates presented: at most %d are looked at", len(certs), maxCerts)
	}
	total := 0
	for _, c := range certs {
		total += len(c.Raw)
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
			return tooLarge("RSA key of %d bits: at most %d are looked at", key.N.BitLen(), maxRSA)
		}
	}
	if total > maxBytes {
		return tooLarge("certificates of %d bytes presented: at most %d are looked at", total, maxBytes)
	}
	return nil
}

// validity returns from when until when all of a chain is valid. Then it is time
// to verify again rather than to refuse: another chain may hold. A certificate
// is valid up to and including its last moment (RFC 5280 section 4.1.2.5).
func validity(chain []*x509.Certificate) (from, until time.Time) {
	from, until = chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return from, until.Add(time.Nanosecond)
}
