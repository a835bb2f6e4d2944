package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/identity"
)

// A Finding is how one authenticator answered.
type Finding string

// All findings.
const (
	// Passed means that there was no credential of its kind.
	Passed Finding = "passed"
	// Refused means that there was one, and that it is bad.
	Refused Finding = "refused"
	// Accepted means that it is good.
	Accepted Finding = "accepted"
)

// A Rung is what one authenticator said about a request. All of them, in the
// order in which they were asked, are a ladder: see [Ladder] and [Trace].
type Rung struct {
	// Method is the kind of credential that it understands.
	Method identity.Method `json:"method"`
	// Source says which of several of its method it is, such as the URL of an
	// issuer or the name of a file. It may be empty.
	Source string  `json:"source,omitempty"`
	Found  Finding `json:"found"`
	// Reason is why the credential was not accepted.
	Reason string `json:"reason,omitempty"`
	Facts
	// Who is whose credential it is, if it was accepted.
	Who *identity.Identity `json:"-"`
}

// A Described authenticator or token verifier says which one it is.
type Described interface {
	// Describe returns what it understands, and which one of its kind it is, or
	// "" if there is no other.
	Describe() (method identity.Method, source string)
}

// A Witness says more exactly why it passed a request over than it did when it was
// asked. It is asked of those requests alone that were not let in, or of which
// somebody wants to know all.
type Witness interface {
	// Passed returns err, with which it passed r, or another that wraps
	// [ErrNoCredential].
	Passed(r *http.Request, err error) error
}

// An answer is an error, and whose it is.
type answer struct {
	by  any
	err error
}

// tried is the error of a chain: what all its links said. Only the refusals are
// what went wrong.
type tried struct {
	said []answer
	room [few]answer
}

func (t *tried) Error() string {
	var texts []string
	for _, err := range t.Unwrap() {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "\n")
}

// Unwrap returns the refusals.
func (t *tried) Unwrap() []error {
	var refusals []error
	for _, a := range t.said {
		if refused(a.err) {
			refusals = append(refusals, a.err)
		}
	}
	return refusals
}

// Ladder returns what each authenticator said, from the error that a [Chain] or
// [Tokens] has returned.
func Ladder(err error) []Rung {
	var l ladder
	if err != nil {
		l.climb(nil, err)
	}
	return l.rungs
}

// Trace asks a about r and returns the ladder besides its answer. Unlike that of
// [Ladder] it is there when the request was let in, too.
func Trace(a Authenticator, r *http.Request) (*Result, []Rung, error) {
	var l ladder
	res, err := l.ask(a, r)
	return res, l.rungs, err
}

// A ladder is what was said so far. A nil one is not written on.
type ladder struct{ rungs []Rung }

// A climber is an authenticator that asks others.
type climber interface {
	climb(r *http.Request, l *ladder) (*Result, error)
}

// ask returns what a says about r, and notes it, unless a asks others, whose
// answers are noted then.
func (l *ladder) ask(a Authenticator, r *http.Request) (*Result, error) {
	if l == nil {
		return a.Authenticate(r)
	}
	if c, ok := a.(climber); ok {
		return c.climb(r, l)
	}
	res, err := a.Authenticate(r)
	err = witness(a, r, err)
	l.note(a, res, err)
	return res, err
}

// witness returns what is to be told of an answer.
func witness(by any, r *http.Request, err error) error {
	if w, ok := by.(Witness); ok && err != nil && !refused(err) {
		return w.Passed(r, err)
	}
	return err
}

// askToken is ask about a token that is for the server.
func (l *ladder) askToken(ctx context.Context, v TokenVerifier, token string) (*Result, error) {
	if l == nil {
		return v.VerifyToken(ctx, token, nil)
	}
	if t, ok := v.(tokens); ok {
		return t.climbToken(ctx, token, nil, l)
	}
	res, err := v.VerifyToken(ctx, token, nil)
	l.note(v, res, err)
	return res, err
}

// note writes down an answer.
func (l *ladder) note(by any, res *Result, err error) {
	switch {
	case l == nil:
	case err != nil:
		l.climb(by, err)
	case res == nil || res.Identity == nil:
		l.climb(by, incomplete(by))
	default:
		method, source := describe(by)
		if method == "" {
			method = res.Identity.Credential.Method
		}
		if source == "" {
			source = res.Identity.Credential.Issuer
		}
		l.rungs = append(l.rungs, Rung{Method: method, Source: clip(source), Found: Accepted, Who: res.Identity})
	}
}

// climb writes down an error of by, and those of the others that it is about.
func (l *ladder) climb(by any, err error) {
	if all, ok := errors.AsType[*tried](err); ok {
		for _, a := range all.said {
			l.climb(a.by, a.err)
		}
		return
	}
	if !refused(err) {
		l.passed(by, err)
		return
	}
	r := Rung{Found: Refused, Reason: clip(err.Error()), Facts: bounded(FactsOf(err))}
	r.Method, r.Source = describe(by)
	if is, ok := errors.AsType[*Refusal](err); ok {
		for _, a := range is.passed {
			l.climb(a.by, a.err)
		}
		r.Method, r.Reason = is.Method, clip(is.because())
		if is.Source != "" {
			r.Source = clip(is.Source)
		}
	}
	if r.Kind == "" {
		r.Kind = Other
	}
	l.rungs = append(l.rungs, r)
}

func (l *ladder) passed(by any, err error) {
	r := Rung{Found: Passed, Reason: clip(err.Error()), Facts: bounded(FactsOf(err))}
	r.Method, r.Source = describe(by)
	if p, ok := errors.AsType[*pass](err); ok {
		found, _ := p.told()
		r.Method, r.Reason = p.method, clip(found)
	}
	l.rungs = append(l.rungs, r)
}

func describe(by any) (identity.Method, string) {
	if d, ok := by.(Described); ok {
		return d.Describe()
	}
	return "", ""
}

// Blame returns the method and the kind of the reason of a refusal, for counting.
// If several authenticators have refused, it is the last one's: those before it
// may have been asked about another credential of the same request.
func Blame(err error) (identity.Method, Kind) {
	if all, ok := errors.AsType[*tried](err); ok {
		refusals := all.Unwrap()
		return Blame(refusals[len(refusals)-1])
	}
	if !refused(err) {
		return "", ""
	}
	kind := kindOf(err)
	if kind == "" {
		kind = Other
	}
	if is, ok := errors.AsType[*Refusal](err); ok {
		return is.Method, kind
	}
	return "", kind
}

// IsThrottled reports whether one who might have accepted the credential did not
// get to look at it. Whoever sent it should not be told that it is bad, but to
// send it again.
func IsThrottled(err error) bool {
	if all, ok := errors.AsType[*tried](err); ok {
		return slices.ContainsFunc(all.Unwrap(), IsThrottled)
	}
	return refused(err) && kindOf(err) == Throttled
}

// Bounds of what a ladder holds, because callers have a hand in it.
const (
	maxText   = 1024
	maxChecks = 32
)

func bounded(f Facts) Facts {
	f.Checks = append([]Check(nil), f.Checks[:min(len(f.Checks), maxChecks)]...)
	for i := range f.Checks {
		c := &f.Checks[i]
		c.What, c.Got, c.Want = clip(c.What), clip(c.Got), clip(c.Want)
	}
	f.Mend = clip(f.Mend)
	return f
}

// clip cuts a text that is too long, between two characters.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}
