package core

import (
	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidatePodStatusUpdate returns what is wrong with the new status, which the
// kubelet writes. The paths "metadata.conditions" and "status.nodeName" are
// kube-apiserver's.
func ValidatePodStatusUpdate(updated, old *corev1.Pod) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	errs = append(errs, podAnnotationsUpdate(updated, old)...)
	errs = append(errs, mirrorPod(updated)...)
	for i, condition := range updated.Status.Conditions {
		at := field.NewPath("metadata", "conditions").Index(i).Child("Condition")
		for _, msg := range utilvalidation.IsQualifiedName(string(condition.Type)) {
			errs = append(errs, field.Invalid(at, string(condition.Type), msg))
		}
	}
	at := field.NewPath("status")
	if updated.Spec.NodeName != old.Spec.NodeName {
		errs = append(errs, field.Forbidden(at.Child("nodeName"), "may not be changed directly"))
	}
	if name := updated.Status.NominatedNodeName; name != "" && name != old.Status.NominatedNodeName {
		for _, msg := range utilvalidation.IsDNS1123Subdomain(name) {
			errs = append(errs, field.Invalid(at.Child("nominatedNodeName"), name, msg))
		}
	}
	return append(errs, stateTransitions(&updated.Status, old, at)...)
}

// stateTransitions refuses to bring a container back to life that its restart
// policy lets rest. Ephemeral containers are never restarted.
func stateTransitions(updated *corev1.PodStatus, old *corev1.Pod, at *field.Path) field.ErrorList {
	policies := restartPolicies(&old.Spec)
	errs := resurrected(updated.ContainerStatuses, old.Status.ContainerStatuses, policies, at.Child("containerStatuses"))
	errs = append(errs, resurrected(updated.InitContainerStatuses, old.Status.InitContainerStatuses,
		policies, at.Child("initContainerStatuses"))...)
	return append(errs, resurrected(updated.EphemeralContainerStatuses, old.Status.EphemeralContainerStatuses,
		nil, at.Child("ephemeralContainerStatuses"))...)
}

// restartPolicies returns the policy of each container by name: its own, if it
// has one, or else the pod's. One with rules may be restarted after any end.
func restartPolicies(spec *corev1.PodSpec) map[string]corev1.RestartPolicy {
	policies := make(map[string]corev1.RestartPolicy)
	for _, list := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for _, c := range list {
			policies[c.Name] = spec.RestartPolicy
			if c.RestartPolicy != nil {
				policies[c.Name] = corev1.RestartPolicy(*c.RestartPolicy)
			}
			if len(c.RestartPolicyRules) > 0 {
				policies[c.Name] = corev1.RestartPolicyAlways
			}
		}
	}
	return policies
}

// resurrected takes a container without a policy for one that is never
// restarted.
func resurrected(updated, old []corev1.ContainerStatus, policies map[string]corev1.RestartPolicy, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, was := range old {
		ended, policy := was.State.Terminated, policies[was.Name]
		if ended == nil || policy == corev1.RestartPolicyAlways ||
			(policy == corev1.RestartPolicyOnFailure && ended.ExitCode != 0) {
			continue
		}
		for _, is := range updated {
			if is.Name == was.Name && is.State.Terminated == nil {
				errs = append(errs, field.Forbidden(at.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
		}
	}
	return errs
}
