package compact

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of one JSON text, checked while it is read.
const (
	maxDepth   = 32 // of objects and arrays within each other
	maxMembers = 64 // of one object

	// usualMember is how many bytes the text of a member takes, and manyMembers
	// for how many of them room is made in advance at most.
	usualMember, manyMembers = 20, 16
)

// A scanner walks once over a JSON text and checks its grammar.
type scanner struct {
	text []byte
	at   int
	// names are those of the members of all the objects that are open now.
	names [][]byte
}

// fail names the place but not what is there: it may be part of a secret.
func (s *scanner) fail(what string) error {
	return fmt.Errorf("JSON: %s at byte %d", what, s.at)
}

// peek returns the next byte, or 0 at the end. A zero byte begins nothing in
// JSON, so the two need not be told apart.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// value reads one value, which is at depth if it is an object or an array.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		_, err := s.object(depth, false)
		return err
	case c == '[':
		return s.array(depth)
	case c == '"':
		return s.str()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return s.fail("no value")
}

// object reads an object. It returns its members if keep is set.
func (s *scanner) object(depth int, keep bool) ([]member, error) {
	if depth > maxDepth {
		return nil, s.fail("too deep")
	}
	var members []member
	if keep {
		members = make([]member, 0, cap(s.names))
	}
	first := len(s.names)
	s.at++
	for s.space(); s.peek() != '}'; s.space() {
		if len(s.names) > first {
			if s.peek() != ',' {
				return nil, s.fail("no comma or closing brace")
			}
			s.at++
			s.space()
		}
		name, err := s.name(first)
		if err != nil {
			return nil, err
		}
		from := s.at
		if err := s.value(depth + 1); err != nil {
			return nil, err
		}
		if keep {
			members = append(members, member{name, s.text[from:s.at]})
		}
	}
	s.at++
	s.names = s.names[:first]
	return members, nil
}

// name reads the name of a member, the colon, and the space around it. The
// names of the same object begin at s.names[first].
func (s *scanner) name(first int) ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.fail("no name")
	}
	from := s.at
	if err := s.str(); err != nil {
		return nil, err
	}
	name := unquote(s.text[from:s.at])
	for _, other := range s.names[first:] {
		if bytes.Equal(name, other) {
			return nil, s.fail("a second member of the same name")
		}
	}
	if len(s.names)-first == maxMembers {
		return nil, s.fail("too many members")
	}
	s.names = append(s.names, name)
	if s.space(); s.peek() != ':' {
		return nil, s.fail("no colon")
	}
	s.at++
	s.space()
	return name, nil
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return s.fail("too deep")
	}
	s.at++
	for first := true; ; first = false {
		s.space()
		if s.peek() == ']' {
			s.at++
			return nil
		}
		if !first {
			if s.peek() != ',' {
				return s.fail("no comma or closing bracket")
			}
			s.at++
			s.space()
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return s.fail("no digit")
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return s.fail("no digit")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return s.fail("no digit")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > from
}

// str reads a string with its quotes.
func (s *scanner) str() error {
	s.at++
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return s.fail("a control character")
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRune(s.text[s.at:])
			if r == utf8.RuneError && n == 1 {
				return s.fail("no UTF-8")
			}
			s.at += n
		}
	}
	return s.fail("no end of a string")
}

func (s *scanner) escape() error {
	s.at++
	c := s.peek()
	if c != 'u' {
		if c == 0 || strings.IndexByte(`"\/bfnrt`, c) < 0 {
			return s.fail("no such escape")
		}
		s.at++
		return nil
	}
	r, ok := hex4(s.text[s.at:])
	if !ok {
		return s.fail("no four hexadecimal digits")
	}
	s.at += 5
	if !utf16.IsSurrogate(r) {
		return nil
	}
	if s.peek() == '\\' {
		if low, ok := hex4(s.text[s.at+1:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			s.at += 6
			return nil
		}
	}
	return s.fail("half a surrogate pair")
}

// hex4 reads the u and four digits of an escape.
func hex4(b []byte) (rune, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	n := rune(0)
	for _, c := range b[1:5] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		n = n<<4 | rune(c)
	}
	return n, true
}

// unquote returns what a string that str has read stands for. Without escapes
// that is a part of the text itself.
func unquote(quoted []byte) []byte {
	in := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return in
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		if in[i] != '\\' {
			out = append(out, in[i])
			i++
			continue
		}
		if in[i+1] != 'u' {
			out = append(out, unescape(in[i+1]))
			i += 2
			continue
		}
		r, _ := hex4(in[i+1:])
		i += 6
		if utf16.IsSurrogate(r) {
			low, _ := hex4(in[i+1:])
			r = utf16.DecodeRune(r, low)
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // '"', '\\', '/'
}
