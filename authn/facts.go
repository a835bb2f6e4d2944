package authn

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Kind is the kind of reason for which a credential was refused. The list is
// closed, so that metrics can count by it.
type Kind string

// All kinds of reasons.
const (
	// Malformed is what cannot be read as what it is sent as.
	Malformed Kind = "malformed"
	// Unknown is a credential that nobody here has heard of: no such token, user,
	// key or issuer.
	Unknown Kind = "unknown"
	// BadProof is a signature or a password that is wrong.
	BadProof Kind = "bad-proof"
	// Untrusted is what is vouched for by nobody who is believed.
	Untrusted Kind = "untrusted"
	Expired   Kind = "expired"
	NotYet    Kind = "not-yet-valid"
	// WrongAudience is a credential for somebody else than this server.
	WrongAudience Kind = "audience"
	// Unsuitable is a good credential that is not of the sort that counts, or
	// says what the rules of its source do not accept.
	Unsuitable Kind = "unsuitable"
	// Nobody is a good credential that names nobody.
	Nobody Kind = "nobody"
	// Reserved is one that names whom its source may not name.
	Reserved Kind = "reserved-name"
	// Revoked is one that was taken back, or whose object is gone.
	Revoked Kind = "revoked"
	// Unavailable is one that could not be judged, because whom to ask does not
	// answer.
	Unavailable Kind = "unavailable"
	// Throttled is one that was not looked at, or not to the end, because too many
	// are. Nothing is known against it: see [IsThrottled].
	Throttled Kind = "throttled"
	// Other is a reason of none of these kinds.
	Other Kind = "other"
)

// A Check is one thing that an authenticator looked at, with what it compared.
// It never holds any part of a secret.
type Check struct {
	// What was looked at, such as "audience (aud)".
	What string `json:"what"`
	// Got is what the credential says, and Want what it should say.
	Got  string `json:"got,omitempty"`
	Want string `json:"want,omitempty"`
	OK   bool   `json:"ok"`
}

// AudienceCheck says whether a credential for the audiences got is good where one
// of want has to be among them.
func AudienceCheck(got, want []string) Check {
	return Check{What: "audience (aud)", Got: List(got), Want: "one of " + List(want), OK: len(Intersect(got, want)) > 0}
}

// TimeCheck says whether a moment, which is zero if it is not told, is before or
// after now, as far as leeway allows.
func TimeCheck(what string, at, now time.Time, after bool, leeway time.Duration) Check {
	c := Check{What: what, Got: "none", Want: "before ", OK: at.IsZero() || !at.After(now.Add(leeway))}
	if !at.IsZero() {
		c.Got = at.UTC().Format(time.RFC3339)
	}
	if after {
		c.Want, c.OK = "after ", at.IsZero() || !at.Before(now.Add(-leeway))
	}
	c.Want += now.UTC().Format(time.RFC3339)
	if leeway > 0 {
		c.Want += " (leeway " + leeway.String() + ")"
	}
	return c
}

// List writes texts for a [Check], and leaves out all but the first if they are
// many.
func List(texts []string) string {
	const most = 16
	var b strings.Builder
	b.WriteByte('[')
	for i, text := range texts[:min(len(texts), most)] {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Quote(clip(text)))
	}
	if len(texts) > most {
		fmt.Fprintf(&b, " and %d more", len(texts)-most)
	}
	b.WriteByte(']')
	return b.String()
}

// Facts are what an answer of an authenticator rests on. They are for the
// operator, and never hold any part of a secret.
type Facts struct {
	// Kind is the kind of reason; it is empty where nothing was refused.
	Kind Kind `json:"kind,omitempty"`
	// Checks are what was looked at, in that order. The one that failed, if it
	// is one that can be compared, is the last.
	Checks []Check `json:"checks,omitempty"`
	// Mend says what the operator or the owner of the credential can do.
	Mend string `json:"mend,omitempty"`
}

// factual is an error that knows the facts.
type factual interface {
	error
	kind() Kind // cheap
	facts() Facts
}

// A Teller is an error that knows the facts by itself, instead of by [Explained].
type Teller interface {
	error
	// Kind costs nothing to find out.
	Kind() Kind
	// Facts are put together when somebody asks for them.
	Facts() Facts
}

// told is a [Teller] as those in this package are.
type told struct{ Teller }

func (t told) kind() Kind { return t.Kind() }

func (t told) facts() Facts { return t.Facts() }

type explained struct {
	error
	of   Kind
	tell func() Facts
}

// Explained returns err with its kind and, where tell is not nil, with other
// facts, which are put together only when somebody asks for them. It is for the
// causes of a [Refusal], and for errors that wrap [ErrNoCredential]; whatever
// errors.Is and errors.As find in err, they find in what is returned.
func Explained(err error, kind Kind, tell func() Facts) error { return &explained{err, kind, tell} }

func (e *explained) Unwrap() error { return e.error }

func (e *explained) kind() Kind { return e.of }

func (e *explained) facts() Facts {
	var f Facts
	if e.tell != nil {
		f = e.tell()
	}
	f.Kind = e.of
	return f
}

// FactsOf returns the facts that are known of an error: those of the outermost
// one that knows any, and what that one leaves open from those that caused it.
func FactsOf(err error) Facts {
	var all Facts
	walk(err, func(f factual) bool {
		all.fillIn(f.facts())
		return all.Kind != "" && len(all.Checks) > 0 && all.Mend != ""
	})
	return all
}

// kindOf returns the kind alone, without putting the other facts together.
func kindOf(err error) (kind Kind) {
	walk(err, func(f factual) bool {
		kind = f.kind()
		return kind != ""
	})
	return kind
}

// walk shows to see what knows facts in err, the outermost first, until that has
// seen enough, and reports whether it has.
func walk(err error, see func(factual) (enough bool)) bool {
	for err != nil {
		switch f := err.(type) {
		case factual:
			if see(f) {
				return true
			}
		case Teller:
			if see(told{f}) {
				return true
			}
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, cause := range e.Unwrap() {
				if walk(cause, see) {
					return true
				}
			}
			return false
		default:
			return false
		}
	}
	return false
}

// fillIn takes from more what f does not have.
func (f *Facts) fillIn(more Facts) {
	if f.Kind == "" {
		f.Kind = more.Kind
	}
	if len(f.Checks) == 0 {
		f.Checks = more.Checks
	}
	if f.Mend == "" {
		f.Mend = more.Mend
	}
}
