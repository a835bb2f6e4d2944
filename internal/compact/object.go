package compact

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// An Object is a JSON object (RFC 8259) that was read strictly: it is one whole
// text in UTF-8, no object in it has two members of one name, and no string has
// half a surrogate pair. Names are told apart by case. It refers to the bytes
// that it was read from.
type Object struct{ members []member }

type member struct {
	name []byte
	raw  []byte
}

// ParseObject reads one JSON object.
func ParseObject(text []byte) (Object, error) {
	s := scanner{text: text, names: make([][]byte, 0, min(len(text)/usualMember+1, manyMembers))}
	s.space()
	if s.peek() != '{' {
		return Object{}, errors.New("not a JSON object")
	}
	members, err := s.object(1, true)
	if err != nil {
		return Object{}, err
	}
	if s.space(); s.at != len(text) {
		return Object{}, s.fail("text after the end")
	}
	return Object{members}, nil
}

// Has reports whether o has a member of that name.
func (o Object) Has(name string) bool { return o.Raw(name) != nil }

// Raw returns the JSON text of the member of that name, or nil if there is none.
// The caller must not change it.
func (o Object) Raw(name string) []byte {
	for i := range o.members {
		if string(o.members[i].name) == name {
			return o.members[i].raw
		}
	}
	return nil
}

// All walks over the members in their order, as names and JSON texts.
func (o Object) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range o.members {
			if !yield(string(o.members[i].name), o.members[i].raw) {
				return
			}
		}
	}
}

// Only returns an object with no member but that of the name.
func (o Object) Only(name string) Object {
	for i := range o.members {
		if string(o.members[i].name) == name {
			return Object{o.members[i : i+1]}
		}
	}
	return Object{}
}

// String returns the string of that name, or "" if there is no such member.
// Anything but a string is an error, null too.
func (o Object) String(name string) (string, error) {
	raw := o.Raw(name)
	if raw == nil {
		return "", nil
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("%q is not a string", name)
	}
	return string(unquote(raw)), nil
}

// Strings returns the strings of that name: an array of them or, as RFC 7519
// allows for the audience, a single one. It returns none if there is no such
// member. Anything else is an error.
func (o Object) Strings(name string) ([]string, error) {
	raw := o.Raw(name)
	if raw == nil {
		return nil, nil
	}
	if raw[0] == '"' {
		return []string{string(unquote(raw))}, nil
	}
	if raw[0] != '[' {
		return nil, fmt.Errorf("%q is neither a string nor an array of strings", name)
	}
	all := []string{}
	s := scanner{text: raw, at: 1}
	for s.space(); s.peek() != ']'; s.space() {
		if s.peek() == ',' {
			s.at++
			s.space()
		}
		if s.peek() != '"' {
			return nil, fmt.Errorf("%q is not an array of strings", name)
		}
		from := s.at
		if err := s.str(); err != nil {
			return nil, err
		}
		all = append(all, string(unquote(raw[from:s.at])))
	}
	return all, nil
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
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, fmt.Errorf("%q is not a time between the years 1970 and 9999", name)
	}
	return time.Unix(int64(seconds), 0), nil
}

// Object returns the object of that name, or an empty one if there is no such
// member. Anything but an object is an error.
func (o Object) Object(name string) (Object, error) {
	raw := o.Raw(name)
	if raw == nil {
		return Object{}, nil
	}
	if raw[0] != '{' {
		return Object{}, fmt.Errorf("%q is not an object", name)
	}
	return ParseObject(raw)
}
