package rbac

import (
	"slices"
	"sync/atomic"
)

// maxMerged is how many atoms all merged rules of an index may have together,
// at up to 170 bytes each. A set that would exceed it is walked: decisions are
// the same, but take longer. Without a limit, somebody who may bind roles in
// one namespace could fill the memory with a few large bindings.
const maxMerged = 2 << 20

// merged are the rules of all the roles of one set in one table, so that a
// decision costs the same for 20 roles and for 20,000.
type merged struct {
	atoms table[atom, *holders]
	uses  atomic.Pointer[uses]
	// whole are the links to roles with rules that are not in atoms.
	whole atomic.Pointer[[]*link]
	// missing are the roles that do not exist, in no order.
	missing atomic.Pointer[[]*role]
	// size is the number of atoms of all links. Writers only.
	size int
}

// holders are the links that have one atom.
type holders struct {
	best  atomic.Pointer[link]
	links []*link // sorted by role; writers only
	// room is for links, since nearly all atoms have one.
	room [1]*link
}

// merge returns the merged rules of links, which have about n atoms.
func merge(links []*link, n int) *merged {
	m := &merged{}
	m.atoms.reserve(n)
	m.uses.Store(&uses{})
	m.whole.Store(&[]*link{})
	m.missing.Store(&[]*role{})
	for _, l := range links {
		m.add(l)
	}
	return m
}

// find is set.find.
func (m *merged) find(p *probe) *grant {
	if len(*m.missing.Load()) > 0 {
		p.missing = true
	}
	var best *grant
	s := p.search(*m.uses.Load())
	for hash, ok := p.next(&s); ok; hash, ok = p.next(&s) {
		if h, ok := m.atoms.get(hash, &p.key); ok {
			best = better(best, h.best.Load())
		}
	}
	for _, l := range *m.whole.Load() {
		if rules := l.role.rules.Load(); rules != nil && rules.allowWhole(p.attributes) {
			return better(best, l)
		}
	}
	return best
}

// better returns the first of two grants of one set in the order of roles.
func better(g *grant, l *link) *grant {
	if g == nil || l.role.compare(g.binding.role) < 0 {
		return l.first.Load()
	}
	return g
}

func (m *merged) add(l *link) {
	if rules := l.role.rules.Load(); rules != nil {
		m.change(l, nil, rules)
		return
	}
	m.lose(l.role)
}

func (m *merged) remove(l *link) {
	if rules := l.role.rules.Load(); rules != nil {
		m.change(l, rules, nil)
		return
	}
	m.regain(l.role)
}

// replace follows a change of the rules of the role of l; nil is for a role
// that does not exist.
func (m *merged) replace(l *link, before, after *ruleSet) {
	if before == nil && after != nil {
		m.regain(l.role)
	}
	m.change(l, before, after)
	if before != nil && after == nil {
		m.lose(l.role)
	}
}

func (m *merged) lose(r *role) {
	missing := *m.missing.Load()
	missing = with(missing, len(missing), r)
	m.missing.Store(&missing)
}

func (m *merged) regain(r *role) {
	missing := *m.missing.Load()
	missing = without(missing, slices.Index(missing, r))
	m.missing.Store(&missing)
}

// change puts the rules after in the place of before for the role of l; either
// may be nil. What both allow is allowed at every moment in between.
func (m *merged) change(l *link, before, after *ruleSet) {
	if after != nil {
		if old := *m.uses.Load(); old.with(after.uses) != old {
			u := old.with(after.uses)
			m.uses.Store(&u)
		}
		for e := range after.atoms.all() {
			if !before.has(e.hash, &e.key) {
				m.hold(e.hash, &e.key, l)
			}
		}
	}
	m.setWhole(l, after != nil && len(after.whole) > 0)
	if before == nil {
		return
	}
	for e := range before.atoms.all() {
		if !after.has(e.hash, &e.key) {
			m.release(e.hash, &e.key, l)
		}
	}
}

func (m *merged) setWhole(l *link, wanted bool) {
	whole := *m.whole.Load()
	at, ok := slices.BinarySearchFunc(whole, l, compareLinks)
	switch {
	case wanted && !ok:
		whole = with(whole, at, l)
	case !wanted && ok:
		whole = without(whole, at)
	default:
		return
	}
	m.whole.Store(&whole)
}

func (m *merged) hold(hash uint64, key *atom, l *link) {
	m.size++
	h, ok := m.atoms.get(hash, key)
	if !ok {
		h = &holders{}
		h.links = append(h.room[:0], l)
		h.best.Store(l)
		m.atoms.add(hash, *key, h)
		return
	}
	at, _ := slices.BinarySearchFunc(h.links, l, compareLinks)
	h.links = slices.Insert(h.links, at, l)
	h.best.Store(h.links[0])
}

func (m *merged) release(hash uint64, key *atom, l *link) {
	m.size--
	h, _ := m.atoms.get(hash, key)
	if len(h.links) == 1 {
		m.atoms.remove(hash, key)
		return
	}
	at, _ := slices.BinarySearchFunc(h.links, l, compareLinks)
	h.links = slices.Delete(h.links, at, at+1)
	h.best.Store(h.links[0])
}

func compareLinks(a, b *link) int { return a.role.compare(b.role) }
