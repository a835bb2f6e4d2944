package core

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateServiceAccount returns what is wrong with a service account that is
// to be created.
func ValidateServiceAccount(account *corev1.ServiceAccount) field.ErrorList {
	return validation.ValidateObjectMeta(&account.ObjectMeta, true, apivalidation.ValidateServiceAccountName)
}

// ValidateServiceAccountUpdate returns what is wrong with putting updated in
// the place of old.
func ValidateServiceAccountUpdate(updated, old *corev1.ServiceAccount) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	return append(errs, ValidateServiceAccount(updated)...)
}
