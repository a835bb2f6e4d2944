package compact

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
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
	usualMember, manyMembers = 20, 32
)

// A scanner walks once over a JSON text and checks its grammar.
type scanner struct {
	text []byte
	at   int
	// members are those found so far, each with those of its value behind it. Of
	// what is in an array they are there only as long as their object is open.
	members []member
	written names
	arrays  int // open ones
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
	case c == '"':
		_, err := s.str()
		return err
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
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

func (s *scanner) object(depth int) error {
	if depth > maxDepth {
		return s.fail("too deep")
	}
	o := opened{first: len(s.members)}
	s.at++
	for {
		if more, err := s.member(&o, depth); err != nil {
			return err
		} else if !more {
			break
		}
	}
	if s.arrays > 0 {
		s.members = s.members[:o.first]
	}
	return nil
}

// An opened object is one whose members are being read.
type opened struct {
	first int    // of the members of all objects
	n     int    // how many it has so far
	seen  uint64 // the sketch of each name
}

// member reads one more member of an object at depth, or the end of it.
func (s *scanner) member(o *opened, depth int) (more bool, err error) {
	if s.space(); s.peek() == '}' {
		s.at++
		return false, nil
	}
	if o.n > 0 {
		if s.peek() != ',' {
			return false, s.fail("no comma or closing brace")
		}
		s.at++
		s.space()
	}
	if err := s.name(o); err != nil {
		return false, err
	}
	here, from := len(s.members)-1, s.at
	if err := s.value(depth + 1); err != nil {
		return false, err
	}
	m := &s.members[here]
	m.from, m.to, m.inner = uint32(from), uint32(s.at), uint32(len(s.members)-1-here)
	return true, nil
}

// name reads the name of a member, the colon, and the space around it.
func (s *scanner) name(o *opened) error {
	if s.peek() != '"' {
		return s.fail("no name")
	}
	from := s.at + 1
	escaped, err := s.str()
	if err != nil {
		return err
	}
	m := member{nameFrom: uint32(from), nameTo: uint32(s.at - 1)}
	if escaped {
		s.written = append(s.written, unescape(s.text[from:s.at-1]))
		m.escaped = uint32(len(s.written))
	}
	name := s.written.of(&m, s.text)
	bit := sketch(name)
	for i := o.first; o.seen&bit != 0 && i < len(s.members); i += 1 + int(s.members[i].inner) {
		if is(s.written, &s.members[i], s.text, name) {
			return s.fail("a second member of the same name")
		}
	}
	if o.n == maxMembers {
		return s.fail("too many members")
	}
	s.members = append(s.members, m)
	o.n++
	o.seen |= bit
	if s.space(); s.peek() != ':' {
		return s.fail("no colon")
	}
	s.at++
	s.space()
	return nil
}

// sketch returns one bit that a name sets. Most names set different ones, so that
// they need not be compared.
func sketch(name []byte) uint64 {
	n := len(name)
	if n == 0 {
		return 1
	}
	return 1 << ((uint(name[0]) + 3*uint(name[n-1]) + 5*uint(n)) % 64)
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return s.fail("too deep")
	}
	s.arrays++
	s.at++
	for first := true; ; first = false {
		s.space()
		if s.peek() == ']' {
			s.at++
			s.arrays--
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

// str reads a string with its quotes, and reports whether it has escapes.
func (s *scanner) str() (escaped bool, err error) {
	s.at = plain(s.text, s.at+1)
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return false, err
			}
		case c < ' ':
			return false, s.fail("a control character")
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRune(s.text[s.at:])
			if r == utf8.RuneError && n == 1 {
				return false, s.fail("no UTF-8")
			}
			s.at += n
		}
	}
	return false, s.fail("no end of a string")
}

// plain returns the first place from at on, or one before it that is less than
// eight bytes from the end, where a byte is not a printable ASCII character other
// than a quote or a backslash. It looks at eight bytes at a time: the highest bit
// of a byte is set in
//
//	(x-n) &^ x       if the byte of x is below n (at most 0x80), as long as those
//	                 before it are not;
//	x                if it is 0x80 or above.
func plain(text []byte, at int) int {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	for ; at+8 <= len(text); at += 8 {
		x := binary.LittleEndian.Uint64(text[at:])
		quote, backslash := x^ones*'"', x^ones*'\\'
		found := ((quote-ones)&^quote | (backslash-ones)&^backslash | (x-ones*' ')&^x | x) & highest
		if found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
	}
	return at
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
	return unescape(in)
}

// unescape returns what the inside of a string with escapes stands for.
func unescape(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		if in[i] != '\\' {
			out = append(out, in[i])
			i++
			continue
		}
		if in[i+1] != 'u' {
			out = append(out, meaning(in[i+1]))
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

// meaning is what a letter behind a backslash stands for.
func meaning(c byte) byte {
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
