package rbac

import "gatehouse.dev/gatehouse/identity"

// WalkLimit lets tests make sets that are merged.
const WalkLimit = walkLimit

// Views returns the present states of the sets that apply to a user. A set that
// was not worked on has the same state as before.
func (x *Index) Views(user *identity.Identity, namespace string) []*view {
	var views []*view
	for s := range x.state.Load().sets(user, namespace) {
		views = append(views, s.view.Load())
	}
	return views
}

// Merged reports whether one of the sets that apply to a user is merged.
func (x *Index) Merged(user *identity.Identity, namespace string) bool {
	for _, v := range x.Views(user, namespace) {
		if v.merged != nil {
			return true
		}
	}
	return false
}

// Size returns how many objects and subjects the index holds.
func (x *Index) Size() int {
	s := x.state.Load()
	n := len(s.roles) + len(s.bindings) + s.cluster.users.n + s.cluster.groups.n
	for e := range s.namespaces.all() {
		n += 1 + e.value.users.n + e.value.groups.n
	}
	return n
}

// MergedAtoms returns what is held against the limit of merged rules.
func (x *Index) MergedAtoms() int { return x.state.Load().merged }

// LimitMerged sets how many atoms all merged rules may have.
func (x *Index) LimitMerged(n int) { x.state.Load().limit = n }
