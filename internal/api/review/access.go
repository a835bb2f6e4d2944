package review

import (
	"context"
	"errors"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// subjectAccessReview says whether anybody may do something.
func (h *Handler) subjectAccessReview(q Question, review *authorizationv1.SubjectAccessReview) error {
	s := &review.Spec
	status, err := h.ofOthers(q, subject(s), s.ResourceAttributes, s.NonResourceAttributes)
	review.Status = status
	return err
}

// localSubjectAccessReview is the same for what somebody may do in namespace.
func (h *Handler) localSubjectAccessReview(q Question, review *authorizationv1.LocalSubjectAccessReview) error {
	s := &review.Spec
	// Whoever may ask about one namespace must learn nothing about another,
	// whatever validation thinks of it.
	if s.ResourceAttributes == nil || s.ResourceAttributes.Namespace != q.namespace {
		return apierrors.NewBadRequest("spec.resourceAttributes.namespace must match namespace: " + q.namespace)
	}
	status, err := h.ofOthers(q, subject(s), s.ResourceAttributes, nil)
	review.Status = status
	return err
}

// selfSubjectAccessReview says whether the caller may do something.
func (h *Handler) selfSubjectAccessReview(q Question, review *authorizationv1.SelfSubjectAccessReview) error {
	who, err := caller(q.R.Context())
	if err != nil {
		return err
	}
	facts, flaws, err := factsOf(who, review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes)
	if err != nil {
		return err
	}
	review.Status, _ = h.access(q.R.Context(), facts, flaws)
	return nil
}

// selfSubjectRulesReview lists what the caller may do in a namespace. As
// upstream, the answer does not repeat the question.
func (h *Handler) selfSubjectRulesReview(q Question, review *authorizationv1.SelfSubjectRulesReview) error {
	who, err := caller(q.R.Context())
	if err != nil {
		return err
	}
	if review.Spec.Namespace == "" {
		return apierrors.NewBadRequest("no namespace on request")
	}
	resource, nonResource, incomplete, err := h.Rules.RulesFor(q.R.Context(), who, review.Spec.Namespace)
	*review = authorizationv1.SelfSubjectRulesReview{Status: authorizationv1.SubjectRulesReviewStatus{
		// Both are required: nothing is [], never null.
		ResourceRules:    append([]authorizationv1.ResourceRule{}, resource...),
		NonResourceRules: append([]authorizationv1.NonResourceRule{}, nonResource...),
		Incomplete:       incomplete,
	}}
	if err != nil {
		review.Status.EvaluationError = err.Error()
	}
	return nil
}

// subject returns the identity that a review is about. No credential proved it.
func subject(s *authorizationv1.SubjectAccessReviewSpec) *identity.Identity {
	who := &identity.Identity{Name: s.User, UID: s.UID, Groups: s.Groups}
	if s.Extra != nil {
		who.Extra = make(map[string][]string, len(s.Extra))
		for k, v := range s.Extra {
			who.Extra[k] = v
		}
	}
	return who
}

// ofOthers answers who is asked about somebody else. What he may not do is kept
// for whoever asks why, and the reason says where: it is all that the API server
// that asks passes on.
func (h *Handler) ofOthers(q Question, who *identity.Identity, resource *authorizationv1.ResourceAttributes,
	other *authorizationv1.NonResourceAttributes) (authorizationv1.SubjectAccessReviewStatus, error) {
	facts, flaws, err := factsOf(who, resource, other)
	if err != nil {
		return authorizationv1.SubjectAccessReviewStatus{}, err
	}
	status, err := h.access(q.R.Context(), facts, flaws)
	if !status.Allowed {
		status.Reason = explained(status.Reason, h.Journal.NotAllowed(q, facts, status.Reason, err))
	}
	return status, nil
}

// access asks whether somebody may do something, and returns why that could not
// be decided besides the answer.
func (h *Handler) access(ctx context.Context, facts *authz.Attributes, flaws []string) (authorizationv1.SubjectAccessReviewStatus, error) {
	answer, err := h.Access.Authorize(ctx, facts)
	if err != nil {
		flaws = append([]string{err.Error()}, flaws...)
	}
	return authorizationv1.SubjectAccessReviewStatus{
		Allowed:         answer.Verdict == authz.Allow,
		Denied:          answer.Verdict == authz.Deny,
		Reason:          answer.Reason(),
		EvaluationError: strings.Join(flaws, "; "),
	}, err
}

// factsOf returns what is asked about who, and what of it was ignored.
func factsOf(who *identity.Identity, resource *authorizationv1.ResourceAttributes,
	other *authorizationv1.NonResourceAttributes) (facts *authz.Attributes, flaws []string, err error) {
	facts = &authz.Attributes{User: who}
	switch {
	case resource != nil:
		return facts, resourceFacts(facts, resource), nil
	case other != nil:
		facts.Verb, facts.Path = other.Verb, other.Path
		return facts, nil, nil
	}
	return nil, nil, apierrors.NewInternalError(errors.New("review without attributes was found valid"))
}

// resourceFacts fills in facts from a, and returns what of it was ignored.
func resourceFacts(facts *authz.Attributes, a *authorizationv1.ResourceAttributes) []string {
	facts.IsResource = true
	facts.Verb, facts.Namespace, facts.Name = a.Verb, a.Namespace, a.Name
	facts.APIGroup, facts.APIVersion = a.Group, a.Version
	facts.Resource, facts.Subresource = a.Resource, a.Subresource
	if facts.APIVersion == "" {
		facts.APIVersion = "*"
	}
	var flaws []string
	ignored := func(selector, kept string) {
		how := "ignored"
		if kept != "" {
			how = "partially ignored"
		}
		flaws = append(flaws, "spec.resourceAttributes."+selector+" "+how+" due to parse error")
	}
	var ok bool
	if facts.FieldSelector, ok = fieldSelector(a.FieldSelector); !ok {
		ignored("fieldSelector", facts.FieldSelector)
	}
	if facts.LabelSelector, ok = labelSelector(a.LabelSelector); !ok {
		ignored("labelSelector", facts.LabelSelector)
	}
	return flaws
}
