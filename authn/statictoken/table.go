package statictoken

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
)

// A table holds the records of a file, to be found by digests of their tokens.
// It is made for millions: open addressing, one text for all names, and each
// list of groups once. A result is made when its token is first used, and kept.
type table struct {
	digester *verified.Digester
	places   []place
	records  []record
	text     string // of all records
	groups   [][]string
	longest  int // token

	// While the file is read:
	slots   []slot
	growing []byte            // the text
	known   map[string]uint32 // the groups
}

// A slot refers to a record by its number and one, so that 0 is a free slot.
type slot struct {
	key    verified.Key
	record uint32
}

// A place is a slot that will not move any more, with the result once there is
// one.
type place struct {
	slot
	result atomic.Pointer[authn.Result]
}

// A record is where the text of the name and behind it of the UID begins, how
// long they are, and the number of the groups. A file is never so large that
// these would not do.
type record struct{ at, name, uid, groups uint32 }

func newTable() (*table, error) {
	digester, err := verified.NewDigester()
	if err != nil {
		return nil, err
	}
	return &table{digester: digester, slots: make([]slot, 64), known: map[string]uint32{}}, nil
}

func (t *table) key(token string) verified.Key { return t.digester.Key("", token, nil) }

// begin returns where to begin looking for k among n.
func begin(k verified.Key, n int) int {
	at, _ := bits.Mul64(binary.LittleEndian.Uint64(k[:]), uint64(n))
	return int(at)
}

// slot returns the slot of k, or the free one where it would be. There is always
// one.
func (t *table) slot(k verified.Key) *slot {
	i := begin(k, len(t.slots))
	for t.slots[i].record != 0 && t.slots[i].key != k {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return &t.slots[i]
}

// find returns the place of a token, or nil if there is none. How long the
// longest token is may be seen from the time that this takes; nothing else.
func (t *table) find(token string) *place {
	if len(token) > t.longest {
		return nil
	}
	k := t.key(token)
	for i := begin(k, len(t.places)); t.places[i].record != 0; {
		if t.places[i].key == k {
			return &t.places[i]
		}
		if i++; i == len(t.places) {
			i = 0
		}
	}
	return nil
}

// put keeps a record, in place of the one before it that has the same token. It
// reports whether there was one. Groups are separated by commas.
func (t *table) put(token, name, uid, groups string) bool {
	if len(t.records)*4 >= len(t.slots)*3 {
		t.resize(len(t.slots) * 2)
	}
	k := t.key(token)
	at := t.slot(k)
	replaced := at.record != 0
	t.records = append(t.records, record{uint32(len(t.growing)), uint32(len(name)), uint32(len(uid)), t.list(groups)})
	t.growing = append(append(t.growing, name...), uid...)
	t.longest = max(t.longest, len(token))
	*at = slot{k, uint32(len(t.records))}
	return replaced
}

// list returns the number of a list of groups.
func (t *table) list(text string) uint32 {
	if n, ok := t.known[text]; ok {
		return n
	}
	// A copy: the text shares its memory with the token.
	text = strings.Clone(text)
	list := slices.DeleteFunc(strings.Split(text, ","), func(g string) bool { return g == "" })
	n := uint32(len(t.groups))
	t.groups, t.known[text] = append(t.groups, list), n
	return n
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	for _, s := range old {
		if s.record != 0 {
			*t.slot(s.key) = s
		}
	}
}

// settle ends the reading.
func (t *table) settle() {
	t.resize(len(t.records)*4/3 + 1)
	t.places = make([]place, len(t.slots))
	for i := range t.slots {
		t.places[i].slot = t.slots[i]
	}
	t.text = string(t.growing)
	t.slots, t.growing, t.known = nil, nil, nil
	t.records, t.groups = slices.Clip(t.records), slices.Clip(t.groups)
}

// read returns what the record of a place says.
func (t *table) read(p *place) (name, uid string, groups []string) {
	r := t.records[p.record-1]
	text := t.text[r.at:]
	return text[:r.name], text[r.name : r.name+r.uid], t.groups[r.groups]
}
