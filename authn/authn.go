// Package authn establishes who sent a request.
//
// Each [Authenticator] understands one kind of credential in a request, each
// [TokenVerifier] one kind of bearer token. An answer is one of three: this is
// who, [ErrNoCredential] ("not mine"), or a refusal ("mine, and bad"). Only
// [Chain] decides what one refusal means for the rest, and a request with a
// refused credential never becomes an anonymous one.
//
// The package and its children import neither a token library nor a server, so
// that any Go API server can use them.
package authn

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/identity"
)

// ErrNoCredential is returned, wrapped or not, by an authenticator that finds
// no credential of its kind. It is no refusal.
var ErrNoCredential = errors.New("no credential of this kind")

// An Authenticator establishes the caller from one kind of credential.
type Authenticator interface {
	// Authenticate returns who sent r. It returns an error that wraps
	// [ErrNoCredential] if r has no credential of its kind; any other error
	// means that there was one and that it is refused. The text of that error
	// is for the operator, and must not hold any part of a secret.
	Authenticate(r *http.Request) (*Result, error)
}

// A TokenVerifier establishes whose a bearer token is.
type TokenVerifier interface {
	// VerifyToken returns whose token it is. At least one of audiences must be
	// among those the token is meant for; if audiences is empty, those of the
	// server itself apply. Errors are as for [Authenticator.Authenticate].
	VerifyToken(ctx context.Context, token string, audiences []string) (*Result, error)
}

// A Result is the answer of an authenticator. It is shared between requests and
// must not be changed.
type Result struct {
	Identity *identity.Identity
	// Until is when the result must not be used any more without asking the
	// authenticator again. Zero means that time does not end it.
	Until time.Time

	// What every request looks at is side by side, as a remembered result is in
	// memory that may be far away.

	// named is Identity if that is known to name somebody, so that nobody has to
	// look there. In a copy it may be another one by now.
	named *identity.Identity
	// judged is under what the result was last judged, see Judged.
	judged atomic.Pointer[Stamp]
	// used is what [Result.FirstUse] was called with last.
	used atomic.Uint32

	// Rests are the generations that the result rests on. Once one of them has
	// changed the result must not be used any more.
	Rests []Stamp
	// Audiences are those of the asked ones that the credential is meant for.
	// Nil means that audiences do not apply to it, as to a certificate.
	Audiences []string
	// Annotations belong into the audit event of every request that uses the
	// credential, and Warnings into its answer.
	Annotations []Annotation
	Warnings    []string
}

// Copy returns a copy, of which no use is noted yet.
func (r *Result) Copy() Result {
	named := r.Identity
	if !complete(r) {
		named = nil
	}
	return Result{
		Identity: r.Identity, Until: r.Until, named: named, Rests: r.Rests, Audiences: r.Audiences,
		Annotations: r.Annotations, Warnings: r.Warnings,
	}
}

// FirstUse reports whether it is called for the first time with a number, such as
// that of an hour, since it was called with another one. It is for whoever notes
// when a credential is used, and costs nearly nothing where it was noted already.
func (r *Result) FirstUse(period uint32) bool {
	return r.used.Load() != period && r.used.Swap(period) != period
}

// Judged notes that somebody who is not the authenticator has found nothing
// against r, under a stamp of what he judges by. He compares stamps by their
// address, so that the stamps of two are never taken for each other.
func (r *Result) Judged(under *Stamp) { r.judged.Store(under) }

// JudgedUnder reports whether that was done under this very stamp.
func (r *Result) JudgedUnder(stamp *Stamp) bool { return r.judged.Load() == stamp }

// An Annotation is one entry of an audit event's annotations.
type Annotation struct{ Key, Value string }

// Fresh reports whether nothing that r rests on has changed, and now is before
// r.Until.
func (r *Result) Fresh(now time.Time) bool {
	if !r.Until.IsZero() && !now.Before(r.Until) {
		return false
	}
	for _, s := range r.Rests {
		if !s.Current() {
			return false
		}
	}
	return true
}
