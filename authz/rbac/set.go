package rbac

import (
	"slices"
	"strings"
	"sync/atomic"

	rbacv1 "k8s.io/api/rbac/v1"
)

// walkLimit is how many roles of one subject in one scope are tried one after
// the other, at some 20 ns each. With more, their rules are merged.
const walkLimit = 16

// A scope is what is bound in the whole cluster or in one namespace. Service
// accounts are among the users, under their user names.
type scope struct {
	users, groups table[string, *set]
}

// A set is the roles of one subject in one scope.
type set struct {
	view atomic.Pointer[view]
}

// A view is one state of a set.
type view struct {
	// links are sorted by role.
	links []*link
	// merged has the rules of all links, or is nil if they are to be walked.
	merged *merged
}

// A link is the grants of one role to one subject in one scope.
type link struct {
	role *role
	set  *set
	// first is the grant that decisions are put down to. It stays when the
	// last grant goes, because then the link goes: readers who still see it
	// decide as of just before, and never find less than that.
	first atomic.Pointer[grant]
	// grants are sorted by the names of their bindings. Writers only.
	grants []*grant
	// place is the index in role.links. Writers only.
	place int
}

// A role is a Role or ClusterRole that exists or that a binding refers to.
type role struct {
	kind, namespace, name string
	// rules is nil if the role does not exist.
	rules atomic.Pointer[ruleSet]
	// links are in no order, and bindings is the number of all that refer to
	// the role. Writers only.
	links    []*link
	bindings int
}

// compare orders roles of one scope: cluster roles, then roles, by name.
func (r *role) compare(other *role) int {
	if c := strings.Compare(r.kind, other.kind); c != 0 {
		return c
	}
	return strings.Compare(r.name, other.name)
}

// A binding is a RoleBinding, or a ClusterRoleBinding if namespace is empty.
type binding struct {
	namespace, name string
	role            *role
	subjects        []rbacv1.Subject
	grants          []grant
}

// A grant is that a binding gives its role to one of its subjects.
type grant struct {
	binding *binding
	link    *link
	subject int32 // index in binding.subjects
}

// find returns the grant that allows the request, or nil. Among several it
// takes the one whose role, and then whose binding, is first. It sets p.missing
// if a role does not exist.
func (s *set) find(p *probe) *grant {
	v := s.view.Load()
	if v.merged != nil {
		return v.merged.find(p)
	}
	for _, l := range v.links {
		rules := l.role.rules.Load()
		if rules == nil {
			p.missing = true
			continue
		}
		if rules.allow(p) {
			return l.first.Load()
		}
	}
	return nil
}

// missing returns the roles of the set that do not exist.
func (s *set) missing() []*role {
	v := s.view.Load()
	if v.merged != nil {
		return *v.merged.missing.Load()
	}
	var missing []*role
	for _, l := range v.links {
		if l.role.rules.Load() == nil {
			missing = append(missing, l.role)
		}
	}
	return missing
}

// add adds g to the link, in the place of a grant by a binding of the same
// name, but not of an earlier subject of the same binding.
func (l *link) add(g *grant) {
	at, ok := slices.BinarySearchFunc(l.grants, g, compareGrants)
	switch {
	case ok && l.grants[at].binding == g.binding:
		return
	case ok:
		l.grants[at] = g
	default:
		l.grants = slices.Insert(l.grants, at, g)
	}
	l.first.Store(l.grants[0])
}

// remove removes g, unless another grant has taken its place.
func (l *link) remove(g *grant) {
	at, ok := slices.BinarySearchFunc(l.grants, g, compareGrants)
	if !ok || l.grants[at] != g {
		return
	}
	l.grants = slices.Delete(l.grants, at, at+1)
	if len(l.grants) > 0 {
		l.first.Store(l.grants[0])
	}
}

func compareGrants(a, b *grant) int {
	return strings.Compare(a.binding.name, b.binding.name)
}

// with returns s with x inserted, and leaves s as readers see it: at the end,
// x goes into spare room beyond what they look at.
func with[T any](s []T, at int, x T) []T {
	if at == len(s) {
		return append(s, x)
	}
	out := make([]T, 0, len(s)+len(s)/4+1)
	return append(append(append(out, s[:at]...), x), s[at:]...)
}

// without returns a copy of s that lacks the element at the index.
func without[T any](s []T, at int) []T {
	out := make([]T, 0, len(s)-1)
	return append(append(out, s[:at]...), s[at+1:]...)
}
