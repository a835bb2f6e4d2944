package review_test

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/validation/review"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

const notOne = `spec: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified`

func resource(a authorizationv1.ResourceAttributes) authorizationv1.SubjectAccessReviewSpec {
	return authorizationv1.SubjectAccessReviewSpec{User: "jane", ResourceAttributes: &a}
}

func TestAccessSpec(t *testing.T) {
	url := &authorizationv1.NonResourceAttributes{Path: "/x", Verb: "get"}
	for _, test := range []struct {
		name string
		spec authorizationv1.SubjectAccessReviewSpec
		want []string
	}{
		{name: "resource", spec: resource(authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"})},
		{name: "url for a group", spec: authorizationv1.SubjectAccessReviewSpec{Groups: []string{"ops"}, NonResourceAttributes: url}},
		{name: "raw selectors", spec: resource(authorizationv1.ResourceAttributes{
			FieldSelector: &authorizationv1.FieldSelectorAttributes{RawSelector: "a=b"},
			LabelSelector: &authorizationv1.LabelSelectorAttributes{RawSelector: "a=b"}})},
		{name: "operators of the future", spec: resource(authorizationv1.ResourceAttributes{
			FieldSelector: &authorizationv1.FieldSelectorAttributes{
				Requirements: []metav1.FieldSelectorRequirement{{Key: "a", Operator: "Near"}}},
			LabelSelector: &authorizationv1.LabelSelectorAttributes{
				Requirements: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}})},
		{name: "nothing", want: []string{notOne,
			`spec.user: Invalid value: "": at least one of user or group must be specified`}},
		{name: "both", spec: authorizationv1.SubjectAccessReviewSpec{User: "jane", NonResourceAttributes: url,
			ResourceAttributes: &authorizationv1.ResourceAttributes{}},
			want: []string{`spec: Invalid value: {"path":"/x","verb":"get"}: exactly one of nonResourceAttributes or resourceAttributes must be specified`}},
		{name: "two selectors in one", spec: resource(authorizationv1.ResourceAttributes{
			FieldSelector: &authorizationv1.FieldSelectorAttributes{RawSelector: "a=b",
				Requirements: []metav1.FieldSelectorRequirement{{Key: "a", Operator: "Exists"}}}}),
			want: []string{`spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: "a=b": may not specified at the same time as requirements`}},
		{name: "empty selectors", spec: resource(authorizationv1.ResourceAttributes{
			FieldSelector: &authorizationv1.FieldSelectorAttributes{}, LabelSelector: &authorizationv1.LabelSelectorAttributes{}}),
			want: []string{
				`spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required`,
				`spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required`}},
		{name: "requirement without values", spec: resource(authorizationv1.ResourceAttributes{
			FieldSelector: &authorizationv1.FieldSelectorAttributes{
				Requirements: []metav1.FieldSelectorRequirement{{Key: "a", Operator: "In"}}}}),
			want: []string{"spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			validationtest.Check(t, review.ValidateSubjectAccessReview(&authorizationv1.SubjectAccessReview{Spec: test.spec}), test.want...)
		})
	}
}

func TestSelfSubjectAccessReview(t *testing.T) {
	ask := func(a *authorizationv1.ResourceAttributes) *authorizationv1.SelfSubjectAccessReview {
		return &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: a}}
	}
	validationtest.Check(t, review.ValidateSelfSubjectAccessReview(ask(&authorizationv1.ResourceAttributes{})))
	validationtest.Check(t, review.ValidateSelfSubjectAccessReview(ask(nil)), notOne)
}

func TestMetadata(t *testing.T) {
	spec := resource(authorizationv1.ResourceAttributes{Namespace: "a"})
	managed := metav1.ObjectMeta{Namespace: "a", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}}
	local := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: managed, Spec: spec}
	validationtest.Check(t, review.ValidateLocalSubjectAccessReview(local))

	local = &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Name: "n", Namespace: "b"}, Spec: spec}
	validationtest.Check(t, review.ValidateLocalSubjectAccessReview(local),
		`metadata: Invalid value: {"name":"n","namespace":"b"}: must be empty except for namespace`,
		`spec.resourceAttributes.namespace: Invalid value: "a": must match metadata.namespace`)

	local = &authorizationv1.LocalSubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "jane", NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/x"}}}
	validationtest.Check(t, review.ValidateLocalSubjectAccessReview(local),
		`spec.nonResourceAttributes: Invalid value: {"path":"/x"}: disallowed on this kind of request`)

	wide := &authorizationv1.SubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "a"}, Spec: spec}
	validationtest.Check(t, review.ValidateSubjectAccessReview(wide),
		`metadata: Invalid value: {"namespace":"a"}: must be empty`)
	wide.ObjectMeta = metav1.ObjectMeta{ManagedFields: managed.ManagedFields}
	validationtest.Check(t, review.ValidateSubjectAccessReview(wide))
}

func TestBadRequests(t *testing.T) {
	local := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "a"}}
	token := func(s string) *authenticationv1.TokenReview {
		return &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: s}}
	}
	rules := func(namespace string) *authorizationv1.SelfSubjectRulesReview {
		return &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"token", review.ValidateTokenReview(token("x")), ""},
		{"no token", review.ValidateTokenReview(token("")), "token is required for TokenReview in authentication"},
		{"rules", review.ValidateSelfSubjectRulesReview(rules("a")), ""},
		{"rules of nowhere", review.ValidateSelfSubjectRulesReview(rules("")), "no namespace on request"},
		{"same namespace", review.ValidateLocalNamespace(local, "a"), ""},
		{"other namespace", review.ValidateLocalNamespace(local, "b"), "spec.resourceAttributes.namespace must match namespace: b"},
		{"no namespace", review.ValidateLocalNamespace(local, ""), "namespace is required on this type: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			switch {
			case test.want == "" && test.err != nil:
				t.Errorf("error = %v", test.err)
			case test.want != "" && (!apierrors.IsBadRequest(test.err) || test.err.Error() != test.want):
				t.Errorf("error = %v, want a bad request, %q", test.err, test.want)
			}
		})
	}
}
