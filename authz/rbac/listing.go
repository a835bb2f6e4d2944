package rbac

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Rules returns the rules of all roles that are bound to a user, in the cluster
// and in namespace unless that is empty. They are in the order of decisions,
// each role once. The error names roles that do not exist; the rules are those
// of all others. They are shared, and must not be changed.
func (x *Index) Rules(user *identity.Identity, namespace string) ([]rbacv1.PolicyRule, error) {
	var rules []rbacv1.PolicyRule
	var lost missing
	seen := map[*role]bool{}
	for st := range x.state.Load().sets(user, namespace) {
		for _, l := range st.view.Load().links {
			if seen[l.role] {
				continue
			}
			seen[l.role] = true
			if r := l.role.rules.Load(); r != nil {
				rules = append(rules, r.source...)
			} else {
				lost = append(lost, []*role{l.role})
			}
		}
	}
	return rules, lost.err()
}

// RulesFor is [Index.Rules] in the form of a SelfSubjectRulesReview. As
// upstream, it lists paths also where a RoleBinding refers to them, which
// allows nothing.
func (x *Index) RulesFor(_ context.Context, user *identity.Identity, namespace string) (authz.Rules, error) {
	var out authz.Rules
	rules, err := x.Rules(user, namespace)
	for i := range rules {
		r := &rules[i]
		if len(r.Resources) > 0 {
			out.Resource = append(out.Resource, authz.ResourceRule{
				Verbs:         r.Verbs,
				APIGroups:     r.APIGroups,
				Resources:     r.Resources,
				ResourceNames: r.ResourceNames,
			})
		}
		if len(r.NonResourceURLs) > 0 {
			out.NonResource = append(out.NonResource, authz.NonResourceRule{
				Verbs:           r.Verbs,
				NonResourceURLs: r.NonResourceURLs,
			})
		}
	}
	return out, err
}

// RoleRules returns the rules of the role that a binding in namespace refers
// to; namespace is empty for a ClusterRoleBinding. The error for a role that
// does not exist is the NotFound of the Kubernetes API.
func (x *Index) RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	k, resource := roleKey{ref.Kind, namespace, ref.Name}, "roles"
	switch ref.Kind {
	case kindRole:
	case kindClusterRole:
		k.namespace, resource = "", "clusterroles"
	default:
		return nil, unsupportedKind(ref.Kind)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.state.Load().roles[k]; r != nil {
		if rules := r.rules.Load(); rules != nil {
			return rules.source, nil
		}
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource(resource), ref.Name)
}
