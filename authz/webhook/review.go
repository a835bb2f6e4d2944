package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	authorizationv1 "k8s.io/api/authorization/v1"
	authorizationv1beta1 "k8s.io/api/authorization/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	kjson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/authz"
)

const (
	group = "authorization.k8s.io/"
	kind  = "SubjectAccessReview"
	// maxReason is how much of a webhook's reason is told, in bytes.
	maxReason = 4 << 10
)

// spec returns the question as Kubernetes writes it.
func spec(a *authz.Attributes) *authorizationv1.SubjectAccessReviewSpec {
	s := &authorizationv1.SubjectAccessReviewSpec{}
	if u := a.User; u != nil {
		s.User, s.UID, s.Groups = u.Name, u.UID, u.Groups
		if u.Extra != nil {
			s.Extra = make(map[string]authorizationv1.ExtraValue, len(u.Extra))
			for name, values := range u.Extra {
				s.Extra[name] = values
			}
		}
	}
	if !a.IsResource {
		s.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: a.Path, Verb: a.Verb}
		return s
	}
	s.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: a.Namespace, Verb: a.Verb, Group: a.APIGroup, Version: a.APIVersion,
		Resource: a.Resource, Subresource: a.Subresource, Name: a.Name,
		FieldSelector: fieldSelector(a.FieldSelector), LabelSelector: labelSelector(a.LabelSelector),
	}
	return s
}

// fieldSelector returns what of a selector can be told. What is left out only
// makes the question broader.
func fieldSelector(raw string) *authorizationv1.FieldSelectorAttributes {
	selector, err := fields.ParseSelector(raw)
	if raw == "" || err != nil {
		return nil
	}
	var told []metav1.FieldSelectorRequirement
	for _, r := range selector.Requirements() {
		operator := metav1.FieldSelectorOpIn
		switch r.Operator {
		case selection.Equals, selection.DoubleEquals, selection.In:
		case selection.NotEquals, selection.NotIn:
			operator = metav1.FieldSelectorOpNotIn
		default:
			continue
		}
		told = append(told, metav1.FieldSelectorRequirement{Key: r.Field, Operator: operator, Values: []string{r.Value}})
	}
	if len(told) == 0 {
		return nil
	}
	return &authorizationv1.FieldSelectorAttributes{Requirements: told}
}

// labelSelector is fieldSelector for labels.
func labelSelector(raw string) *authorizationv1.LabelSelectorAttributes {
	selector, err := labels.Parse(raw)
	if raw == "" || err != nil {
		return nil
	}
	requirements, _ := selector.Requirements()
	var told []metav1.LabelSelectorRequirement
	for _, r := range requirements {
		one := metav1.LabelSelectorRequirement{Key: r.Key(), Values: r.ValuesUnsorted()}
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			one.Operator = metav1.LabelSelectorOpIn
		case selection.NotEquals, selection.NotIn:
			one.Operator = metav1.LabelSelectorOpNotIn
		case selection.Exists:
			one.Operator = metav1.LabelSelectorOpExists
		case selection.DoesNotExist:
			one.Operator = metav1.LabelSelectorOpDoesNotExist
		default:
			continue
		}
		told = append(told, one)
	}
	if len(told) == 0 {
		return nil
	}
	return &authorizationv1.LabelSelectorAttributes{Requirements: told}
}

// review returns the question as it is sent.
func review(version string, s *authorizationv1.SubjectAccessReviewSpec) []byte {
	is := metav1.TypeMeta{Kind: kind, APIVersion: group + version}
	var question any = &authorizationv1.SubjectAccessReview{TypeMeta: is, Spec: *s}
	if version == "v1beta1" {
		question = &authorizationv1beta1.SubjectAccessReview{TypeMeta: is, Spec: older(s)}
	}
	text, err := json.Marshal(question)
	if err != nil {
		panic(err) // texts and lists of texts are always encoded
	}
	return text
}

// older returns the question in the version v1beta1.
func older(s *authorizationv1.SubjectAccessReviewSpec) authorizationv1beta1.SubjectAccessReviewSpec {
	old := authorizationv1beta1.SubjectAccessReviewSpec{User: s.User, UID: s.UID, Groups: s.Groups}
	if s.Extra != nil {
		old.Extra = make(map[string]authorizationv1beta1.ExtraValue, len(s.Extra))
		for name, values := range s.Extra {
			old.Extra[name] = authorizationv1beta1.ExtraValue(values)
		}
	}
	if a := s.NonResourceAttributes; a != nil {
		old.NonResourceAttributes = &authorizationv1beta1.NonResourceAttributes{Path: a.Path, Verb: a.Verb}
	}
	if a := s.ResourceAttributes; a != nil {
		old.ResourceAttributes = &authorizationv1beta1.ResourceAttributes{
			Namespace: a.Namespace, Verb: a.Verb, Group: a.Group, Version: a.Version, Resource: a.Resource,
			Subresource: a.Subresource, Name: a.Name, FieldSelector: a.FieldSelector, LabelSelector: a.LabelSelector,
		}
	}
	return old
}

// parse reads an answer. As in Kubernetes, it may leave out what it is, and may
// have members that we do not know.
func parse(text []byte, version string) (*answer, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("its answer is not UTF-8")
	}
	review, strict, err := decode(text, version)
	switch {
	case err != nil:
		// What was wrong may repeat what is in the answer, and that is not ours
		// to tell.
		return nil, errors.New("its answer is no JSON object with the members of a SubjectAccessReview")
	case len(strict) > 0:
		return nil, errors.New("its answer has a member twice")
	case review.Kind != "" && review.Kind != kind || review.APIVersion != "" && review.APIVersion != group+version:
		return nil, fmt.Errorf("its answer is a %.80q of %.80q, not a %q of %q", review.Kind, review.APIVersion, kind, group+version)
	}
	s, said := review.Status, &answer{}
	if reason := readable(s.Reason); reason != "" {
		said.Why = authz.Text(reason)
	}
	switch {
	case s.Denied && s.Allowed:
		said.Verdict, said.err = authz.Deny, errors.New("webhook subject access review returned both allow and deny response")
	case s.Denied:
		said.Verdict = authz.Deny
	case s.Allowed:
		said.Verdict = authz.Allow
	}
	return said, nil
}

// decode reads an answer as one of version. All of it has to have the right form,
// also what nobody looks at.
func decode(text []byte, version string) (review authorizationv1.SubjectAccessReview, strict []error, err error) {
	if version == "v1" {
		strict, err = kjson.UnmarshalStrict(text, &review, kjson.DisallowDuplicateFields)
		return review, strict, err
	}
	var old authorizationv1beta1.SubjectAccessReview
	strict, err = kjson.UnmarshalStrict(text, &old, kjson.DisallowDuplicateFields)
	review.TypeMeta, review.Status = old.TypeMeta, authorizationv1.SubjectAccessReviewStatus{
		Allowed: old.Status.Allowed, Denied: old.Status.Denied, Reason: old.Status.Reason,
	}
	return review, strict, err
}

// readable returns a reason without what would move the cursor of who reads it,
// and not longer than is read.
func readable(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, reason)
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "..."
	}
	return reason
}
