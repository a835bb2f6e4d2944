package namespaces

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A sweep is what was found while emptying a namespace once.
type sweep struct {
	failed     []error
	remaining  map[schema.GroupVersionResource]int
	finalizers map[string]int
}

// add notes the outcome of one resource.
func (s *sweep) add(resource schema.GroupVersionResource, left Remaining, err error) {
	if err != nil {
		s.failed = append(s.failed, err)
	}
	if left.Objects == 0 {
		return
	}
	if s.remaining == nil {
		s.remaining, s.finalizers = make(map[schema.GroupVersionResource]int), make(map[string]int)
	}
	s.remaining[resource] += left.Objects
	for finalizer, n := range left.Finalizers {
		s.finalizers[finalizer] += n
	}
}

// conditions returns all conditions of a terminating namespace, in upstream's
// order and words (pkg/controller/namespace/deletion). The first two are always
// well: this server knows its resources without discovering them.
func (s *sweep) conditions() []corev1.NamespaceCondition {
	conditions := []corev1.NamespaceCondition{
		well(corev1.NamespaceDeletionDiscoveryFailure, "ResourcesDiscovered", "All resources successfully discovered"),
		well(corev1.NamespaceDeletionGVParsingFailure, "ParsedGroupVersions", "All legacy kube types successfully parsed"),
		well(corev1.NamespaceDeletionContentFailure, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
		well(corev1.NamespaceContentRemaining, "ContentRemoved", "All content successfully removed"),
		well(corev1.NamespaceFinalizersRemaining, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
	}
	if len(s.failed) > 0 {
		messages := make([]string, len(s.failed))
		for i, err := range s.failed {
			messages[i] = err.Error()
		}
		slices.Sort(messages)
		ill(&conditions[2], "ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %d remaining: %s", len(messages), strings.Join(messages, ", ")))
	}
	if len(s.remaining) > 0 {
		var texts []string
		for resource, n := range s.remaining {
			texts = append(texts, fmt.Sprintf("%s.%s has %d resource instances", resource.Resource, resource.Group, n))
		}
		slices.Sort(texts)
		ill(&conditions[3], "SomeResourcesRemain", "Some resources are remaining: "+strings.Join(texts, ", "))
	}
	if len(s.finalizers) > 0 {
		var texts []string
		for _, finalizer := range slices.Sorted(maps.Keys(s.finalizers)) {
			texts = append(texts, fmt.Sprintf("%s in %d resource instances", finalizer, s.finalizers[finalizer]))
		}
		ill(&conditions[4], "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+strings.Join(texts, ", "))
	}
	return conditions
}

// well returns a condition that nothing is wrong. These conditions name what is
// wrong, so that is False.
func well(kind corev1.NamespaceConditionType, reason, message string) corev1.NamespaceCondition {
	return corev1.NamespaceCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message}
}

// ill makes a condition say that something is wrong.
func ill(condition *corev1.NamespaceCondition, reason, message string) {
	condition.Status, condition.Reason, condition.Message = corev1.ConditionTrue, reason, message
}

// setConditions writes the conditions into the status, and reports whether that
// changed anything. Conditions of other types are left alone. Each keeps the
// time of its last transition as long as its status stays.
func setConditions(status *corev1.NamespaceStatus, conditions []corev1.NamespaceCondition, now time.Time) bool {
	changed := false
	for _, c := range conditions {
		c.LastTransitionTime = metav1.NewTime(now)
		i := slices.IndexFunc(status.Conditions, func(old corev1.NamespaceCondition) bool { return old.Type == c.Type })
		if i < 0 {
			status.Conditions = append(status.Conditions, c)
			changed = true
			continue
		}
		old := &status.Conditions[i]
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		if old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message {
			*old = c
			changed = true
		}
	}
	return changed
}
