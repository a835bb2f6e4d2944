package policy

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// An Action is what has to be done to bring an object up to date.
type Action string

// The actions. The object to write comes with the first three of them.
const (
	// Create it: it does not exist.
	Create Action = "create"
	// Update it: it lacks something.
	Update Action = "update"
	// Recreate it: delete it and create it anew, because its roleRef is
	// another, which no update may change. Its subjects are then only the
	// expected ones.
	Recreate Action = "recreate"
	// Keep it: it lacks nothing.
	Keep Action = "keep"
	// Skip it: it lacks something, but says that it is not to be updated. This
	// is worth a line in the log.
	Skip Action = "skip"
)

// ReconcileClusterRole decides how existing becomes at least expected. Existing
// is nil if there is no such role.
//
// The object returned is a copy, nil for [Keep] and [Skip], and for [Update]
// still has the resource version that was read. This is what
// k8s.io/component-helpers/auth/rbac/reconciliation computes when it removes
// nothing.
func ReconcileClusterRole(existing, expected *rbacv1.ClusterRole) (*rbacv1.ClusterRole, Action) {
	return reconcile(existing, expected, func(wanted *rbacv1.ClusterRole) {
		wanted.Rules = addRules(wanted.Rules, expected.Rules)
		wanted.AggregationRule = addSelectors(wanted.AggregationRule, expected.AggregationRule)
	})
}

// ReconcileRole is [ReconcileClusterRole] for a Role.
func ReconcileRole(existing, expected *rbacv1.Role) (*rbacv1.Role, Action) {
	return reconcile(existing, expected, func(wanted *rbacv1.Role) {
		wanted.Rules = addRules(wanted.Rules, expected.Rules)
	})
}

// ReconcileClusterRoleBinding is [ReconcileClusterRole] for a binding, which
// may have to be recreated.
func ReconcileClusterRoleBinding(existing, expected *rbacv1.ClusterRoleBinding) (*rbacv1.ClusterRoleBinding, Action) {
	if existing != nil && existing.RoleRef != expected.RoleRef {
		return decide(existing, expected.DeepCopy(), Recreate)
	}
	return reconcile(existing, expected, func(wanted *rbacv1.ClusterRoleBinding) {
		wanted.Subjects = addSubjects(wanted.Subjects, expected.Subjects)
	})
}

// ReconcileRoleBinding is [ReconcileClusterRoleBinding] for a RoleBinding.
func ReconcileRoleBinding(existing, expected *rbacv1.RoleBinding) (*rbacv1.RoleBinding, Action) {
	if existing != nil && existing.RoleRef != expected.RoleRef {
		return decide(existing, expected.DeepCopy(), Recreate)
	}
	return reconcile(existing, expected, func(wanted *rbacv1.RoleBinding) {
		wanted.Subjects = addSubjects(wanted.Subjects, expected.Subjects)
	})
}

// reconcile is what the four have in common. Add gives a copy of the existing
// object what it lacks beside labels and annotations.
func reconcile[T any, P interface {
	*T
	object
}](existing, expected P, add func(wanted P)) (P, Action) {
	if existing == nil {
		return expected.DeepCopyObject().(P), Create
	}
	wanted := existing.DeepCopyObject().(P)
	// Those that it has with another value stay: somebody meant them.
	wanted.SetLabels(merge(wanted.GetLabels(), expected.GetLabels()))
	wanted.SetAnnotations(merge(wanted.GetAnnotations(), expected.GetAnnotations()))
	add(wanted)
	return decide(existing, wanted, Update)
}

// decide returns wanted and the action, unless there is nothing to do or the
// existing object does not allow it.
func decide[T any, P interface {
	*T
	object
}](existing, wanted P, action Action) (P, Action) {
	switch {
	case equality.Semantic.DeepEqual(existing, wanted):
		return nil, Keep
	case existing.GetAnnotations()[rbacv1.AutoUpdateAnnotationKey] == "false":
		return nil, Skip
	}
	return wanted, action
}

func merge(m, expected map[string]string) map[string]string {
	for key, value := range expected {
		if _, ok := m[key]; !ok {
			m = with(m, key, value)
		}
	}
	return m
}

// addRules adds to rules what they do not cover. A rule is covered if several
// others together grant what it does, so the wording may differ.
func addRules(rules, expected []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	_, missing := validation.Covers(rules, expected)
	return append(rules, missing...)
}

func addSubjects(subjects, expected []rbacv1.Subject) []rbacv1.Subject {
	for _, s := range expected {
		if !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// addSelectors adds to rule the selectors that it lacks. If none are expected,
// the role is not one that is aggregated, and becomes an ordinary one: as long
// as it is aggregated, the rules it is expected to have are overwritten.
func addSelectors(rule, expected *rbacv1.AggregationRule) *rbacv1.AggregationRule {
	if expected == nil {
		return nil
	}
	if rule == nil {
		return expected.DeepCopy()
	}
	for _, s := range expected.ClusterRoleSelectors {
		has := func(r metav1.LabelSelector) bool { return equality.Semantic.DeepEqual(r, s) }
		if !slices.ContainsFunc(rule.ClusterRoleSelectors, has) {
			rule.ClusterRoleSelectors = append(rule.ClusterRoleSelectors, *s.DeepCopy())
		}
	}
	return rule
}
