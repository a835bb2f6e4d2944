// Package review says what is wrong with a question: the reviews of
// authentication.k8s.io/v1 and authorization.k8s.io/v1, which are asked and
// never stored.
//
// The one idea: an ambiguous question gets no answer. A review that asks about
// two things, or about nobody, is refused before any authorizer sees it.
//
// Some rules answer 422 with a list of fields, and some 400 with a sentence.
// That split is kube-apiserver's; here the first kind returns a
// [field.ErrorList] and the second a 400 of k8s.io/apimachinery.
//
// Source: pkg/apis/authorization/validation and, for the sentences,
// pkg/registry/{authentication,authorization}. A SelfSubjectReview has no
// fields to be wrong in.
package review

import (
	"fmt"
	"reflect"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateTokenReview returns a 400 if there is no token to look at.
func ValidateTokenReview(review *authenticationv1.TokenReview) error {
	if review.Spec.Token == "" {
		return apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	return nil
}

// ValidateSelfSubjectRulesReview returns a 400 if no namespace is named: there
// is no list of what somebody may do everywhere.
func ValidateSelfSubjectRulesReview(review *authorizationv1.SelfSubjectRulesReview) error {
	if review.Spec.Namespace == "" {
		return apierrors.NewBadRequest("no namespace on request")
	}
	return nil
}

// ValidateSubjectAccessReview returns what is wrong with a question about
// anybody.
func ValidateSubjectAccessReview(review *authorizationv1.SubjectAccessReview) field.ErrorList {
	errs := accessSpec(&review.Spec)
	return append(errs, emptyMeta(review.ObjectMeta)...)
}

// ValidateSelfSubjectAccessReview returns what is wrong with a question about
// the one who asks it.
func ValidateSelfSubjectAccessReview(review *authorizationv1.SelfSubjectAccessReview) field.ErrorList {
	errs := attributes(review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes)
	errs = append(errs, selectors(review.Spec.ResourceAttributes)...)
	return append(errs, emptyMeta(review.ObjectMeta)...)
}

// ValidateLocalSubjectAccessReview returns what is wrong with a question about
// anybody in one namespace. Its namespace must also be that of the request: see
// [ValidateLocalNamespace].
func ValidateLocalSubjectAccessReview(review *authorizationv1.LocalSubjectAccessReview) field.ErrorList {
	errs := accessSpec(&review.Spec)
	meta := review.ObjectMeta
	meta.Namespace, meta.ManagedFields = "", nil
	if !equality.Semantic.DeepEqual(meta, metav1.ObjectMeta{}) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), review.ObjectMeta, "must be empty except for namespace"))
	}
	at := field.NewPath("spec")
	if a := review.Spec.ResourceAttributes; a != nil && a.Namespace != review.Namespace {
		errs = append(errs, field.Invalid(at.Child("resourceAttributes", "namespace"), a.Namespace, "must match metadata.namespace"))
	}
	if a := review.Spec.NonResourceAttributes; a != nil {
		errs = append(errs, field.Invalid(at.Child("nonResourceAttributes"), a, "disallowed on this kind of request"))
	}
	return errs
}

// ValidateLocalNamespace returns a 400 unless review is about namespace, the
// one in the path of the request and so the one the caller was authorized for.
func ValidateLocalNamespace(review *authorizationv1.LocalSubjectAccessReview, namespace string) error {
	if namespace == "" {
		return apierrors.NewBadRequest("namespace is required on this type: ")
	}
	if namespace != review.Namespace {
		return apierrors.NewBadRequest("spec.resourceAttributes.namespace must match namespace: " + namespace)
	}
	return nil
}

func accessSpec(spec *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := attributes(spec.ResourceAttributes, spec.NonResourceAttributes)
	if spec.User == "" && len(spec.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), spec.User, "at least one of user or group must be specified"))
	}
	return append(errs, selectors(spec.ResourceAttributes)...)
}

// attributes wants exactly one of the two. The path is "spec", not that of
// either, since v1.37, where the fields became a declared union.
func attributes(resource *authorizationv1.ResourceAttributes, other *authorizationv1.NonResourceAttributes) field.ErrorList {
	if (resource == nil) != (other == nil) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec"), other,
		"exactly one of nonResourceAttributes or resourceAttributes must be specified")}
}

func emptyMeta(meta metav1.ObjectMeta) field.ErrorList {
	rest := meta
	rest.ManagedFields = nil
	// Nearly always, and told in a fraction of the time.
	if reflect.ValueOf(&rest).Elem().IsZero() || equality.Semantic.DeepEqual(rest, metav1.ObjectMeta{}) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), meta, "must be empty")}
}

// selectors lets an unknown operator pass: a newer client may know one that we
// do not, and authorizers ignore what they cannot read, which only ever makes
// the question broader.
func selectors(a *authorizationv1.ResourceAttributes) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	at := field.NewPath("spec", "resourceAttributes")
	if s := a.FieldSelector; s != nil {
		at := at.Child("fieldSelector")
		errs = append(errs, oneSelector(s.RawSelector, len(s.Requirements), at)...)
		opts := metavalidation.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
		for i, r := range s.Requirements {
			errs = append(errs, metavalidation.ValidateFieldSelectorRequirement(r, opts, at.Child("requirements").Index(i))...)
		}
	}
	if s := a.LabelSelector; s != nil {
		at := at.Child("labelSelector")
		errs = append(errs, oneSelector(s.RawSelector, len(s.Requirements), at)...)
		opts := metavalidation.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
		for i, r := range s.Requirements {
			errs = append(errs, metavalidation.ValidateLabelSelectorRequirement(r, opts, at.Child("requirements").Index(i))...)
		}
	}
	return errs
}

func oneSelector(raw string, requirements int, at *field.Path) field.ErrorList {
	switch {
	case raw != "" && requirements > 0:
		return field.ErrorList{field.Invalid(at.Child("rawSelector"), raw, "may not specified at the same time as requirements")}
	case raw == "" && requirements == 0:
		return field.ErrorList{field.Required(at.Child("requirements"),
			fmt.Sprintf("when %s is specified, requirements or rawSelector is required", at))}
	}
	return nil
}
