// Package coordination says what is wrong with the objects of
// coordination.k8s.io/v1: leases.
//
// The one idea: a lease is refused only if its numbers make no sense; who holds
// it and when is settled between those who race for it.
//
// Source: pkg/apis/coordination/validation.
package coordination

import (
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateLease returns what is wrong with a lease that is to be created.
func ValidateLease(lease *coordinationv1.Lease) field.ErrorList {
	errs := validation.ValidateObjectMeta(&lease.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	return append(errs, leaseSpec(&lease.Spec, field.NewPath("spec"))...)
}

// ValidateLeaseUpdate returns what is wrong with putting updated in the place
// of old.
func ValidateLeaseUpdate(updated, old *coordinationv1.Lease) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	return append(errs, leaseSpec(&updated.Spec, field.NewPath("spec"))...)
}

func leaseSpec(spec *coordinationv1.LeaseSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := spec.LeaseDurationSeconds; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(at.Child("leaseDurationSeconds"), *n, "must be greater than 0"))
	}
	if n := spec.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(at.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	if spec.Strategy != nil {
		errs = append(errs, strategy(*spec.Strategy, at.Child("strategy"))...)
	}
	holder := spec.PreferredHolder != nil && *spec.PreferredHolder != ""
	if holder && (spec.Strategy == nil || *spec.Strategy == "") {
		errs = append(errs, field.Forbidden(at.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}

// strategy names its field twice, "spec.strategy.strategy", as kube-apiserver
// does.
func strategy(s coordinationv1.CoordinatedLeaseStrategy, at *field.Path) field.ErrorList {
	at = at.Child("strategy")
	if !strings.Contains(string(s), "/") {
		if s == coordinationv1.OldestEmulationVersion {
			return nil
		}
		known := []coordinationv1.CoordinatedLeaseStrategy{coordinationv1.OldestEmulationVersion}
		return field.ErrorList{field.NotSupported(at, s, known)}
	}
	var errs field.ErrorList
	for _, msg := range utilvalidation.IsQualifiedName(string(s)) {
		errs = append(errs, field.Invalid(at, s, msg))
	}
	return errs
}
