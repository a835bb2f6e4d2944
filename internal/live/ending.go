package live

import (
	"errors"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
)

// A Kind is the kind of reason for which a request was ended.
type Kind int

// All kinds of reasons.
const (
	// Revoked means that the credential, or somebody in the request, was taken
	// back by name.
	Revoked Kind = iota
	// Expired means that the time of the credential is over.
	Expired
	// Withdrawn means that the credential is refused now: its account, its line,
	// its key or its authority is gone.
	Withdrawn
	// Changed means that the credential is good, and stands for somebody else
	// than before, or for other groups.
	Changed
	// Unjudged means that whom to ask about the credential does not answer.
	Unjudged
	// Stale means that this process cannot show that it knows what is revoked.
	Stale
	kinds
)

// String returns the word of k in metrics and audit events.
func (k Kind) String() string {
	return [kinds]string{"revoked", "expired", "withdrawn", "changed", "unjudged", "stale"}[k]
}

// An Ending is why a request was ended. Err is for the operator; the caller is
// told no more than that the credential does not count any more.
type Ending struct {
	Kind Kind
	Err  error
}

// String says it to the operator.
func (e *Ending) String() string { return e.Kind.String() + ": " + e.Err.Error() }

// Status says it to the caller, in a way that makes his client begin anew, and
// find out that he is not let in, or is.
func (e *Ending) Status() *metav1.Status {
	s := &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized}
	switch e.Kind {
	case Revoked:
		s.Message = "the credential that this request was let in with has been revoked"
	case Expired:
		s.Message = "the credential that this request was let in with has expired"
	case Withdrawn:
		s.Message = "the credential that this request was let in with is not accepted any more"
	case Changed:
		// He may begin again at once, and lists what he may see now.
		s.Code, s.Reason = http.StatusGone, metav1.StatusReasonExpired
		s.Message = "the credential that this request was let in with stands for another user, or for other groups, than it did"
	case Unjudged:
		s.Code, s.Reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
		s.Message = "the credential that this request was let in with cannot be verified at the moment"
	case Stale:
		s.Code, s.Reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
		s.Message = "the server cannot reach its store, and does not know what has been revoked"
	}
	return s
}

// endingOf says what a refusal of a credential is that was good before.
func endingOf(err error) Ending {
	if errors.Is(err, errOther) {
		return Ending{Changed, err}
	}
	switch _, kind := authn.Blame(err); kind {
	case authn.Expired:
		return Ending{Expired, err}
	case authn.Unavailable, authn.Throttled:
		return Ending{Unjudged, err}
	default:
		return Ending{Withdrawn, err}
	}
}

var errOther = errors.New("the credential stands for somebody else than before, or for other groups")
