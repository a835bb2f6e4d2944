package clientcert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/authn"
)

// What would mend a refusal.
const (
	mendSize    = "send the certificate and its intermediates only, with smaller keys"
	mendCA      = "use a certificate that a CA has issued to a client, not that of a CA"
	mendExpired = "get a new certificate: those of a CertificateSigningRequest end by its expirationSeconds"
	mendClock   = "compare the clocks of this server and of the CA"
	mendChain   = "get a certificate from a CA in %s, send its intermediates behind it, or put its CA into that file"
	mendUsage   = "get a certificate whose extended key usage has client authentication, or that has none"
	mendForm    = "get a certificate that keeps to RFC 5280: gatehouse token inspect shows what is in this one"
	mendName    = "get a certificate whose subject has a common name, which is the user"
	mendUID     = "get a certificate whose subject has no UID (1.3.6.1.4.1.57683.2), or one that is a text"
)

// A sizeError is about what is too large to be looked at.
type sizeError string

func (e sizeError) Error() string { return string(e) }

func tooLarge(format string, args ...any) error { return sizeError(fmt.Sprintf(format, args...)) }

// A trial is what a certificate is judged by.
type trial struct {
	certs []*x509.Certificate
	roots *roots
	file  string
	now   time.Time
}

// unverified returns err with what was compared.
func (t trial) unverified(err error) error {
	kind, _ := t.blame(err)
	return authn.Explained(unverified{t.certs[0], err}, kind, func() authn.Facts { return t.facts(err) })
}

func (t trial) facts(err error) authn.Facts {
	kind, mend := t.blame(err)
	return authn.Facts{Kind: kind, Checks: t.checks(kind, err), Mend: strings.ReplaceAll(mend, "%s", t.file)}
}

// A strange certificate is one of an authority that the bundle does not know. It
// has its verdict and its refusal with it, because where there are several
// bundles it is the usual thing on each new connection.
type strange struct {
	trial   trial
	verdict verdict
	refusal authn.Refusal
}

// strange is the verdict on what is of no authority in roots.
func (a *Authenticator) strange(certs []*x509.Certificate, roots *roots, now time.Time) *verdict {
	s := &strange{trial: trial{certs, roots, a.bundle.path, now}}
	s.refusal = authn.Refusal{Method: a.method, Cause: s}
	s.verdict = verdict{certs: certs, err: &s.refusal, until: now.Add(maxRefused), rests: roots.rests}
	return &s.verdict
}

func (s *strange) why() error { return x509.UnknownAuthorityError{Cert: s.trial.certs[0]} }

func (s *strange) Error() string { return unverified{s.trial.certs[0], s.why()}.Error() }

func (s *strange) Unwrap() error { return s.why() }

// Kind and Facts implement [authn.Teller].
func (s *strange) Kind() authn.Kind { return authn.Untrusted }

func (s *strange) Facts() authn.Facts { return s.trial.facts(s.why()) }

// An unverified certificate is named, as Kubernetes names it, only when somebody
// asks: each bundle refuses the certificates of all others.
type unverified struct {
	leaf  *x509.Certificate
	cause error
}

func (u unverified) Error() string {
	return "verifying certificate " + describe(u.leaf) + " failed: " + u.cause.Error()
}

func (u unverified) Unwrap() error { return u.cause }

// unnamed returns err, which is about a certificate that was verified, with what
// was compared, unless it says so itself.
func (t trial) unnamed(err error) error {
	kind, mend := authn.Nobody, mendName
	if facts := authn.FactsOf(err); facts.Kind != "" {
		kind, mend = facts.Kind, facts.Mend
	}
	return authn.Explained(err, kind, func() authn.Facts {
		last := authn.FactsOf(err).Checks
		if len(last) == 0 {
			last = []authn.Check{{What: "common name (CN)", Got: t.certs[0].Subject.CommonName, Want: "a user name"}}
		}
		return authn.Facts{Checks: append(t.checks("", nil), last...), Mend: mend}
	})
}

// blame tells of which kind a reason of the verification is.
func (t trial) blame(err error) (authn.Kind, string) {
	var size sizeError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &size):
		return authn.Malformed, mendSize
	case errors.Is(err, errIsCA), errors.Is(err, errInBundle):
		return authn.Unsuitable, mendCA
	case !errors.As(err, &invalid):
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
			return authn.Untrusted, mendChain
		}
		return authn.Malformed, mendForm
	}
	switch invalid.Reason {
	case x509.Expired:
		if invalid.Cert != nil && t.now.Before(invalid.Cert.NotBefore) {
			return authn.NotYet, mendClock
		}
		return authn.Expired, mendExpired
	case x509.IncompatibleUsage:
		return authn.Unsuitable, mendUsage
	}
	return authn.Untrusted, mendForm
}

// checks are what is compared of a certificate, up to what was wrong.
func (t trial) checks(kind authn.Kind, err error) []authn.Check {
	leaf := t.certs[0]
	var invalid x509.CertificateInvalidError
	errors.As(err, &invalid)
	all := []authn.Check{{What: "subject", Got: leaf.Subject.String(), OK: true}}
	var size sizeError
	switch {
	case errors.As(err, &size):
		return append(all, authn.Check{What: "size", Got: size.Error()})
	case errors.Is(err, errIsCA), errors.Is(err, errInBundle):
		return append(all, authn.Check{What: "kind of certificate", Got: err.Error(), Want: "that of a client"})
	}
	judged := leaf
	if (kind == authn.Expired || kind == authn.NotYet) && invalid.Cert != nil {
		judged = invalid.Cert
	}
	if judged != leaf {
		all = append(all, authn.Check{What: "CA certificate", Got: judged.Subject.String(), OK: true})
	}
	begin := authn.TimeCheck("not before", judged.NotBefore, t.now, false, 0)
	end := authn.TimeCheck("not after", judged.NotAfter, t.now, true, 0)
	all = append(all, begin)
	if !begin.OK {
		return all
	}
	all = append(all, end)
	if !end.OK {
		return all
	}
	chain := authn.Check{
		What: "issuer", Got: leaf.Issuer.String() + " " + keyID(leaf.AuthorityKeyId), Want: "one of " + t.authorities() + " in " + t.file,
		OK: kind != authn.Untrusted,
	}
	all = append(all, chain)
	switch {
	case !chain.OK:
	case invalid.Cert != nil && invalid.Reason == x509.IncompatibleUsage:
		all = append(all, authn.Check{What: "extended key usage", Got: usages(leaf), Want: "client authentication"})
	case kind == authn.Malformed:
		all = append(all, authn.Check{What: "form", Got: err.Error()})
	default:
		all = append(all, authn.Check{What: "extended key usage", Got: usages(leaf), OK: true})
	}
	return all
}

// authorities names the CA certificates in force.
func (t trial) authorities() string {
	names := make([]string, len(t.roots.certs))
	for i, c := range t.roots.certs {
		names[i] = c.Subject.String() + " " + keyID(c.SubjectKeyId)
	}
	return authn.List(names)
}

func keyID(id []byte) string {
	if len(id) == 0 {
		return "(no key ID)"
	}
	return "(key ID " + colons(id) + ")"
}

// usages names what a certificate is for.
func usages(c *x509.Certificate) string {
	var names []string
	for _, u := range c.ExtKeyUsage {
		names = append(names, u.String())
	}
	for _, u := range c.UnknownExtKeyUsage {
		names = append(names, u.String())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
