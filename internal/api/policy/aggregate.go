package policy

import (
	"cmp"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Aggregate returns the rules that an aggregated role has to have: those of the
// roles among all that its selectors find, without itself, each rule once. The
// order is that of the selectors, then of the names of the roles, so that the
// same roles always give the same rules. A role that is not aggregated has the
// rules that it has.
//
// A role may aggregate one that is aggregated itself (admin, edit, view): the
// caller goes on, role by role, until none changes any more. That ends, because
// rules are never made, only passed on.
//
// It fails if a selector of the role is not valid; the role then keeps its
// rules (pkg/controller/clusterroleaggregation).
func Aggregate(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	if role.AggregationRule == nil {
		return role.Rules, nil
	}
	byName := slices.SortedFunc(slices.Values(all), func(a, b *rbacv1.ClusterRole) int {
		return cmp.Compare(a.Name, b.Name)
	})
	u := union{rules: []rbacv1.PolicyRule{}, seen: map[string]bool{}}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, fmt.Errorf("aggregating ClusterRole %q: selector %d: %w", role.Name, i, err)
		}
		for _, r := range byName {
			if r.Name != role.Name && selector.Matches(labels.Set(r.Labels)) {
				u.add(r.Rules)
			}
		}
	}
	return u.rules, nil
}

// A union is a list of rules that are all different.
type union struct {
	rules []rbacv1.PolicyRule
	seen  map[string]bool
}

// add adds copies of the rules that are not there yet. Two rules are the same
// if their lists are, in the same order; an empty list and none are the same.
func (u *union) add(rules []rbacv1.PolicyRule) {
	for i := range rules {
		r := &rules[i]
		key := fmt.Sprintf("%q %q %q %q %q", r.Verbs, r.APIGroups, r.Resources, r.ResourceNames, r.NonResourceURLs)
		if !u.seen[key] {
			u.seen[key] = true
			u.rules = append(u.rules, *r.DeepCopy())
		}
	}
}
