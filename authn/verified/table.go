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
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A Fresh value is a *T that knows when it must not be used any more.
type Fresh[T any] interface {
	*T
	Fresh(now time.Time) bool
}

const (
	// ways is how many entries share a bucket: as many as fill one line of the
	// cache together with their tags.
	ways = 7
	// writeLocks is how many writers can be at work at the same time.
	writeLocks = 64
)

// A Table is a bounded table of verified credentials. Make one with [NewTable].
// All methods may be called at the same time.
type Table[T any, P Fresh[T]] struct {
	digest  digester
	buckets []bucket[T]
	locks   [writeLocks]sync.Mutex
	counts  [writeLocks]count
}

// A count is of the look-ups in a part of the table, in a cache line of its own.
type count struct {
	lookups, misses atomic.Uint64
	_               [48]byte
}

// A bucket is written under the lock of its index. A reader may see a tag
// without its entry or the other way round; the whole digest in the entry,
// which never changes, settles it.
type bucket[T any] struct {
	tags    atomic.Uint64 // a byte for each entry, and one that is always 0
	entries [ways]atomic.Pointer[Entry[T]]
}

// An Entry is room for one value. The value is in the entry itself: whoever has
// the one from memory that is far away need not go there a second time for the
// other.
type Entry[T any] struct {
	key   Key
	Value T
}

// NewTable returns an empty table with room for size entries, of which there are a
// multiple of seven, and seven at least: at 9 bytes for each room, and 16 for each
// entry besides its value.
func NewTable[T any, P Fresh[T]](size int) (*Table[T, P], error) {
	digest, err := newDigester()
	if err != nil {
		return nil, err
	}
	n := max(1, (size+ways-1)/ways)
	return &Table[T, P]{digest: digest, buckets: make([]bucket[T], n)}, nil
}

// A Key stands for one credential in one table. It is no secret to the process,
// but means nothing outside it.
type Key [16]byte

// Key returns the key of a credential that is presented as kind for audiences.
func (t *Table[T, P]) Key(kind, credential string, audiences []string) Key {
	return keyOf(t.digest, kind, credential, audiences)
}

// KeyOfParts returns the key of a credential of several parts, such as a chain
// of certificates, that is presented as kind. A table is for texts or for these.
func (t *Table[T, P]) KeyOfParts(kind string, parts [][]byte) Key {
	return keyOfParts(t.digest, kind, parts)
}

// bucket returns where k belongs, and the tag that it has there.
func (t *Table[T, P]) bucket(k Key) (b *bucket[T], index, tag uint64) {
	index, _ = bits.Mul64(binary.LittleEndian.Uint64(k[:8]), uint64(len(t.buckets)))
	return &t.buckets[index], index, uint64(k[8] | used)
}

const (
	// used is in the tag of every entry, so that none is like that of a free place.
	used = 0x80
	// each and tops are the lowest and the highest bit of each byte.
	each, tops = 0x0101010101010101, used * each
)

// like returns the highest bit of each byte of tags that is tag, or looks as if it
// were, which is rare: it stands above one that is.
func like(tags, tag uint64) uint64 {
	zero := tags ^ tag*each
	return (zero - each) &^ zero & tops
}

// Lookup returns the value that was stored for k, or nil if there is none that is
// fresh at now. It is shared, and must not be changed.
func (t *Table[T, P]) Lookup(k Key, now time.Time) P {
	b, index, tag := t.bucket(k)
	count := &t.counts[index%writeLocks]
	// First, because the processor fetches nothing ahead across it.
	count.lookups.Add(1)
	for found := like(b.tags.Load(), tag); found != 0; found &= found - 1 {
		e := b.entries[bits.TrailingZeros64(found)/8].Load()
		if e != nil && e.key == k && P(&e.Value).Fresh(now) {
			return &e.Value
		}
	}
	count.misses.Add(1)
	return nil
}

// Store keeps a copy of v for k, in place of what was kept for k before, and
// returns it. Only what was verified may be stored.
func (t *Table[T, P]) Store(k Key, v P, now time.Time) P {
	return t.Keep(k, &Entry[T]{Value: *v}, now)
}

// Keep is [Table.Store] of the value of an entry that is not in a table, which must
// not be changed from then on.
func (t *Table[T, P]) Keep(k Key, e *Entry[T], now time.Time) P {
	b, index, tag := t.bucket(k)
	lock := &t.locks[index%writeLocks]
	lock.Lock()
	defer lock.Unlock()
	i := victim[T, P](b, k, tag, now)
	e.key = k
	b.entries[i].Store(e)
	b.tags.Store(b.tags.Load()&^(0xff<<(8*i)) | tag<<(8*i))
	return &e.Value
}

// victim returns the place for k: its own if it has one, else a free one, else
// one that is not fresh, else any. As long as there is a free one, no entry of
// another key has to be fetched from memory that is far away.
func victim[T any, P Fresh[T]](b *bucket[T], k Key, tag uint64, now time.Time) int {
	tags := b.tags.Load()
	for found := like(tags, tag); found != 0; found &= found - 1 {
		i := bits.TrailingZeros64(found) / 8
		if e := b.entries[i].Load(); e != nil && e.key == k {
			return i
		}
	}
	if free := bits.TrailingZeros64(like(tags, 0)) / 8; free < ways {
		return free
	}
	for i := range b.entries {
		if !P(&b.entries[i].Load().Value).Fresh(now) {
			return i
		}
	}
	return int(k[15] % ways) // the digest is as good as random, and costs nothing
}

// Stats returns how many look-ups found something fresh so far, and how many did
// not.
func (t *Table[T, P]) Stats() (hits, misses uint64) {
	var lookups uint64
	for i := range t.counts {
		// In this order: each look-up counts itself before its miss.
		misses += t.counts[i].misses.Load()
		lookups += t.counts[i].lookups.Load()
	}
	return lookups - misses, misses
}

// Len counts the entries, fresh or not. It looks at every room.
func (t *Table[T, P]) Len() int {
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
