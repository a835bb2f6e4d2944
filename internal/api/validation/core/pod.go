package core

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidatePod returns what is wrong with a pod that is to be created: in its
// metadata, in who it runs as and where, and in the names by which its parts
// refer to each other.
func ValidatePod(pod *corev1.Pod) field.ErrorList {
	errs := validation.ValidateObjectMeta(&pod.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	errs = append(errs, mirrorPod(pod)...)
	return append(errs, podSpec(&pod.Spec, field.NewPath("spec"))...)
}

// mirrorPod refuses a mirror pod without a node: it mirrors what one node runs
// without having been told, and so belongs to that node.
func mirrorPod(pod *corev1.Pod) field.ErrorList {
	value, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	if !ok || pod.Spec.NodeName != "" {
		return nil
	}
	at := field.NewPath("metadata", "annotations").Key(corev1.MirrorPodAnnotationKey)
	return field.ErrorList{field.Invalid(at, value, "must set spec.nodeName if mirror pod annotation is set")}
}

func podSpec(spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	errs := volumes(spec.Volumes, at.Child("volumes"))
	errs = append(errs, allContainers(spec, at)...)
	errs = append(errs, required(spec.RestartPolicy, at.Child("restartPolicy"),
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, required(spec.DNSPolicy, at.Child("dnsPolicy"),
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	errs = append(errs, metavalidation.ValidateLabels(spec.NodeSelector, at.Child("nodeSelector"))...)

	for _, name := range []struct {
		field, value string
		rule         func(string) []string
	}{
		{"serviceAccountName", spec.ServiceAccountName, utilvalidation.IsDNS1123Subdomain},
		{"nodeName", spec.NodeName, utilvalidation.IsDNS1123Subdomain},
		{"hostname", spec.Hostname, utilvalidation.IsDNS1123Label},
		{"subdomain", spec.Subdomain, utilvalidation.IsDNS1123Label},
		{"priorityClassName", spec.PriorityClassName, utilvalidation.IsDNS1123Subdomain},
	} {
		if name.value == "" {
			continue
		}
		for _, msg := range name.rule(name.value) {
			errs = append(errs, field.Invalid(at.Child(name.field), name.value, msg))
		}
	}
	if n := spec.ActiveDeadlineSeconds; n != nil && (*n < 1 || *n > math.MaxInt32) {
		errs = append(errs, field.Invalid(at.Child("activeDeadlineSeconds"), *n, utilvalidation.InclusiveRangeError(1, math.MaxInt32)))
	}
	return errs
}

// allContainers checks the containers of all three kinds. They share one set of
// names: logs, exec and statuses go by name alone.
func allContainers(spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := make(map[string]bool)
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(at.Child("containers"), ""))
	}
	for i := range spec.Containers {
		errs = append(errs, container(&spec.Containers[i], seen, at.Child("containers").Index(i))...)
	}
	for i := range spec.InitContainers {
		errs = append(errs, container(&spec.InitContainers[i], seen, at.Child("initContainers").Index(i))...)
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		errs = append(errs, container(&c, seen, at.Child("ephemeralContainers").Index(i))...)
	}
	return errs
}

func container(c *corev1.Container, seen map[string]bool, at *field.Path) field.ErrorList {
	errs := uniqueName(c.Name, seen, at.Child("name"))
	switch {
	case c.Image == "":
		errs = append(errs, field.Required(at.Child("image"), ""))
	case strings.TrimSpace(c.Image) != c.Image:
		errs = append(errs, field.Invalid(at.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, required(c.TerminationMessagePolicy, at.Child("terminationMessagePolicy"),
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	return append(errs, required(c.ImagePullPolicy, at.Child("imagePullPolicy"),
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
}

// uniqueName wants a DNS label that is not in seen, and puts it there.
func uniqueName(name string, seen map[string]bool, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	for _, msg := range utilvalidation.IsDNS1123Label(name) {
		errs = append(errs, field.Invalid(at, name, msg))
	}
	if seen[name] {
		errs = append(errs, field.Duplicate(at, name))
	}
	seen[name] = true
	return errs
}
