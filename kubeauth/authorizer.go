package kubeauth

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Authorizer returns a as the library asks it.
func Authorizer(a authz.Authorizer) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(ctx context.Context, asked authorizer.Attributes) (authorizer.Decision, string, error) {
		answer, err := a.Authorize(ctx, attributesOf(asked))
		decision := authorizer.DecisionNoOpinion
		switch answer.Verdict {
		case authz.Allow:
			decision = authorizer.DecisionAllow
		case authz.Deny:
			decision = authorizer.DecisionDeny
		}
		return decision, answer.Reason(), err
	})
}

func attributesOf(a authorizer.Attributes) *authz.Attributes {
	return &authz.Attributes{
		User: identityOf(a.GetUser()), Verb: a.GetVerb(), IsResource: a.IsResourceRequest(), Path: a.GetPath(),
		APIGroup: a.GetAPIGroup(), APIVersion: a.GetAPIVersion(), Resource: a.GetResource(), Subresource: a.GetSubresource(),
		Namespace: a.GetNamespace(), Name: a.GetName(),
		FieldSelector: fieldSelector(a), LabelSelector: labelSelector(a),
	}
}

// identityOf returns the identity that one of our authenticators made, with all
// that it knows, or one with what the library knows of somebody else's user.
func identityOf(u user.Info) *identity.Identity {
	switch u := u.(type) {
	case nil:
		return nil
	case *identity.Identity:
		return u
	}
	return &identity.Identity{Name: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra()}
}

// fieldSelector writes down again what the library has parsed. A part that could
// not be parsed is left out, as the library's own webhook does: a selector only
// narrows, so more is asked for than without the mistake, and never less.
func fieldSelector(a authorizer.Attributes) string {
	requirements, _ := a.GetFieldSelector()
	var terms []string
	for _, r := range requirements {
		operator := "="
		switch r.Operator {
		case selection.Equals, selection.DoubleEquals, selection.In:
		case selection.NotEquals, selection.NotIn:
			operator = "!="
		default:
			continue
		}
		terms = append(terms, r.Field+operator+fields.EscapeValue(r.Value))
	}
	return strings.Join(terms, ",")
}

func labelSelector(a authorizer.Attributes) string {
	requirements, _ := a.GetLabelSelector()
	return labels.NewSelector().Add(requirements...).String()
}

// Rules returns l as the library asks what somebody may do.
func Rules(l authz.RuleLister) authorizer.RuleResolver { return resolver{l} }

type resolver struct{ lister authz.RuleLister }

func (r resolver) RulesFor(ctx context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	rules, err := r.lister.RulesFor(ctx, identityOf(u), namespace)
	var resources []authorizer.ResourceRuleInfo
	for _, rule := range rules.Resource {
		resources = append(resources, &authorizer.DefaultResourceRuleInfo{
			Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames,
		})
	}
	var paths []authorizer.NonResourceRuleInfo
	for _, rule := range rules.NonResource {
		paths = append(paths, &authorizer.DefaultNonResourceRuleInfo{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
	}
	return resources, paths, rules.Incomplete, err
}
