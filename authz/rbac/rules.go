package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"gatehouse.dev/gatehouse/authz"
)

// maxAtoms is how many atoms the rules of one role are broken into at most.
// Kubernetes' edit role has about 800. A rule that does not fit is tried as a
// whole: a rule of a few kilobytes can stand for millions of atoms.
const maxAtoms = 4096

// A ruleSet is the rules of one role made ready for decisions. It never
// changes, and is shared by all bindings of the role.
type ruleSet struct {
	// source is what the rules were made of.
	source []rbacv1.PolicyRule
	atoms  table[atom, struct{}]
	uses   uses
	// whole are the rules that are not in atoms.
	whole []*rbacv1.PolicyRule
}

func compile(h *hasher, source []rbacv1.PolicyRule) *ruleSet {
	r := &ruleSet{source: source}
	for i := range source {
		rule := &source[i]
		if r.atoms.n+countAtoms(rule) > maxAtoms || hasLongPrefix(rule) {
			r.whole = append(r.whole, rule)
			continue
		}
		r.atoms.reserve(r.atoms.n + countAtoms(rule))
		r.addResources(h, rule)
		r.addPaths(h, rule)
	}
	return r
}

// countAtoms returns how many atoms rule has, or a number over maxAtoms.
func countAtoms(rule *rbacv1.PolicyRule) int {
	n := max(1, len(rule.ResourceNames))
	for _, dimension := range []int{len(rule.Resources), len(rule.APIGroups), len(rule.Verbs)} {
		// Clamped, so that the product cannot overflow.
		n = min(n, maxAtoms+1) * min(dimension, maxAtoms+1)
	}
	return n + len(rule.NonResourceURLs)*len(rule.Verbs)
}

func hasLongPrefix(rule *rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
		return strings.HasSuffix(url, all) && len(strings.TrimRight(url, all)) > longestPrefix
	})
}

func (r *ruleSet) addResources(h *hasher, rule *rbacv1.PolicyRule) {
	for _, verb := range rule.Verbs {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				a := atom{verb: verb, group: group}
				a.resource, a.child = split(resource)
				if len(rule.ResourceNames) == 0 {
					r.addAtom(h, a)
				}
				for _, name := range rule.ResourceNames {
					a.kind, a.name = oneName, name
					r.addAtom(h, a)
				}
			}
		}
	}
}

func (r *ruleSet) addPaths(h *hasher, rule *rbacv1.PolicyRule) {
	for _, verb := range rule.Verbs {
		for _, url := range rule.NonResourceURLs {
			a := atom{kind: path, verb: verb, resource: url}
			if strings.HasSuffix(url, all) {
				a.kind, a.resource = pathPrefix, strings.TrimRight(url, all)
			}
			r.addAtom(h, a)
		}
	}
}

func (r *ruleSet) addAtom(h *hasher, a atom) {
	switch a.kind {
	case anyName, oneName:
		r.uses.forms |= formsOf(&a)
	case path:
		r.uses.paths = true
	case pathPrefix:
		r.uses.prefixes |= 1 << len(a.resource)
	}
	hash := h.atom(&a)
	if !r.has(hash, &a) {
		r.atoms.add(hash, a, struct{}{})
	}
}

// formsOf returns the forms by which requests find a.
func formsOf(a *atom) uint32 {
	form := 0
	if a.verb == all {
		form |= formVerbs
	}
	if a.group == all {
		form |= formGroups
	}
	if a.kind == oneName {
		form |= formNamed
	}
	switch {
	case a.resource == all && a.child == "":
		form |= formResources
	case a.resource == all:
		// An access review may also ask for the resource "*" by name.
		return 1<<form | 1<<(form|formChild)
	}
	return 1 << form
}

// allow reports whether one of the rules allows the request.
func (r *ruleSet) allow(p *probe) bool {
	s := p.search(r.uses)
	for hash, ok := p.next(&s); ok; hash, ok = p.next(&s) {
		if r.has(hash, &p.key) {
			return true
		}
	}
	return r.allowWhole(p.attributes)
}

// has reports whether r has an atom; it has none if r is nil.
func (r *ruleSet) has(hash uint64, key *atom) bool {
	if r == nil {
		return false
	}
	_, ok := r.atoms.get(hash, key)
	return ok
}

func (r *ruleSet) allowWhole(a *authz.Attributes) bool {
	for _, rule := range r.whole {
		if ruleAllows(rule, a) {
			return true
		}
	}
	return false
}

// ruleAllows decides by one rule, as upstream's RuleAllows does for all.
func ruleAllows(rule *rbacv1.PolicyRule, a *authz.Attributes) bool {
	if !hasOrAll(rule.Verbs, a.Verb) {
		return false
	}
	if !a.IsResource {
		return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
			return url == a.Path ||
				strings.HasSuffix(url, all) && strings.HasPrefix(a.Path, strings.TrimRight(url, all))
		})
	}
	return hasOrAll(rule.APIGroups, a.APIGroup) &&
		slices.ContainsFunc(rule.Resources, func(r string) bool { return resourceMatches(r, a) }) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.Name))
}

func hasOrAll(set []string, s string) bool {
	return slices.Contains(set, all) || slices.Contains(set, s)
}

// resourceMatches allocates nothing, so it compares the halves of rule.
func resourceMatches(rule string, a *authz.Attributes) bool {
	if rule == all {
		return true
	}
	if a.Subresource == "" {
		return rule == a.Resource
	}
	parent, ok := strings.CutSuffix(rule, a.Subresource)
	if !ok {
		return false
	}
	parent, ok = strings.CutSuffix(parent, "/")
	return ok && (parent == a.Resource || parent == all)
}
