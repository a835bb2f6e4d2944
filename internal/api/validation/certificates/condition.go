package certificates

import (
	"context"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type condition = certificatesv1.CertificateSigningRequestCondition

// conditions checks the conditions of csr. What is already wrong with those of
// old stays allowed.
func conditions(csr, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	at := field.NewPath("status", "conditions")
	var before []condition
	if old != nil {
		before = old.Status.Conditions
	}
	var errs field.ErrorList
	for i := range csr.Status.Conditions {
		errs = append(errs, conditionFields(&csr.Status.Conditions[i], slices.Contains(types(before), ""), at.Index(i))...)
	}
	errs = append(errs, approvedOrDenied(csr.Status.Conditions, before, at)...)
	if !hasDuplicate(types(before)) {
		path := func(i int) *field.Path { return at.Index(i).Child("type") }
		errs = append(errs, duplicates(types(csr.Status.Conditions), path)...)
	}
	return errs
}

// conditionFields wants Approved, Denied and Failed to be True: each of them is
// a decision, and to take one back is not a decision anybody may make.
func conditionFields(c *condition, allowEmptyType bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	allowed := []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown}
	switch c.Type {
	case "":
		if !allowEmptyType {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
	case certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
		allowed = []corev1.ConditionStatus{corev1.ConditionTrue}
	}
	switch {
	case c.Status == "":
		errs = append(errs, field.Required(at.Child("status"), ""))
	case !slices.Contains(allowed, c.Status):
		errs = append(errs, field.NotSupported(at.Child("status"), c.Status, allowed))
	}
	return errs
}

// approvedOrDenied refuses a request that is both, unless it was before. The
// check is the library's, which since v1.37 writes the words of the refusal,
// from a declaration at the type.
func approvedOrDenied(list, before []condition, at *field.Path) field.ErrorList {
	op := operation.Operation{Type: operation.Create}
	if before != nil {
		op.Type = operation.Update
	}
	has := func(t certificatesv1.RequestConditionType) func([]condition) bool {
		return func(list []condition) bool { return slices.Contains(types(list), t) }
	}
	members := validate.NewUnionMembership(
		validate.NewUnionMember(`conditions[{"type": "Approved"}]`),
		validate.NewUnionMember(`conditions[{"type": "Denied"}]`))
	return validate.ZeroOrOneOfUnion(context.Background(), op, at, list, before, members,
		has(certificatesv1.CertificateApproved), has(certificatesv1.CertificateDenied))
}

func types(list []condition) []certificatesv1.RequestConditionType {
	names := make([]certificatesv1.RequestConditionType, len(list))
	for i := range list {
		names[i] = list[i].Type
	}
	return names
}

// ofType returns the conditions of list that have type t.
func ofType(list []condition, t certificatesv1.RequestConditionType) []condition {
	return slices.DeleteFunc(slices.Clone(list), func(c condition) bool { return c.Type != t })
}
