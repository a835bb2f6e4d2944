package core

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// updatablePodSpec is the list that kube-apiserver prints of what may change.
// The removal of scheduling gates is missing from it there, too.
const updatablePodSpec = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// ValidatePodUpdate returns what is wrong with putting updated in the place of
// old. Who a pod runs as, where, and what it mounts never changes: that it
// cannot is what makes a pod something to bind a token to.
//
// Where kube-apiserver appends a diff, which shows the values of environment
// variables to whoever reads the audit log, this names the fields that changed.
// Node affinity stays as it is even while the pod waits at a scheduling gate.
func ValidatePodUpdate(updated, old *corev1.Pod) field.ErrorList {
	at := field.NewPath("spec")
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	errs = append(errs, ValidatePod(updated)...)
	errs = append(errs, podAnnotationsUpdate(updated, old)...)

	for _, c := range []struct {
		name         string
		updated, old []corev1.Container
	}{
		{"containers", updated.Spec.Containers, old.Spec.Containers},
		{"initContainers", updated.Spec.InitContainers, old.Spec.InitContainers},
	} {
		if len(c.updated) != len(c.old) {
			return append(errs, field.Forbidden(at.Child(c.name), "pod updates may not add or remove containers"))
		}
	}
	errs = append(errs, deadlineUpdate(updated.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds, at.Child("activeDeadlineSeconds"))...)
	errs = append(errs, addedTolerations(updated.Spec.Tolerations, old.Spec.Tolerations, at.Child("tolerations"))...)
	errs = append(errs, removedGates(updated.Spec.SchedulingGates, old.Spec.SchedulingGates, at.Child("schedulingGates"))...)
	errs = append(errs, nodeSelectorUpdate(&updated.Spec, &old.Spec, at.Child("nodeSelector"))...)

	if changed := changedFields(withoutUpdatable(&updated.Spec, &old.Spec), old.Spec); len(changed) > 0 {
		errs = append(errs, field.Forbidden(at, fmt.Sprintf("pod updates may not change fields other than %s\nchanged: %s",
			updatablePodSpec, strings.Join(changed, ", "))))
	}
	return errs
}

// withoutUpdatable returns updated with everything that may change, and was
// checked on its own, as it is in old.
func withoutUpdatable(updated, old *corev1.PodSpec) corev1.PodSpec {
	spec := *updated.DeepCopy()
	for i := range spec.Containers {
		spec.Containers[i].Image = old.Containers[i].Image
	}
	for i := range spec.InitContainers {
		spec.InitContainers[i].Image = old.InitContainers[i].Image
	}
	spec.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	spec.Tolerations = old.Tolerations
	spec.SchedulingGates = old.SchedulingGates
	if len(old.SchedulingGates) > 0 {
		spec.NodeSelector = old.NodeSelector
	}
	was, is := old.TerminationGracePeriodSeconds, updated.TerminationGracePeriodSeconds
	if was != nil && *was < 0 && is != nil && *is == 1 {
		spec.TerminationGracePeriodSeconds = was
	}
	return spec
}

// changedFields returns the paths of the fields of the spec, one level deep, in
// which a and b differ.
func changedFields(a, b corev1.PodSpec) []string {
	var paths []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !equality.Semantic.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			name, _, _ := strings.Cut(va.Type().Field(i).Tag.Get("json"), ",")
			paths = append(paths, "spec."+name)
		}
	}
	return paths
}

// deadlineUpdate lets a deadline be set, and brought forward.
func deadlineUpdate(updated, old *int64, at *field.Path) field.ErrorList {
	switch {
	case updated == nil && old == nil:
		return nil
	case updated == nil:
		return field.ErrorList{field.Invalid(at, updated, "must not update from a positive integer to nil value")}
	case *updated < 0 || *updated > math.MaxInt32:
		return field.ErrorList{field.Invalid(at, *updated, utilvalidation.InclusiveRangeError(0, math.MaxInt32))}
	case old != nil && *old < *updated:
		return field.ErrorList{field.Invalid(at, *updated, "must be less than or equal to previous value")}
	}
	return nil
}

func addedTolerations(updated, old []corev1.Toleration, at *field.Path) field.ErrorList {
	for _, was := range old {
		found := false
		for _, is := range updated {
			is.TolerationSeconds = was.TolerationSeconds
			found = found || equality.Semantic.DeepEqual(is, was)
		}
		if !found {
			return field.ErrorList{field.Forbidden(at, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func removedGates(updated, old []corev1.PodSchedulingGate, at *field.Path) field.ErrorList {
	had := make(map[string]bool)
	for _, gate := range old {
		had[gate.Name] = true
	}
	var errs field.ErrorList
	for i, gate := range updated {
		if !had[gate.Name] {
			errs = append(errs, field.Forbidden(at.Index(i).Child("name"),
				fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name)))
		}
	}
	return errs
}

// nodeSelectorUpdate lets a pod that waits at a gate choose its node more
// narrowly, never differently.
func nodeSelectorUpdate(updated, old *corev1.PodSpec, at *field.Path) field.ErrorList {
	if len(old.SchedulingGates) == 0 {
		return nil
	}
	for key, was := range old.NodeSelector {
		if is, ok := updated.NodeSelector[key]; !ok || is != was {
			return field.ErrorList{field.Invalid(at, updated.NodeSelector, apivalidation.FieldImmutableErrorMsg)}
		}
	}
	return nil
}

// podAnnotationsUpdate keeps the annotations that say what a pod is: whether it
// mirrors another, and how it is confined.
func podAnnotationsUpdate(updated, old *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("metadata", "annotations")
	for key, was := range old.Annotations {
		if is, ok := updated.Annotations[key]; !ok || is != was {
			errs = append(errs, fixedAnnotation(key, "remove or update", at)...)
		}
	}
	for key := range updated.Annotations {
		if _, ok := old.Annotations[key]; !ok {
			errs = append(errs, fixedAnnotation(key, "add", at)...)
		}
	}
	return errs
}

func fixedAnnotation(key, deed string, at *field.Path) field.ErrorList {
	switch {
	case key == corev1.MirrorPodAnnotationKey:
		return field.ErrorList{field.Forbidden(at.Key(key), "may not "+deed+" mirror pod annotation")}
	case strings.HasPrefix(key, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix):
		return field.ErrorList{field.Forbidden(at.Key(key), "may not "+deed+" AppArmor annotations")}
	}
	return nil
}
