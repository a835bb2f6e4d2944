package compact

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// An Object is a JSON object (RFC 8259) that was read strictly: it is one whole
// text in UTF-8, no object in it has two members of one name, and no string has
// half a surrogate pair. Names are told apart by case. It refers to the bytes
// that it was read from.
type Object struct {
	text    []byte
	members []member
	written names
	kept    string // see Keep
}

// A member is where its name, without the quotes, and its value are in the text.
// Behind it are the members of its value, if that is an object.
type member struct {
	nameFrom, nameTo, from, to uint32
	inner                      uint32 // how many those are, at any depth
	escaped                    uint32 // which of the names that have escapes, or 0
}

// Names are those that are not written in the text as they are.
type names [][]byte

// of returns the name of a member.
func (n names) of(m *member, text []byte) []byte {
	if m.escaped > 0 {
		return n[m.escaped-1]
	}
	return text[m.nameFrom:m.nameTo]
}

// is reports whether a member has a name. Most names differ in their length.
func is[T string | []byte](n names, m *member, text []byte, name T) bool {
	if m.escaped == 0 && int(m.nameTo-m.nameFrom) != len(name) {
		return false
	}
	return string(n.of(m, text)) == string(name)
}

func (o Object) name(i int) []byte { return o.written.of(&o.members[i], o.text) }

// ParseObject reads one JSON object.
func ParseObject(text []byte) (Object, error) {
	return parseObject(text, make([]member, 0, min(len(text)/usualMember+1, manyMembers)))
}

// parseObject is ParseObject with room for members.
func parseObject(text []byte, room []member) (Object, error) {
	p := partly{scanner: scanner{text: text, members: room}}
	return p.rest()
}

// partly is an object that is read up to a member, and then on.
type partly struct {
	scanner
	begun, ended bool
	n            int // members
}

// until reads up to the end of the member of a name, or of the object, and
// returns what is in it so far.
func (p *partly) until(name string) (Object, error) {
	if !p.begun {
		if p.space(); p.peek() != '{' {
			return Object{}, errors.New("not a JSON object")
		}
		p.begun = true
		p.at++
	}
	for !p.ended {
		here := len(p.members)
		more, err := p.member(0, p.n, 1)
		if err != nil {
			return Object{}, err
		}
		p.n++
		p.ended = !more
		if more && name != "" && is(p.written, &p.members[here], p.text, name) {
			break
		}
	}
	return Object{text: p.text, members: p.members, written: p.written}, nil
}

// rest reads to the end of the text.
func (p *partly) rest() (Object, error) {
	o, err := p.until("")
	if err != nil {
		return Object{}, err
	}
	if p.space(); p.at != len(p.text) {
		return Object{}, p.fail("text after the end")
	}
	return o, nil
}

// Keep returns o for reading many strings from: those without escapes share one
// copy of the text. Who keeps one of them keeps all of the text.
func (o Object) Keep() Object {
	o.kept = string(o.text)
	return o
}

// find returns the index of the member of that name, or -1.
func (o Object) find(name string) int {
	for i := 0; i < len(o.members); i += 1 + int(o.members[i].inner) {
		if is(o.written, &o.members[i], o.text, name) {
			return i
		}
	}
	return -1
}

func (o Object) raw(i int) []byte { return o.text[o.members[i].from:o.members[i].to] }

// Has reports whether o has a member of that name.
func (o Object) Has(name string) bool { return o.find(name) >= 0 }

// Raw returns the JSON text of the member of that name, or nil if there is none.
// The caller must not change it.
func (o Object) Raw(name string) []byte {
	if i := o.find(name); i >= 0 {
		return o.raw(i)
	}
	return nil
}

// All walks over the members in their order, as names and JSON texts.
func (o Object) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := 0; i < len(o.members); i += 1 + int(o.members[i].inner) {
			if !yield(string(o.name(i)), o.raw(i)) {
				return
			}
		}
	}
}

// Only returns an object with no member but that of the name.
func (o Object) Only(name string) Object {
	i := o.find(name)
	if i < 0 {
		return Object{}
	}
	o.members = o.members[i : i+1+int(o.members[i].inner)]
	return o
}

// String returns the string of that name, or "" if there is no such member.
// Anything but a string is an error, null too.
func (o Object) String(name string) (string, error) {
	i := o.find(name)
	if i < 0 {
		return "", nil
	}
	if o.raw(i)[0] != '"' {
		return "", fmt.Errorf("%q is not a string", name)
	}
	return o.str(int(o.members[i].from), int(o.members[i].to)), nil
}

// Text is [Object.String] without a copy. The caller must not change it.
func (o Object) Text(name string) ([]byte, error) {
	raw := o.Raw(name)
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, fmt.Errorf("%q is not a string", name)
	}
	return unquote(raw), nil
}

// str returns what the string in a part of the text stands for.
func (o Object) str(from, to int) string {
	quoted := o.text[from:to]
	if o.kept != "" && bytes.IndexByte(quoted, '\\') < 0 {
		return o.kept[from+1 : to-1]
	}
	return string(unquote(quoted))
}

// Strings returns the strings of that name: an array of them or, as RFC 7519
// allows for the audience, a single one. It returns none if there is no such
// member. Anything else is an error.
func (o Object) Strings(name string) ([]string, error) {
	i := o.find(name)
	if i < 0 {
		return nil, nil
	}
	from, to := int(o.members[i].from), int(o.members[i].to)
	all := make([]string, 0, 1+bytes.Count(o.text[from:to], []byte{','}))
	if o.kept == "" { // then they share a copy of all of them
		o.text = o.text[from:to]
		o.kept, from, to = string(o.text), 0, len(o.text)
	}
	err := o.eachString(name, from, to, func(from, to int) { all = append(all, o.str(from, to)) })
	if err != nil {
		return nil, err
	}
	return all, nil
}

// HasAny reports whether one of wanted is among the strings of that name, which
// are those that [Object.Strings] returns, with the same errors.
func (o Object) HasAny(name string, wanted []string) (bool, error) {
	i := o.find(name)
	if i < 0 {
		return false, nil
	}
	found := false
	err := o.eachString(name, int(o.members[i].from), int(o.members[i].to), func(from, to int) {
		text := unquote(o.text[from:to])
		found = found || slices.ContainsFunc(wanted, func(one string) bool { return one == string(text) })
	})
	return found && err == nil, err
}

// eachString calls see for the strings in a part of the text, which is the value
// of that name, with where they are.
func (o Object) eachString(name string, from, to int, see func(from, to int)) error {
	switch o.text[from] {
	case '"':
		see(from, to)
		return nil
	case '[':
	default:
		return fmt.Errorf("%q is neither a string nor an array of strings", name)
	}
	s := scanner{text: o.text[:to], at: from + 1}
	for s.space(); s.peek() != ']'; s.space() {
		if s.peek() == ',' {
			s.at++
			s.space()
		}
		if s.peek() != '"' {
			return fmt.Errorf("%q is not an array of strings", name)
		}
		begin := s.at
		if _, err := s.str(); err != nil {
			return err
		}
		see(begin, s.at)
	}
	return nil
}

// maxTime is the last second of the year 9999, after which a time has no usual
// text.
const maxTime = 253402300799

// Time returns the NumericDate (RFC 7519 section 2) of that name, cut to whole
// seconds, or the zero time if there is no such member. Anything but a number
// between the years 1970 and 9999 is an error.
func (o Object) Time(name string) (time.Time, error) {
	raw := o.Raw(name)
	if raw == nil {
		return time.Time{}, nil
	}
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return time.Time{}, fmt.Errorf("%q is not a number", name)
	}
	if whole, err := strconv.ParseUint(string(raw), 10, 64); err == nil && whole <= maxTime {
		return time.Unix(int64(whole), 0), nil // as nearly all are
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, fmt.Errorf("%q is not a time between the years 1970 and 9999", name)
	}
	return time.Unix(int64(seconds), 0), nil
}

// Object returns the object of that name, or an empty one if there is no such
// member. Anything but an object is an error.
func (o Object) Object(name string) (Object, error) {
	i := o.find(name)
	if i < 0 {
		return Object{}, nil
	}
	if o.raw(i)[0] != '{' {
		return Object{}, fmt.Errorf("%q is not an object", name)
	}
	o.members = o.members[i+1 : i+1+int(o.members[i].inner)]
	return o, nil
}
