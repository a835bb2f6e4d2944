package turns

import (
	"net/netip"
	"sync"
)

// A Crowd counts who waits, by peer, where waiting itself has to be bounded. It
// keeps nothing of a peer that does not. Use [NewCrowd].
type Crowd struct {
	each, all int

	mu    sync.Mutex // guards what follows
	by    map[netip.Addr]int
	total int
}

// NewCrowd returns a crowd with room for each of one peer and for all together. A
// peer that has none there is let in beyond that, so that others cannot keep it
// out.
func NewCrowd(each, all int) *Crowd {
	return &Crowd{each: each, all: all, by: map[netip.Addr]int{}}
}

// Join reports whether there is room for one more of the peer, who is counted
// then and has to leave.
func (c *Crowd) Join(peer netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.by[peer]
	if n >= c.each || n > 0 && c.total >= c.all {
		return false
	}
	c.by[peer] = n + 1
	c.total++
	return true
}

// Leave counts one of the peer less.
func (c *Crowd) Leave(peer netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[peer]--; c.by[peer] == 0 {
		delete(c.by, peer)
	}
}

// Count returns how many there are.
func (c *Crowd) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}
