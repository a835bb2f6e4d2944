// Package validation says what is wrong with the metadata of an object; its
// children say what is wrong with the rest, one package for each API group.
//
// The one idea: a rule here answers with the same field path, the same type of
// error and the same words as kube-apiserver v1.37, because clients, and the
// people who read their output, depend on all three. Where we differ, the
// comment says so. Objects are the v1 types themselves; there is no internal
// form.
//
// A validation function never changes an object, asks nobody and reads no
// clock. It refuses; to fill in what was left out is the business of
// internal/api/defaults, and to overrule what a client may not choose that of
// the resource's strategy.
package validation

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateObjectMeta returns what is wrong with the metadata of an object that
// is to be created. name is the rule for the kind's names; namespaced is
// whether the kind lives in a namespace. The name must have been generated
// already, if it is to be.
//
// Source: pkg/apis/core/validation ValidateObjectMeta, which adds the rule of
// [ValidateLegacyFinalizer] to the published one.
func ValidateObjectMeta(meta *metav1.ObjectMeta, namespaced bool, name apivalidation.ValidateNameFunc) field.ErrorList {
	at := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMeta(meta, namespaced, name, at)
	return append(errs, legacyFinalizers(meta.Finalizers, at)...)
}

// ValidateObjectMetaUpdate returns what is wrong with putting the metadata
// updated in the place of old.
func ValidateObjectMetaUpdate(updated, old *metav1.ObjectMeta) field.ErrorList {
	at := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaUpdate(updated, old, at)
	return append(errs, legacyFinalizers(updated.Finalizers, at)...)
}

func legacyFinalizers(names []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range names {
		errs = append(errs, ValidateLegacyFinalizer(name, at.Child("finalizers").Index(i))...)
	}
	return errs
}

// ValidateLegacyFinalizer refuses a finalizer that has no domain and is none of
// the three that Kubernetes named before names had domains.
func ValidateLegacyFinalizer(name string, at *field.Path) field.ErrorList {
	switch name {
	case string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
		return nil
	}
	if strings.Contains(name, "/") {
		return nil
	}
	return field.ErrorList{field.Invalid(at, name, "name is neither a standard finalizer name nor is it fully qualified")}
}

// NameIsPathSegment is the rule for names that need to be nothing more than one
// segment of a URL path: those of roles and of their bindings.
func NameIsPathSegment(name string, _ bool) []string {
	return content.IsPathSegmentName(name)
}
