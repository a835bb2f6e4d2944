package authn

import "sync/atomic"

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
