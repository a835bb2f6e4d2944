package compact

import (
	"errors"
	"iter"
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
	opened       opened
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
		more, err := p.member(&p.opened, 1)
		if err != nil {
			return Object{}, err
		}
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

// Find returns the value of the member of that name, which is not there if there
// is none.
func (o *Object) Find(name string) Value {
	v := o.First()
	for v.There() && !is(o.written, &o.members[v.i], o.text, name) {
		v = v.Next()
	}
	return v
}

// Has reports whether o has a member of that name.
func (o Object) Has(name string) bool { return o.Find(name).There() }

// Raw returns the JSON text of the member of that name, or nil if there is none.
// The caller must not change it.
func (o Object) Raw(name string) []byte {
	if v := o.Find(name); v.There() {
		return v.Raw()
	}
	return nil
}

// All walks over the members in their order, as names and JSON texts.
func (o Object) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for v := o.First(); v.There(); v = v.Next() {
			if !yield(string(v.Name()), v.Raw()) {
				return
			}
		}
	}
}

// Only returns an object with no member but that of the name.
func (o Object) Only(name string) Object {
	v := o.Find(name)
	if !v.There() {
		return Object{}
	}
	o.members = o.members[v.i:v.behind()]
	return o
}

// First returns the value of the first member, with which a walk over all begins:
//
//	for v := o.First(); v.There(); v = v.Next() {
func (o *Object) First() Value { return Value{o, 0, len(o.members)} }

// String returns the string of that name, or "" if there is no such member.
// Anything but a string is an error, null too.
func (o Object) String(name string) (string, error) {
	text, err := o.Text(name)
	return string(text), err
}

// Text is [Object.String] without a copy. The caller must not change it.
func (o Object) Text(name string) ([]byte, error) {
	if v := o.Find(name); v.There() {
		return v.Text()
	}
	return nil, nil
}

// Strings returns the strings of that name: an array of them or, as RFC 7519
// allows for the audience, a single one. It returns none if there is no such
// member. Anything else is an error.
func (o Object) Strings(name string) ([]string, error) {
	if v := o.Find(name); v.There() {
		return v.Strings()
	}
	return nil, nil
}

// Time returns the NumericDate (RFC 7519 section 2) of that name, cut to whole
// seconds, or the zero time if there is no such member. Anything but a number
// between the years 1970 and 9999 is an error.
func (o Object) Time(name string) (time.Time, error) {
	if v := o.Find(name); v.There() {
		return v.Time()
	}
	return time.Time{}, nil
}

// Object returns the object of that name, or an empty one if there is no such
// member. Anything but an object is an error.
func (o Object) Object(name string) (Object, error) {
	if v := o.Find(name); v.There() {
		return v.Object()
	}
	return Object{}, nil
}
