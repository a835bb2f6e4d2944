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
	slots    []slot
	results  []atomic.Pointer[authn.Result] // one for each slot
	records  []record
	text     string // of all records
	groups   [][]string

	// While the file is read:
	growing []byte            // the text
	known   map[string]uint32 // the groups
}

// A slot refers to a record by its number and one, so that 0 is a free slot.
type slot struct {
	key    verified.Key
	record uint32
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

// place returns the slot of k, or the free one where it would be. There is
// always one.
func (t *table) place(k verified.Key) int {
	at, _ := bits.Mul64(binary.LittleEndian.Uint64(k[:]), uint64(len(t.slots)))
	i := int(at)
	for t.slots[i].record != 0 && t.slots[i].key != k {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return i
}

// find returns the slot of a token, or false if there is none.
func (t *table) find(token string) (int, bool) {
	i := t.place(t.key(token))
	return i, t.slots[i].record != 0
}

// put keeps a record, in place of the one before it that has the same token. It
// reports whether there was one. Groups are separated by commas.
func (t *table) put(token, name, uid, groups string) bool {
	if len(t.records)*4 >= len(t.slots)*3 {
		t.resize(len(t.slots) * 2)
	}
	k := t.key(token)
	i := t.place(k)
	replaced := t.slots[i].record != 0
	t.records = append(t.records, record{uint32(len(t.growing)), uint32(len(name)), uint32(len(uid)), t.list(groups)})
	t.growing = append(append(t.growing, name...), uid...)
	t.slots[i] = slot{k, uint32(len(t.records))}
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
			t.slots[t.place(s.key)] = s
		}
	}
}

// settle ends the reading.
func (t *table) settle() {
	t.resize(len(t.records)*4/3 + 1)
	t.results = make([]atomic.Pointer[authn.Result], len(t.slots))
	t.text, t.growing, t.known = string(t.growing), nil, nil
	t.records, t.groups = slices.Clip(t.records), slices.Clip(t.groups)
}

// read returns what the record of slot i says.
func (t *table) read(i int) (name, uid string, groups []string) {
	r := t.records[t.slots[i].record-1]
	text := t.text[r.at:]
	return text[:r.name], text[r.name : r.name+r.uid], t.groups[r.groups]
}
