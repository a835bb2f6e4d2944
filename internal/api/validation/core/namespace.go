// Package core says what is wrong with the objects of the core group, v1:
// namespaces, service accounts, secrets, config maps, pods, nodes and events.
//
// The one idea: identity rests on these objects, so what authentication and
// authorization read of them is held to the whole of upstream's rules. What
// only a kubelet or a scheduler would read of a pod, its probes, mounts,
// affinity and quantities, is stored as it comes.
//
// No error holds a value out of a secret, nor anything that was part of one.
//
// Source: pkg/apis/core/validation.
package core

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateNamespace returns what is wrong with a namespace that is to be
// created.
func ValidateNamespace(namespace *corev1.Namespace) field.ErrorList {
	errs := validation.ValidateObjectMeta(&namespace.ObjectMeta, false, apivalidation.ValidateNamespaceName)
	for _, name := range namespace.Spec.Finalizers {
		errs = append(errs, finalizer(name, field.NewPath("spec", "finalizers"))...)
	}
	return errs
}

// ValidateNamespaceUpdate returns what is wrong with putting updated in the
// place of old. Finalizers and status are not looked at: the strategy keeps
// those of old.
func ValidateNamespaceUpdate(updated, old *corev1.Namespace) field.ErrorList {
	errs := ValidateNamespace(updated)
	return append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
}

// ValidateNamespaceStatusUpdate returns what is wrong with the new status: its
// phase has to say what the deletion timestamp says. Like kube-apiserver's it
// spells the field "status.Phase".
func ValidateNamespaceStatusUpdate(updated, old *corev1.Namespace) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	at, phase := field.NewPath("status", "Phase"), updated.Status.Phase
	switch deleted := !updated.DeletionTimestamp.IsZero(); {
	case !deleted && phase != corev1.NamespaceActive:
		errs = append(errs, field.Invalid(at, phase, "may only be 'Active' if `deletionTimestamp` is empty"))
	case deleted && phase != corev1.NamespaceTerminating:
		errs = append(errs, field.Invalid(at, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"))
	}
	return errs
}

// ValidateNamespaceFinalizeUpdate returns what is wrong with the new
// finalizers, the one thing that the subresource finalize sets.
func ValidateNamespaceFinalizeUpdate(updated, old *corev1.Namespace) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	for i, name := range updated.Spec.Finalizers {
		errs = append(errs, finalizer(name, field.NewPath("spec", "finalizers").Index(i))...)
	}
	return errs
}

func finalizer(name corev1.FinalizerName, at *field.Path) field.ErrorList {
	errs := apivalidation.ValidateFinalizerName(string(name), at)
	return append(errs, validation.ValidateLegacyFinalizer(string(name), at)...)
}
