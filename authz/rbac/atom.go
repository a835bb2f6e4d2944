package rbac

import (
	"hash/maphash"
	"math/bits"
	"strings"

	"gatehouse.dev/gatehouse/authz"
)

// all stands for every verb, API group, resource, or path in a rule.
const all = "*"

// An atom is the smallest permission a rule can be broken into: one verb on
// one resource of one group, with one name or any, or on one path. A verb,
// group or resource of "*" is the wildcard, and a resource of "*" with a
// subresource is that subresource of all resources.
//
// A request asks for a handful of atoms, whatever the number of rules.
type atom struct {
	kind                         kind
	verb, group, resource, child string
	name                         string
}

type kind uint8

const (
	anyName kind = iota
	oneName
	path       // resource is a path
	pathPrefix // resource is what paths begin with
)

// The forms of the atoms of a resource, as bits. A form is one choice of what
// is a wildcard; there are 32, so a set of forms fits into as many bits.
const (
	formVerbs     = 1 << iota // all verbs
	formGroups                // all groups
	formResources             // all resources
	formChild                 // one subresource of all resources
	formNamed                 // one name
)

// allForms and formsWithoutChild are sets of forms.
const (
	allForms          = ^uint32(0)
	formsWithoutChild = uint32(0x00ff00ff)
)

// longestPrefix is the longest prefix of a path, in bytes, that is looked up;
// rules with longer ones are tried one by one. It keeps a long path from
// costing a look up per character, and lets the lengths fit into 64 bits.
const longestPrefix = 63

// uses tells which atoms are in use at all, so that wildcards nobody uses cost
// no look up.
type uses struct {
	forms    uint32 // a bit for each form
	paths    bool
	prefixes uint64 // a bit for each length of a prefix
}

func (u uses) with(v uses) uses {
	return uses{u.forms | v.forms, u.paths || v.paths, u.prefixes | v.prefixes}
}

// A hasher hashes what is looked up. The seed is random for each process,
// since names are chosen by users.
type hasher struct {
	seed       maphash.Seed
	star, none uint64
}

func newHasher() hasher {
	h := hasher{seed: maphash.MakeSeed()}
	h.star, h.none = h.text(all), h.text("")
	return h
}

func (h *hasher) text(s string) uint64 { return maphash.String(h.seed, s) }

func (h *hasher) atom(a *atom) uint64 {
	if a.kind == path || a.kind == pathPrefix {
		return mix(a.kind, h.text(a.verb), 0, h.text(a.resource), 0)
	}
	return mix(a.kind, h.text(a.verb), h.text(a.group), h.text(a.resource), h.text(a.child)) ^
		nameMix(a.kind, h.text(a.name))
}

// mix makes one hash of hashes. They are uniform already, so it is enough that
// the same text in another place is turned into another number.
func mix(k kind, verb, group, resource, child uint64) uint64 {
	return verb ^ bits.RotateLeft64(group, 13) ^ bits.RotateLeft64(resource, 26) ^
		bits.RotateLeft64(child, 39) ^ uint64(k)
}

func nameMix(k kind, name uint64) uint64 {
	if k != oneName {
		return 0
	}
	return bits.RotateLeft64(name, 52)
}

// A probe is a request made ready to be looked up in many tables.
type probe struct {
	attributes *authz.Attributes
	hasher     *hasher
	// key is the atom whose hash next returned last.
	key atom
	// missing is set when a role that might have allowed it does not exist.
	missing bool
	// forms are those that the request can match.
	forms uint32
	// resource and child are the halves of the combined resource.
	resource, child string

	verbHash, groupHash, childHash, nameHash uint64
	// resourceHash is of resource, or of the path in key.
	resourceHash uint64
	// subHash is of the subresource as asked for.
	subHash uint64
}

func newProbe(h *hasher, a *authz.Attributes) probe {
	p := probe{attributes: a, hasher: h, verbHash: h.text(a.Verb)}
	if !a.IsResource {
		return p
	}
	p.resource, p.child = a.Resource, a.Subresource
	if strings.Contains(a.Resource, "/") {
		// Only an access review can ask for this. Rules mean the two joined.
		p.resource, p.child = split(join(a.Resource, a.Subresource))
	}
	p.groupHash = h.text(a.APIGroup)
	p.resourceHash = h.text(p.resource)
	p.childHash, p.subHash = h.none, h.none
	if p.child != "" {
		p.childHash = h.text(p.child)
	}
	if a.Subresource != "" {
		p.subHash = h.text(a.Subresource)
	}
	p.nameHash = h.text(a.Name)
	p.forms = allForms
	if a.Subresource == "" {
		p.forms = formsWithoutChild
	}
	return p
}

// join joins a resource and its subresource as rules write them.
func join(resource, child string) string {
	if child == "" {
		return resource
	}
	return resource + "/" + child
}

// split is the inverse of join for the first slash that has text after it.
func split(combined string) (resource, child string) {
	before, after, _ := strings.Cut(combined, "/")
	if after == "" {
		return combined, ""
	}
	return before, after
}

// A search is the atoms that are still to be looked up for a probe.
type search struct {
	uses
	// again is for the path of before, with all verbs.
	again bool
}

// search returns the search of all atoms in use that would allow the request.
func (p *probe) search(u uses) search {
	if p.attributes.IsResource {
		return search{uses: uses{forms: u.forms & p.forms}}
	}
	return search{uses: uses{paths: u.paths, prefixes: u.prefixes}}
}

// next sets p.key to the next atom and returns its hash, or reports false if
// there is none. It is a step and not an iterator since those allocate.
func (p *probe) next(s *search) (hash uint64, ok bool) {
	switch {
	case s.forms != 0:
		form := bits.TrailingZeros32(s.forms)
		s.forms &= s.forms - 1
		return p.setForm(form), true
	case s.again:
		s.again = false
		p.key.verb = all
		return mix(p.key.kind, p.hasher.star, 0, p.resourceHash, 0), true
	case s.paths:
		s.paths, s.again = false, true
		return p.setPath(path, p.attributes.Path), true
	case s.prefixes != 0:
		n := bits.TrailingZeros64(s.prefixes)
		s.prefixes &= s.prefixes - 1
		if n > len(p.attributes.Path) {
			return 0, false
		}
		s.again = true
		return p.setPath(pathPrefix, p.attributes.Path[:n]), true
	}
	return 0, false
}

func (p *probe) setForm(form int) uint64 {
	a, k := p.attributes, &p.key
	k.verb, k.group, k.resource, k.child = a.Verb, a.APIGroup, p.resource, p.child
	verb, group, resource, child := p.verbHash, p.groupHash, p.resourceHash, p.childHash
	if form&formVerbs != 0 {
		k.verb, verb = all, p.hasher.star
	}
	if form&formGroups != 0 {
		k.group, group = all, p.hasher.star
	}
	switch {
	case form&formResources != 0:
		k.resource, resource = all, p.hasher.star
		k.child, child = "", p.hasher.none
	case form&formChild != 0:
		k.resource, resource = all, p.hasher.star
		k.child, child = a.Subresource, p.subHash
	}
	k.kind, k.name = anyName, ""
	if form&formNamed != 0 {
		k.kind, k.name = oneName, a.Name
	}
	return mix(k.kind, verb, group, resource, child) ^ nameMix(k.kind, p.nameHash)
}

func (p *probe) setPath(k kind, text string) uint64 {
	p.key = atom{kind: k, verb: p.attributes.Verb, resource: text}
	p.resourceHash = p.hasher.text(text)
	return mix(k, p.verbHash, 0, p.resourceHash, 0)
}
