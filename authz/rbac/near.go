package rbac

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Nearest returns rules of the caller that would allow the request if one thing
// were not different, at most so many, and bindings of his to roles that do not
// exist. It looks at every rule of the caller in every namespace, and is for
// explanations only.
func (x *Index) Nearest(a *authz.Attributes, most int) []authz.Near {
	if a.User == nil || most <= 0 {
		return nil
	}
	s := x.state.Load()
	var found []authz.Near
	for where, st := range s.everywhere(a.User) {
		for _, l := range st.view.Load().links {
			rules := l.role.rules.Load()
			if rules == nil {
				if where == "" || where == a.Namespace {
					found = append(found, l.first.Load().near(authz.ByRole, nil, l.role.name))
				}
				continue
			}
			for i := range rules.source {
				if differs, has, wants, ok := nearly(&rules.source[i], a, where); ok {
					found = append(found, l.first.Load().near(differs, has, wants))
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b authz.Near) int {
		return cmp.Or(cmp.Compare(rank(a.Differs), rank(b.Differs)), strings.Compare(a.Binding, b.Binding), strings.Compare(a.Role, b.Role))
	})
	return found[:min(most, len(found))]
}

// everywhere yields the sets of a user in all scopes, with their namespaces.
func (s *state) everywhere(user *identity.Identity) iter.Seq2[string, *set] {
	return func(yield func(string, *set) bool) {
		in := func(namespace string, sc *scope) bool {
			if found, ok := sc.users.get(s.hasher.text(user.Name), &user.Name); ok && !yield(namespace, found) {
				return false
			}
			for _, group := range user.Groups {
				if found, ok := sc.groups.get(s.hasher.text(group), &group); ok && !yield(namespace, found) {
					return false
				}
			}
			return true
		}
		if !in("", s.cluster) {
			return
		}
		for e := range s.namespaces.all() {
			if !in(e.key, e.value) {
				return
			}
		}
	}
}

// nearly reports whether a rule that is bound in a namespace, or in the cluster
// if that is empty, would allow the request but for one thing.
func nearly(rule *rbacv1.PolicyRule, a *authz.Attributes, where string) (differs authz.Dimension, has []string, wants string, ok bool) {
	n := 0
	miss := func(d authz.Dimension, ruleHas []string, requestWants string) {
		n++
		differs, has, wants = d, ruleHas, requestWants
	}
	if !hasOrAll(rule.Verbs, a.Verb) {
		miss(authz.ByVerb, rule.Verbs, a.Verb)
	}
	if !a.IsResource {
		if len(rule.NonResourceURLs) == 0 {
			return "", nil, "", false
		}
		if !ruleAllows(&rbacv1.PolicyRule{Verbs: []string{all}, NonResourceURLs: rule.NonResourceURLs}, a) {
			miss(authz.ByPath, rule.NonResourceURLs, a.Path)
		}
		if where != "" {
			// Upstream ignores paths in what is bound in a namespace.
			miss(authz.ByNamespace, []string{where}, "a ClusterRoleBinding")
		}
		return differs, has, wants, n == 1
	}
	if len(rule.Resources) == 0 {
		return "", nil, "", false
	}
	if !hasOrAll(rule.APIGroups, a.APIGroup) {
		miss(authz.ByGroup, rule.APIGroups, a.APIGroup)
	}
	if !slices.ContainsFunc(rule.Resources, func(r string) bool { return resourceMatches(r, a) }) {
		d := authz.ByResource
		if slices.ContainsFunc(rule.Resources, func(r string) bool { parent, _ := split(r); return parent == a.Resource }) {
			d = authz.BySubresource
		}
		miss(d, rule.Resources, join(a.Resource, a.Subresource))
	}
	if len(rule.ResourceNames) > 0 && !slices.Contains(rule.ResourceNames, a.Name) {
		miss(authz.ByName, rule.ResourceNames, a.Name)
	}
	if where != "" && where != a.Namespace {
		miss(authz.ByNamespace, []string{where}, a.Namespace)
	}
	return differs, has, wants, n == 1
}

// rank orders dimensions, the likeliest first. A difference in the resource
// alone is hardly ever a slip.
func rank(d authz.Dimension) int {
	return slices.Index([]authz.Dimension{
		authz.ByRole, authz.ByName, authz.BySubresource, authz.ByVerb, authz.ByNamespace, authz.ByGroup, authz.ByPath, authz.ByResource,
	}, d)
}

// near is what g gives, and what is different.
func (g *grant) near(differs authz.Dimension, has []string, wants string) authz.Near {
	b, s := g.binding, &g.binding.subjects[g.subject]
	n := authz.Near{
		Binding: fmt.Sprintf("ClusterRoleBinding %q", b.name), Role: fmt.Sprintf("%s %q", b.role.kind, b.role.name),
		Subject: fmt.Sprintf("%s %q", s.Kind, s.Name), Differs: differs, Has: has, Wants: wants,
	}
	if b.namespace != "" {
		n.Binding = fmt.Sprintf("RoleBinding %q in namespace %q", b.name, b.namespace)
	}
	if s.Kind == rbacv1.ServiceAccountKind {
		n.Subject += fmt.Sprintf(" in namespace %q", cmp.Or(s.Namespace, b.namespace))
	}
	return n
}
