// Package authz says whether a caller may do what a request asks for.
//
// An [Authorizer] answers allow, deny or no opinion, and why. [Chain] takes the
// first opinion; where nobody has one, the request is denied. Nothing here
// reads a request or the store: the facts arrive as [Attributes].
package authz

import (
	"context"
	"fmt"

	"gatehouse.dev/gatehouse/identity"
)

// Attributes are the facts of one request that decide whether it is allowed,
// with the meaning they have in Kubernetes (k8s.io/apiserver
// pkg/authorization/authorizer).
type Attributes struct {
	User *identity.Identity
	// Verb is a Kubernetes verb such as "get", "list" or "deletecollection" for
	// a resource, and the HTTP method in lower case for a path.
	Verb string
	// IsResource tells a request for an API resource from one for a path.
	IsResource bool
	// APIGroup, APIVersion, Resource, Subresource, Namespace and Name are of
	// the resource. Namespace is empty for what is cluster-scoped or asked for
	// in all namespaces, Name for what is created or listed.
	APIGroup, APIVersion  string
	Resource, Subresource string
	Namespace, Name       string
	// Path is that of the URL if IsResource is false.
	Path string
	// FieldSelector and LabelSelector are the raw selectors of a list, watch or
	// deletecollection.
	FieldSelector, LabelSelector string
}

// A Verdict is what an authorizer says. The zero value is [NoOpinion], so that
// nothing is ever allowed by a value somebody forgot to set.
type Verdict int

// All verdicts.
const (
	NoOpinion Verdict = iota
	Allow
	Deny
)

// An Answer is a verdict and its reason.
type Answer struct {
	Verdict Verdict
	// Why gives the reason, and is nil where there is none. It is rendered only
	// when somebody reads it, because most decisions are never read.
	Why fmt.Stringer
}

// Reason returns the reason, or "".
func (a Answer) Reason() string {
	if a.Why == nil {
		return ""
	}
	return a.Why.String()
}

// Text is a constant reason.
type Text string

func (t Text) String() string { return string(t) }

// An Authorizer decides whether a request is allowed.
type Authorizer interface {
	// Authorize decides about a. An error means that not all could be
	// evaluated: the answer stands all the same, but no opinion together with
	// an error is to be answered with an internal error, not with a plain
	// denial. Authorize keeps no reference to a.
	Authorize(ctx context.Context, a *Attributes) (Answer, error)
}

// Denial says in Kubernetes' words what the caller must not do
// (k8s.io/apiserver pkg/endpoints/handlers/responsewriters/errors.go).
func (a *Attributes) Denial() string {
	if !a.IsResource {
		return fmt.Sprintf("User %q cannot %s path %q", a.User.Name, a.Verb, a.Path)
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	scope := "at the cluster scope"
	if a.Namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", a.Namespace)
	}
	return fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", a.User.Name, a.Verb, resource, a.APIGroup, scope)
}
