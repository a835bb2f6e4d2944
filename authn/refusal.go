package authn

import (
	"errors"
	"strings"
	"sync/atomic"

	"gatehouse.dev/gatehouse/identity"
)

// AnyBearer is the method of a [Refusal] of an Authorization header that no
// particular kind of bearer token is to blame for.
const AnyBearer identity.Method = "Bearer"

// A Refusal says, for the operator, which authenticator refused a credential
// and why. The caller is told nothing but that there was one. It never holds
// any part of a secret.
//
// The facts are those of Cause where Refusal itself leaves them open; see
// [FactsOf].
type Refusal struct {
	// Method is the kind of credential that was refused.
	Method identity.Method
	// Source says which of several of its method refused it, such as the URL of
	// an issuer or the name of a file. It may be empty.
	Source string
	// Reason is why. Where Kubernetes has a text for it, it is that text. If it is
	// empty, Cause says it all.
	Reason string
	// Cause is a further error that Reason goes on with, or nil.
	Cause error
	Facts
	// Annotations belong into the audit event of the request, as those of a
	// [Result] do.
	Annotations []Annotation

	// passed is what those said who looked at the credential and found that it
	// was not theirs. It is no part of what Unwrap returns: they are all
	// [ErrNoCredential], and a refusal must never be that.
	passed []answer
}

// Error returns the method, the reason, the cause, and in brackets what the
// others said who looked at the credential.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(string(r.Method))
	b.WriteString(": ")
	b.WriteString(r.because())
	for i, a := range r.passed {
		b.WriteString([]string{" (", "; "}[min(i, 1)])
		b.WriteString(a.err.Error())
	}
	if len(r.passed) > 0 {
		b.WriteString(")")
	}
	return b.String()
}

// because returns the reason and the cause.
func (r *Refusal) because() string {
	switch {
	case r.Cause == nil:
		return r.Reason
	case r.Reason == "":
		return r.Cause.Error()
	}
	return r.Reason + ": " + r.Cause.Error()
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

func (r *Refusal) kind() Kind { return r.Kind }

func (r *Refusal) facts() Facts { return r.Facts }

// AnnotationsOf returns the annotations of all refusals in an error.
func AnnotationsOf(err error) (all []Annotation) {
	walk(err, func(f factual) bool {
		if r, ok := f.(*Refusal); ok {
			all = append(all, r.Annotations...)
		}
		return false
	})
	return all
}

// Refuse returns a [Refusal] without a cause.
func Refuse(method identity.Method, kind Kind, reason string) error {
	return &Refusal{Method: method, Reason: reason, Facts: Facts{Kind: kind}}
}

// A pass is an [ErrNoCredential] that says who looked and what was found.
type pass struct {
	method identity.Method
	found  string
	checks []Check
	// tell is instead of the checks, if there is one, and found what it is about.
	tell func(about string) (found string, checks []Check)
}

// Pass returns an error that wraps [ErrNoCredential] and says what an
// authenticator found instead of a credential of its kind, and what it
// compared.
func Pass(method identity.Method, found string, checks ...Check) error {
	return &pass{method: method, found: found, checks: checks}
}

// PassTelling is [Pass] with what tell returns about something, which is put
// together only when somebody asks for it.
func PassTelling(method identity.Method, about string, tell func(about string) (found string, checks []Check)) error {
	return &pass{method: method, found: about, tell: tell}
}

// Passes make what [PassTelling] returns, and make it once for what is the same
// as the time before: most tokens that are somebody else's are of one issuer.
type Passes struct {
	method identity.Method
	tell   func(about string) (found string, checks []Check)
	last   atomic.Pointer[pass]
}

// NewPasses returns those with a method and with what tell returns.
func NewPasses(method identity.Method, tell func(about string) (found string, checks []Check)) *Passes {
	return &Passes{method: method, tell: tell}
}

// Pass is [PassTelling] about something.
func (p *Passes) Pass(about string) error {
	if last := p.last.Load(); last != nil && last.found == about {
		return last
	}
	made := &pass{method: p.method, found: about, tell: p.tell}
	p.last.Store(made)
	return made
}

func (p *pass) told() (found string, checks []Check) {
	if p.tell != nil {
		return p.tell(p.found)
	}
	return p.found, p.checks
}

func (p *pass) Error() string {
	found, _ := p.told()
	return string(p.method) + ": " + found
}

func (p *pass) Unwrap() error { return ErrNoCredential }

func (p *pass) kind() Kind { return "" }

func (p *pass) facts() Facts {
	_, checks := p.told()
	return Facts{Checks: checks}
}

// refused reports whether err is a refusal. A [Refusal] anywhere in err settles
// it, so that nothing that it was joined with or caused by can make it look
// like the absence of a credential.
func refused(err error) bool {
	if err == ErrNoCredential {
		return false
	}
	switch err.(type) { // nearly all are one of these
	case *pass:
		return false
	case *Refusal, *unclaimed, *tried:
		return true
	}
	if !errors.Is(err, ErrNoCredential) {
		return true
	}
	_, ok := errors.AsType[*Refusal](err)
	return ok
}
