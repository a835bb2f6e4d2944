package rbac

import (
	"iter"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"gatehouse.dev/gatehouse/identity"
)

// Kinds of roles that bindings refer to.
const (
	kindRole        = "Role"
	kindClusterRole = "ClusterRole"
)

// A state is the contents of an [Index].
type state struct {
	hasher     *hasher
	cluster    *scope
	namespaces table[string, *scope]

	// The rest is for writers only.
	roles    map[roleKey]*role
	bindings map[bindingKey]*binding
	// merged is the number of atoms in all merged sets, at most limit.
	merged, limit int
}

type roleKey struct{ kind, namespace, name string }

// bindingKey has no namespace if it is of a ClusterRoleBinding.
type bindingKey struct{ namespace, name string }

func newState(h *hasher) *state {
	return &state{
		hasher:   h,
		cluster:  &scope{},
		roles:    map[roleKey]*role{},
		bindings: map[bindingKey]*binding{},
		limit:    maxMerged,
	}
}

// namespace returns the scope of a namespace, or nil if nothing is bound there.
func (s *state) namespace(name string) *scope {
	if name == "" {
		return nil
	}
	sc, _ := s.namespaces.get(s.hasher.text(name), &name)
	return sc
}

// sets yields the sets that apply to a user, in the order of decisions.
func (s *state) sets(user *identity.Identity, namespace string) iter.Seq[*set] {
	return func(yield func(*set) bool) {
		for _, sc := range []*scope{s.cluster, s.namespace(namespace)} {
			if sc == nil {
				continue
			}
			found, ok := sc.users.get(s.hasher.text(user.Name), &user.Name)
			if ok && !yield(found) {
				return
			}
			for _, group := range user.Groups {
				found, ok := sc.groups.get(s.hasher.text(group), &group)
				if ok && !yield(found) {
					return
				}
			}
		}
	}
}

// role returns the role of that key, and makes it if nobody knew of it.
func (s *state) role(k roleKey) *role {
	r := s.roles[k]
	if r == nil {
		r = &role{kind: k.kind, namespace: k.namespace, name: k.name}
		s.roles[k] = r
	}
	return r
}

// setRole changes the rules of a role; nil deletes it.
func (s *state) setRole(k roleKey, after *ruleSet) {
	r := s.role(k)
	before := r.rules.Load()
	r.rules.Store(after)
	// Sets that are walked see the new rules already.
	for _, l := range r.links {
		if m := l.set.view.Load().merged; m != nil {
			s.merged -= m.size
			m.replace(l, before, after)
			s.merged += m.size
			s.arrange(l.set)
		}
	}
	s.forget(r)
}

// forget drops a role that does not exist and that no binding refers to.
func (s *state) forget(r *role) {
	if r.rules.Load() == nil && r.bindings == 0 {
		delete(s.roles, roleKey{r.kind, r.namespace, r.name})
	}
}

// binding returns a binding that is not in force yet, but that its role counts
// already. The caller passes it to setBinding.
func (s *state) binding(namespace, name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) *binding {
	k := roleKey{ref.Kind, namespace, ref.Name}
	if ref.Kind == kindClusterRole {
		k.namespace = ""
	}
	r := s.role(k)
	r.bindings++
	return &binding{namespace: namespace, name: name, role: r, subjects: subjects}
}

// setBinding puts b in the place of the binding of the same name, if any. What
// both grant is granted at every moment in between.
func (s *state) setBinding(b *binding) {
	k := bindingKey{b.namespace, b.name}
	old := s.bindings[k]
	if old != nil && old.role == b.role && slices.Equal(old.subjects, b.subjects) {
		b.role.bindings--
		return
	}
	s.bindings[k] = b
	b.grants = make([]grant, 0, len(b.subjects))
	for i := range b.subjects {
		if table, name := s.subjects(b, i); table != nil {
			b.grants = append(b.grants, grant{binding: b, subject: int32(i)})
			s.grant(table, name, &b.grants[len(b.grants)-1])
		}
	}
	if old != nil {
		s.revoke(old)
	}
}

func (s *state) deleteBinding(k bindingKey) {
	if b := s.bindings[k]; b != nil {
		delete(s.bindings, k)
		s.revoke(b)
	}
}

// subjects returns where the set of a subject of b is or belongs, and under
// which name. The table is nil for a subject that no user can match: one of
// unknown kind, or a service account without a namespace.
func (s *state) subjects(b *binding, i int) (*table[string, *set], string) {
	subject := &b.subjects[i]
	switch subject.Kind {
	case rbacv1.UserKind:
		return &s.scope(b.namespace).users, subject.Name
	case rbacv1.GroupKind:
		return &s.scope(b.namespace).groups, subject.Name
	case rbacv1.ServiceAccountKind:
		namespace := subject.Namespace
		if namespace == "" {
			namespace = b.namespace
		}
		if namespace == "" {
			return nil, ""
		}
		name := identity.ServiceAccountPrefix + namespace + ":" + subject.Name
		return &s.scope(b.namespace).users, name
	}
	return nil, ""
}

// scope returns the scope of a namespace, and makes it if there is none.
func (s *state) scope(namespace string) *scope {
	if namespace == "" {
		return s.cluster
	}
	sc := s.namespace(namespace)
	if sc == nil {
		sc = &scope{}
		s.namespaces.add(s.hasher.text(namespace), namespace, sc)
	}
	return sc
}

// grant puts g into force for the subject of that name.
func (s *state) grant(t *table[string, *set], name string, g *grant) {
	hash := s.hasher.text(name)
	found, known := t.get(hash, &name)
	if !known {
		found = &set{}
		found.view.Store(&view{})
	}
	s.link(found, g)
	if !known {
		t.add(hash, name, found)
	}
}

// link adds g to the link of a set to the role of g. A link is complete before
// readers see it.
func (s *state) link(st *set, g *grant) {
	v, r := st.view.Load(), g.binding.role
	l := &link{role: r, set: st, place: len(r.links)}
	at, linked := slices.BinarySearchFunc(v.links, l, compareLinks)
	if linked {
		l = v.links[at]
	}
	g.link = l
	l.add(g)
	if linked {
		return
	}
	r.links = append(r.links, l)
	if m := v.merged; m != nil {
		s.merged -= m.size
		m.add(l)
		s.merged += m.size
	}
	st.view.Store(&view{with(v.links, at, l), v.merged})
	s.arrange(st)
}

// arrange merges the rules of a set or takes them apart again, as the number of
// its roles and the memory in use want it.
func (s *state) arrange(st *set) {
	v := st.view.Load()
	switch {
	case v.merged == nil && len(v.links) > walkLimit:
		if n := countAll(v.links); s.merged+n <= s.limit {
			s.merged += n
			st.view.Store(&view{v.links, merge(v.links, n)})
		}
	case v.merged != nil && (len(v.links) <= walkLimit/2 || s.merged > s.limit):
		s.merged -= v.merged.size
		st.view.Store(&view{v.links, nil})
	}
}

// countAll returns the number of atoms of all links.
func countAll(links []*link) int {
	n := 0
	for _, l := range links {
		if rules := l.role.rules.Load(); rules != nil {
			n += rules.atoms.n
		}
	}
	return n
}

// revoke takes all grants of b out of force that no other binding has taken
// the place of, and drops what nothing refers to any more.
func (s *state) revoke(b *binding) {
	for i := range b.grants {
		l := b.grants[i].link
		l.remove(&b.grants[i])
		if len(l.grants) == 0 {
			s.unlink(l, b, int(b.grants[i].subject))
		}
	}
	b.role.bindings--
	s.forget(b.role)
}

// unlink removes a link that has no grants left, the last being that of b to
// the subject. Twice does no harm: b may name a subject twice.
func (s *state) unlink(l *link, b *binding, subject int) {
	v, r := l.set.view.Load(), l.role
	at, linked := slices.BinarySearchFunc(v.links, l, compareLinks)
	if !linked || v.links[at] != l {
		return
	}
	last := len(r.links) - 1
	r.links[l.place] = r.links[last]
	r.links[l.place].place = l.place
	r.links[last] = nil
	r.links = r.links[:last]

	if m := v.merged; m != nil {
		s.merged -= m.size
		m.remove(l)
		s.merged += m.size
	}
	l.set.view.Store(&view{without(v.links, at), v.merged})
	s.arrange(l.set)
	if len(v.links) == 1 {
		s.dropSet(b, subject)
	}
}

// dropSet drops the empty set of a subject of b, and its scope if that is
// empty too.
func (s *state) dropSet(b *binding, subject int) {
	table, name := s.subjects(b, subject)
	table.remove(s.hasher.text(name), &name)
	sc := s.scope(b.namespace)
	if b.namespace != "" && sc.users.n+sc.groups.n == 0 {
		s.namespaces.remove(s.hasher.text(b.namespace), &b.namespace)
	}
}
