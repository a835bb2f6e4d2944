package authn

import (
	"hash/maphash"
	"sync/atomic"
)

// A Generation counts the changes of something that verified credentials rest
// on: a file, a set of keys, an object in the store, the list of revocations.
// Whoever changes the thing calls [Generation.Bump] after the change is in
// force; whoever remembers a verification takes a [Stamp] before it reads the
// thing. A remembered verification whose stamp is not current is forgotten.
//
// The zero value is ready to use. A Generation must not be copied.
type Generation struct{ n atomic.Uint64 }

// Bump makes every stamp taken so far stale.
func (g *Generation) Bump() { g.n.Add(1) }

// Stamp returns a stamp of the present generation.
func (g *Generation) Stamp() Stamp { return Stamp{of: g, n: g.n.Load()} }

// A Stamp is a generation as it was at one moment. The zero value is current
// forever.
type Stamp struct {
	of *Generation
	n  uint64
}

// Current reports whether the generation has not changed since.
func (s Stamp) Current() bool { return s.of == nil || s.of.n.Load() == s.n }

// stripes is how many generations [Stripes] has. Two objects that share one
// only cost a needless look at the store, so the number is chosen for its size:
// 128 KiB.
const stripes = 1 << 14

// Stripes are the generations of very many objects in a fixed space: an object
// shares its generation with those of the same hash. To bump one too many
// forgets a verification too early, and never keeps one too long.
type Stripes struct {
	seed maphash.Seed
	of   [stripes]Generation
}

// NewStripes returns stripes with a seed of their own, so that nobody outside
// can choose names that share a generation.
func NewStripes() *Stripes { return &Stripes{seed: maphash.MakeSeed()} }

// Of returns the generation of one object. Resource is the name of its kind in
// an address, such as "pods"; namespace is empty if the kind has none. Whoever
// watches, changes or deletes the object bumps it.
func (s *Stripes) Of(resource, namespace, name string) *Generation {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(resource)
	h.WriteByte(0)
	h.WriteString(namespace)
	h.WriteByte(0)
	h.WriteString(name)
	return &s.of[h.Sum64()%stripes]
}

// BumpAll bumps every generation: for a watch that has lost its place, and so
// cannot say what has changed.
func (s *Stripes) BumpAll() {
	for i := range s.of {
		s.of[i].Bump()
	}
}
