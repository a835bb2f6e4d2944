package revocation

import (
	"math/bits"
	"sync/atomic"
)

// A table is a hash table that is read without a lock while it is written: a
// bucket is an immutable chain behind an atomic pointer, so that a reader sees
// it before a change or after it. Writers need a lock among themselves.
type table struct {
	buckets atomic.Pointer[[]atomic.Pointer[entry]]
	n       int // entries; writers only
}

// An entry is what is revoked by one key: by one Revocation mostly, by several
// where somebody made several.
type entry struct {
	key   key
	hash  uint64
	rules []*rule
	next  *entry
}

func (t *table) get(hash uint64, k *key) []*rule {
	buckets := t.buckets.Load()
	if buckets == nil {
		return nil
	}
	for e := (*buckets)[hash&uint64(len(*buckets)-1)].Load(); e != nil; e = e.next {
		if e.hash == hash && e.key == *k {
			return e.rules
		}
	}
	return nil
}

// set puts rules in the place of those that the key has, none in that of all.
func (t *table) set(hash uint64, k key, rules []*rule) {
	if t.buckets.Load() == nil || t.n >= len(*t.buckets.Load()) {
		t.grow()
	}
	buckets := *t.buckets.Load()
	b := &buckets[hash&uint64(len(buckets)-1)]
	var rest *entry
	change := 0
	for e := b.Load(); e != nil; e = e.next {
		if e.hash == hash && e.key == k {
			change = -1
			continue
		}
		rest = &entry{key: e.key, hash: e.hash, rules: e.rules, next: rest}
	}
	if len(rules) > 0 {
		rest = &entry{key: k, hash: hash, rules: rules, next: rest}
		change++
	}
	b.Store(rest)
	t.n += change
}

// grow doubles the room. The entries are copied, because readers may still be
// following the old chains.
func (t *table) grow() {
	const least = 16
	old := t.buckets.Load()
	n := least
	if old != nil {
		n = 1 << bits.Len(uint(len(*old)))
	}
	buckets := make([]atomic.Pointer[entry], n)
	if old != nil {
		for i := range *old {
			for e := (*old)[i].Load(); e != nil; e = e.next {
				b := &buckets[e.hash&uint64(n-1)]
				b.Store(&entry{key: e.key, hash: e.hash, rules: e.rules, next: b.Load()})
			}
		}
	}
	t.buckets.Store(&buckets)
}
