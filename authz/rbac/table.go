package rbac

import (
	"iter"
	"math/bits"
	"sync/atomic"
)

// A table is a hash table that is read without a lock while it is written: a
// bucket is an immutable chain behind an atomic pointer, so that a reader sees
// it before a change or after it. Writers need a lock among themselves.
//
// The caller brings the hash, because one hash serves many tables. A hash only
// finds the chain; the keys themselves are compared.
type table[K comparable, V any] struct {
	buckets atomic.Pointer[[]atomic.Pointer[entry[K, V]]]
	n       int // entries; writers only
}

type entry[K comparable, V any] struct {
	value V
	next  *entry[K, V]
	hash  uint64
	key   K
}

func (t *table[K, V]) get(hash uint64, key *K) (value V, ok bool) {
	buckets := t.buckets.Load()
	if buckets == nil {
		return value, false
	}
	e := (*buckets)[hash&uint64(len(*buckets)-1)].Load()
	for ; e != nil; e = e.next {
		if e.hash == hash && e.key == *key {
			return e.value, true
		}
	}
	return value, false
}

// add adds a key that is not in the table.
func (t *table[K, V]) add(hash uint64, key K, value V) {
	t.reserve(t.n + 1)
	buckets := *t.buckets.Load()
	b := &buckets[hash&uint64(len(buckets)-1)]
	b.Store(&entry[K, V]{value: value, next: b.Load(), hash: hash, key: key})
	t.n++
}

// reserve makes room for n entries, rounded up to a power of two. The entries
// are copied, because readers may still be following the old chains.
func (t *table[K, V]) reserve(n int) {
	if old := t.buckets.Load(); n == 0 || old != nil && n <= len(*old) {
		return
	}
	buckets := make([]atomic.Pointer[entry[K, V]], 1<<bits.Len(uint(n-1)))
	for e := range t.all() {
		b := &buckets[e.hash&uint64(len(buckets)-1)]
		b.Store(&entry[K, V]{value: e.value, next: b.Load(), hash: e.hash, key: e.key})
	}
	t.buckets.Store(&buckets)
}

// remove removes a key that is in the table.
func (t *table[K, V]) remove(hash uint64, key *K) {
	buckets := t.buckets.Load()
	b := &(*buckets)[hash&uint64(len(*buckets)-1)]
	var rest *entry[K, V]
	for e := b.Load(); e != nil; e = e.next {
		if e.hash != hash || e.key != *key {
			rest = &entry[K, V]{value: e.value, next: rest, hash: e.hash, key: e.key}
		}
	}
	b.Store(rest)
	t.n--
}

func (t *table[K, V]) all() iter.Seq[*entry[K, V]] {
	return func(yield func(*entry[K, V]) bool) {
		buckets := t.buckets.Load()
		if buckets == nil {
			return
		}
		for i := range *buckets {
			for e := (*buckets)[i].Load(); e != nil; e = e.next {
				if !yield(e) {
					return
				}
			}
		}
	}
}
