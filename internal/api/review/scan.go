package review

import (
	"slices"
	"strings"
)

// A scanner reads the JSON that programs write: objects with known members,
// each once, strings of ASCII without escapes, lists of them. It gives up on
// everything else, right or wrong, by returning false.
//
// All strings it returns share the memory of the text.
type scanner struct{ rest string }

// space passes over white space.
func (s *scanner) space() {
	for s.rest != "" && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\n' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// skip passes over white space, then takes c if it is next.
func (s *scanner) skip(c byte) bool {
	s.space()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// done reports whether nothing but white space is left.
func (s *scanner) done() bool {
	s.space()
	return s.rest == ""
}

// text reads a string.
func (s *scanner) text() (string, bool) {
	if !s.skip('"') {
		return "", false
	}
	end := strings.IndexByte(s.rest, '"')
	if end < 0 {
		return "", false
	}
	text := s.rest[:end]
	if !plain(text) || strings.IndexByte(text, '\\') >= 0 {
		return "", false
	}
	s.rest = s.rest[end+1:]
	return text, true
}

// into reads a string into where.
func (s *scanner) into(where *string) (ok bool) {
	*where, ok = s.text()
	return ok
}

// is reads a string that has to be want.
func (s *scanner) is(want string) bool {
	text, ok := s.text()
	return ok && text == want
}

// word reads a literal that has to be want.
func (s *scanner) word(want string) bool {
	if !s.skip(want[0]) || !strings.HasPrefix(s.rest, want[1:]) {
		return false
	}
	s.rest = s.rest[len(want)-1:]
	return true
}

// object reads an object. Value reads the member with the given index in names,
// of which there are at most 32.
func (s *scanner) object(names []string, value func(i int) bool) bool {
	var seen uint32
	return s.members(func(name string) bool {
		i := slices.Index(names, name)
		if i < 0 || seen&(1<<i) != 0 {
			return false
		}
		seen |= 1 << i
		return value(i)
	})
}

// members reads an object of any members. Value reads the one with the given
// name.
func (s *scanner) members(value func(name string) bool) bool {
	if !s.skip('{') {
		return false
	}
	if s.skip('}') {
		return true
	}
	for {
		name, ok := s.text()
		if !ok || !s.skip(':') || !value(name) {
			return false
		}
		if !s.skip(',') {
			return s.skip('}')
		}
	}
}

// list reads an array of strings. One that is empty is not nil.
func (s *scanner) list() ([]string, bool) {
	if !s.skip('[') {
		return nil, false
	}
	list := []string{}
	if s.skip(']') {
		return list, true
	}
	for {
		text, ok := s.text()
		if !ok {
			return nil, false
		}
		list = append(list, text)
		if !s.skip(',') {
			return list, s.skip(']')
		}
	}
}

// plain reports whether text is of printable ASCII, eight bytes at a time.
func plain(text string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		_ = text[7]
		w := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		// A byte below 0x20 borrows into its high bit, unless it was set.
		if (w|(w-0x20*ones))&high != 0 {
			return false
		}
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x80 {
			return false
		}
	}
	return true
}
