package rbac

import (
	"cmp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"gatehouse.dev/gatehouse/authz"
)

// Roles returns roles that would allow the request if they were bound to its user
// where it asks, at most so many, and those first that allow the least. It leaves
// out what nobody should be given for one request: roles that are made for a part
// of the system, and roles that allow everything. It looks at every role, and is
// for explanations only.
func (x *Index) Roles(a *authz.Attributes, most int) (roles []authz.Role, ok bool) {
	type candidate struct {
		role  *role
		width float64
	}
	p := newProbe(&x.hasher, a)
	var found []candidate
	for _, r := range x.bindable(a) {
		rules := r.rules.Load()
		if rules == nil || slices.ContainsFunc(rules.source, isEverything) || !rules.allow(&p) {
			continue
		}
		width := 0.0
		for i := range rules.source {
			width += widthOf(&rules.source[i])
		}
		found = append(found, candidate{r, width})
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.width, b.width), a.role.compare(b.role))
	})
	for _, c := range found[:min(most, len(found))] {
		roles = append(roles, authz.Role{Kind: c.role.kind, Name: c.role.name})
	}
	return roles, true
}

// bindable returns the roles that can be bound where a request asks.
func (x *Index) bindable(a *authz.Attributes) []*role {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []*role
	for key, r := range x.state.Load().roles {
		here := key.kind == kindClusterRole || a.IsResource && a.Namespace != "" && key.namespace == a.Namespace
		if here && !strings.HasPrefix(key.name, "system:") {
			all = append(all, r)
		}
	}
	return all
}

// widthOf tells about how much a rule allows. What it does not narrow counts as
// much as a thousand that it names.
func widthOf(rule *rbacv1.PolicyRule) float64 {
	const unbounded = 1000
	width := func(values []string) (n float64) {
		for _, v := range values {
			if n++; strings.Contains(v, all) {
				n += unbounded
			}
		}
		return n
	}
	names := float64(len(rule.ResourceNames)) // in which a star is but a star
	if names == 0 {
		names = unbounded
	}
	return width(rule.Verbs) * (width(rule.APIGroups)*width(rule.Resources)*names + width(rule.NonResourceURLs))
}

// isEverything reports whether a rule allows to do everything to all resources, or
// to all paths.
func isEverything(rule rbacv1.PolicyRule) bool {
	return slices.Contains(rule.Verbs, all) && (slices.Contains(rule.Resources, all) || slices.Contains(rule.NonResourceURLs, all))
}
