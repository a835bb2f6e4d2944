// Package verified remembers credentials that were verified.
//
// The one idea: an entry rests on generations (see [authn.Generation]) instead
// of a time to live, so that remembering is both faster and safer than looking
// again every ten seconds. The generations live where the change happens; the
// table only asks whether an entry is still fresh.
//
// A [Table] finds an entry by a digest, under a key that never leaves it, of
// the whole credential, what it was presented as, and the audiences asked for.
// The credential itself is not kept. Reading takes no lock and allocates
// nothing. The table is bounded; an entry that finds no room replaces another
// one, and nobody outside can tell which, because the digest decides.
//
// It refuses to remember refusals, which cost an attacker nothing to produce,
// and answers that nothing would ever end.
package verified

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// A Fresh value knows when it must not be used any more.
type Fresh interface {
	comparable
	Fresh(now time.Time) bool
}

const (
	// ways is how many entries share a bucket. The tags of eight fill one
	// cache line, so that a look-up reads three lines, however full it is.
	ways = 8
	// writeLocks is how many writers can be at work at the same time.
	writeLocks = 64
)

// A Table is a bounded table of verified credentials. Make one with [NewTable].
// All methods may be called at the same time.
type Table[V Fresh] struct {
	digest  digester
	buckets []bucket[V]
	locks   [writeLocks]sync.Mutex
	counts  [writeLocks]count
}

// A count is of the look-ups in a part of the table, in a cache line of its own.
type count struct {
	hits, misses atomic.Uint64
	_            [48]byte
}

// A bucket is written under the lock of its index. A reader may see a tag
// without its entry or the other way round; the whole digest in the entry,
// which never changes, settles it.
type bucket[V Fresh] struct {
	tags    [ways]atomic.Uint64
	entries [ways]atomic.Pointer[entry[V]]
}

type entry[V Fresh] struct {
	key   Key
	value V
}

// NewTable returns an empty table with room for at least size entries, at 16
// bytes for each room and about 40 more for each entry besides its value.
func NewTable[V Fresh](size int) (*Table[V], error) {
	digest, err := newDigester()
	if err != nil {
		return nil, err
	}
	n := 1
	for n*ways < size {
		n *= 2
	}
	return &Table[V]{digest: digest, buckets: make([]bucket[V], n)}, nil
}

// A Key stands for one credential in one table. It is no secret to the process,
// but means nothing outside it.
type Key [16]byte

// Key returns the key of a credential that is presented as kind for audiences.
func (t *Table[V]) Key(kind, credential string, audiences []string) Key {
	s := t.digest.scratch()
	write(s, kind, credential, audiences)
	return t.digest.sum(s)
}

// KeyOfParts returns the key of a credential of several parts, such as a chain
// of certificates, that is presented as kind. A table is for texts or for these.
func (t *Table[V]) KeyOfParts(kind string, parts [][]byte) Key {
	s := t.digest.scratch()
	write(s, kind, "", parts)
	return t.digest.sum(s)
}

func (t *Table[V]) bucket(k Key) (b *bucket[V], index, tag uint64) {
	index = binary.LittleEndian.Uint64(k[:8]) & uint64(len(t.buckets)-1)
	return &t.buckets[index], index, binary.LittleEndian.Uint64(k[8:])
}

// Lookup returns the value that was stored for k, or the zero value if there is
// none that is fresh at now.
func (t *Table[V]) Lookup(k Key, now time.Time) V {
	b, index, tag := t.bucket(k)
	count := &t.counts[index%writeLocks]
	for i := range b.tags {
		if b.tags[i].Load() != tag {
			continue
		}
		if e := b.entries[i].Load(); e != nil && e.key == k && e.value.Fresh(now) {
			count.hits.Add(1)
			return e.value
		}
	}
	count.misses.Add(1)
	var none V
	return none
}

// Store keeps v for k, in place of what was kept for k before. Only what was
// verified may be stored.
func (t *Table[V]) Store(k Key, v V, now time.Time) {
	b, index, tag := t.bucket(k)
	lock := &t.locks[index%writeLocks]
	lock.Lock()
	defer lock.Unlock()
	i := b.victim(k, now)
	b.entries[i].Store(&entry[V]{k, v})
	b.tags[i].Store(tag)
}

// victim returns the place for k: its own if it has one, else a free one, else
// one that is not fresh, else any.
func (b *bucket[V]) victim(k Key, now time.Time) int {
	// The digest is as good as random, and costs nothing.
	place, settled := int(k[15]%ways), false
	for i := range b.entries {
		e := b.entries[i].Load()
		if e != nil && e.key == k {
			return i
		}
		if !settled && (e == nil || !e.value.Fresh(now)) {
			place, settled = i, true
		}
	}
	return place
}

// Stats returns how many look-ups found something fresh so far, and how many did
// not.
func (t *Table[V]) Stats() (hits, misses uint64) {
	for i := range t.counts {
		hits += t.counts[i].hits.Load()
		misses += t.counts[i].misses.Load()
	}
	return hits, misses
}

// Len counts the entries, fresh or not. It looks at every room.
func (t *Table[V]) Len() int {
	n := 0
	for i := range t.buckets {
		for j := range t.buckets[i].entries {
			if t.buckets[i].entries[j].Load() != nil {
				n++
			}
		}
	}
	return n
}
