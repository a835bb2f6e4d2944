package listener

import (
	"cmp"
	"container/heap"
	"container/list"
	"net/netip"
	"slices"
	"time"
)

// A Class is what a connection is doing.
type Class int

// The classes, in the order in which they are given up.
const (
	Silent   Class = iota // has sent no request, and nothing at all for a second
	Idle                  // has had its answer
	Greeting              // has sent no request yet, but is about to
	InUse                 // has a request in flight
	classes
)

// prompt is within what time one who means it says the next thing, the longest
// way round the world and a lost packet included.
const prompt = time.Second

// String returns the name of the class in metrics.
func (c Class) String() string {
	return [classes]string{Silent: "silent", Idle: "idle", Greeting: "greeting", InUse: "in-use"}[c]
}

// A peer is who connections come from.
type peer struct {
	address netip.Addr
	// The connections that have sent no request, and those that have, each in
	// the order in which they came to be that. They hold *Conn.
	silent, spoken *list.List
}

func newPeer(address netip.Addr) *peer { return &peer{address, list.New(), list.New()} }

func (p *peer) size() int { return p.silent.Len() + p.spoken.Len() }

func (p *peer) list(spoken bool) *list.List {
	if spoken {
		return p.spoken
	}
	return p.silent
}

const (
	// batch is the part of all connections, one in so many, that is given up at
	// once. Finding them takes a look at every connection, which pays if there
	// are many to find.
	batch = 64
	// greeters is the part of all connections that one peer may bring to their
	// first request at the same time when there is no room: no handshake is
	// given up for another one of the same peer, lest none ever ends, and those
	// of one peer do not drive out all that is idle.
	greeters = 4
)

// victims returns the connections to close so that one from a newcomer has
// room, none if there is nothing to choose. The lock is held.
func (l *Listener) victims(newcomer netip.Addr) []*Conn {
	now := time.Now().UnixNano()
	greeting, all := 0, 0
	if p := l.peers[newcomer]; p != nil {
		greeting, all = p.silent.Len(), p.size()
	}
	many := max(1, l.cfg.MaxConns/batch)
	if found := heaviest(l.inClass(Silent, now), many, 0); len(found) > 0 {
		return found
	}
	if greeting >= max(1, l.cfg.MaxConns/greeters) {
		return nil
	}
	if found := heaviest(l.inClass(Idle, now), many, 0); len(found) > 0 {
		return found
	}
	// What is under way is cut only for the sake of a peer that has less.
	if found := heaviest(l.inClass(Greeting, now), 1, greeting+1); len(found) > 0 {
		return found
	}
	return heaviest(l.inClass(InUse, now), 1, all+1)
}

// inClass returns the connections of the class, by peer, each in the order in
// which they are given up. The lock is held.
func (l *Listener) inClass(class Class, now int64) shares {
	var all shares
	for _, p := range l.peers {
		var found []*Conn
		from := p.list(class == Idle || class == InUse)
		for e := from.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*Conn); c.class(now) == class {
				found = append(found, c)
			}
		}
		if len(found) == 0 {
			continue
		}
		switch class {
		case Idle:
			longestFirst(found)
		case Greeting, InUse:
			// The young have the least to lose, and what somebody piles up
			// behind a proxy is younger than its long-lived streams.
			slices.Reverse(found)
		case Silent:
		}
		all = append(all, found)
	}
	return all
}

// longestFirst puts those that have been idle for longest first.
func longestFirst(idle []*Conn) {
	since := make(map[*Conn]int64, len(idle))
	for _, c := range idle {
		since[c] = c.idleSince.Load()
	}
	slices.SortFunc(idle, func(a, b *Conn) int { return cmp.Compare(since[a], since[b]) })
}

// heaviest takes up to want connections, each from whoever has most of them at
// that moment and more than floor.
func heaviest(all shares, want, floor int) []*Conn {
	heap.Init(&all)
	var found []*Conn
	for len(found) < want && len(all) > 0 && len(all[0]) > floor {
		found = append(found, all[0][0])
		if all[0] = all[0][1:]; len(all[0]) == 0 {
			heap.Pop(&all)
			continue
		}
		heap.Fix(&all, 0)
	}
	return found
}

// shares is a heap of the connections of each peer, the most on top, and of as
// many the older ones.
type shares [][]*Conn

func (s shares) Len() int { return len(s) }
func (s shares) Less(i, j int) bool {
	if len(s[i]) != len(s[j]) {
		return len(s[i]) > len(s[j])
	}
	return s[i][0].number < s[j][0].number
}
func (s shares) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *shares) Push(x any)   { *s = append(*s, x.([]*Conn)) }
func (s *shares) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
