package api

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// creating is our authorizer as the library asks it. The front door has
// authorized the request as it came; the library asks once more about a PUT or
// a server-side apply that turns out to create its object.
type creating struct{ by authz.Authorizer }

func (c creating) authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	user, ok := a.GetUser().(*identity.Identity)
	if !ok || user == nil {
		return authorizer.DecisionDeny, "", errors.New("internal error: a write without an authenticated caller")
	}
	answer, err := c.by.Authorize(ctx, &authz.Attributes{
		User: user, Verb: a.GetVerb(), IsResource: a.IsResourceRequest(), Path: a.GetPath(),
		APIGroup: a.GetAPIGroup(), APIVersion: a.GetAPIVersion(), Resource: a.GetResource(), Subresource: a.GetSubresource(),
		Namespace: a.GetNamespace(), Name: a.GetName(),
	})
	switch answer.Verdict {
	case authz.Allow:
		return authorizer.DecisionAllow, answer.Reason(), err
	case authz.Deny:
		return authorizer.DecisionDeny, answer.Reason(), err
	}
	return authorizer.DecisionNoOpinion, answer.Reason(), err
}
