// Package explain tells operators why a request was refused: what each
// authenticator said of its credential, and which rules nearly allowed it.
//
// The one idea: the caller is told an ID that only the server could have made,
// and the operator finds by it what the caller is not told. A [Book] keeps such
// records for an hour where every process of the store finds them; an
// [Explainer] reads them, and judges credentials that nobody has presented yet.
// The Audit-ID that a caller may choose finds records too, but then all of them,
// each with its own ID, time and peer: whoever repeats it hides nothing.
//
// What strangers can write is bounded, by peer and as a whole, and what was left
// out for that is counted and told. No record holds a secret. The package
// refuses to send a credential anywhere.
package explain

import (
	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/impersonation"
)

// Names in the API.
const (
	Group    = v1alpha1.Group
	Version  = v1alpha1.Version
	Kind     = "Explanation"
	Resource = "explanations"
)

// The types of the API are public; these are they.
type (
	// Explanation is that of the API.
	Explanation = v1alpha1.Explanation
	// Spec is a credential that might be presented.
	Spec = v1alpha1.ExplanationSpec
	// AsRequest is a request that might be made.
	AsRequest = v1alpha1.ExplanationAsRequest
	// Status is what is known.
	Status = v1alpha1.ExplanationStatus
	// Request is one that was refused, or might be. As JSON it is what is kept.
	Request = v1alpha1.ExplanationRequest
	// Review is the question of an API server, or of whoever else may ask.
	Review = v1alpha1.ExplanationReview
	// Rung is what one authenticator said.
	Rung = v1alpha1.ExplanationRung
	// Check is one thing that it looked at.
	Check = v1alpha1.ExplanationCheck
	// User is a caller, and what proved it.
	User = v1alpha1.ExplanationUser
	// Authorization is a decision.
	Authorization = v1alpha1.ExplanationAuthorization
	// Asked is what a request asked for.
	Asked = v1alpha1.ExplanationAsked
	// Nearest is a rule and, in a sentence, what is different.
	Nearest = v1alpha1.ExplanationNearest
	// Role is what would allow it, and how it is bound.
	Role = v1alpha1.ExplanationRole
	// Lost counts refusals of which there is no record.
	Lost = v1alpha1.ExplanationLost
)

// A Denial is what is recorded of a request whose caller may not do it.
type Denial struct {
	// Ladder is what the authenticators said, if the caller thinks that he is
	// somebody else than they do.
	Ladder []authn.Rung
	// Lacking is what he may not do. The first counts; the others are what would
	// have done instead.
	Lacking []Lack
}

// A Lack is one thing that somebody may not do, and the reason given.
type Lack struct {
	Asked   *authz.Attributes
	Reason  string
	Verdict authz.Verdict // that it rests on
}

// Lacking returns what a caller may not do who may not act as whom he wants to.
func Lacking(refusal *impersonation.Refusal) []Lack {
	all := []Lack{{&refusal.Asked, refusal.Reason, refusal.Verdict}}
	for _, other := range refusal.Others {
		all = append(all, Lack{&other.Asked, other.Reason, other.Verdict})
	}
	return all
}

// Bounds of what is kept of one request, in bytes and entries.
const (
	maxPath   = 1024
	maxName   = 512
	maxGroups = 64
	// maxAudiences is how many are kept of those that a review asks for.
	maxAudiences = 16
	// maxRecord is the size of a record as JSON. What is larger loses its
	// checks, then its reasons.
	maxRecord = 16 << 10
)
