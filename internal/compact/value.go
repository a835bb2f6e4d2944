package compact

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A Value is that of one member of an object. Only whether it is there may be asked
// of one that is not.
type Value struct {
	of     *Object
	i, end int // where it is among the members, and where the walk ends
}

// There reports whether there is such a member, or the walk has come to an end.
func (v Value) There() bool { return v.i < v.end }

// Next returns the value of the member behind that one.
func (v Value) Next() Value { return Value{v.of, v.behind(), v.end} }

// behind returns where the members of the value itself end.
func (v Value) behind() int { return v.i + 1 + int(v.of.members[v.i].inner) }

// Name returns the name of the member. The caller must not change it.
func (v Value) Name() []byte { return v.of.name(v.i) }

// is says what a value is instead of what it should be.
func (v Value) is(what string) error { return fmt.Errorf("%q is %s", string(v.Name()), what) }

// Raw returns the JSON text. The caller must not change it.
func (v Value) Raw() []byte {
	m := &v.of.members[v.i]
	return v.of.text[m.from:m.to]
}

// Text returns what a string stands for. The caller must not change it. Anything
// but a string is an error, null too.
func (v Value) Text() ([]byte, error) {
	raw := v.Raw()
	if raw[0] != '"' {
		return nil, v.is("not a string")
	}
	return unquote(raw), nil
}

// Strings returns the strings of an array, or the single one that is there instead
// of it. Anything else is an error. Who keeps one of them keeps all of the array.
func (v Value) Strings() ([]string, error) {
	raw := v.Raw()
	all, shared := make([]string, 0, 1+bytes.Count(raw, []byte{','})), string(raw)
	err := v.eachString(func(from, to int, escaped bool) {
		if escaped {
			all = append(all, string(unescape(raw[from:to])))
		} else {
			all = append(all, shared[from:to])
		}
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// StringsLike is Strings, and returns usual itself if those are the strings, as
// they are written.
func (v Value) StringsLike(usual []string) ([]string, error) {
	raw, n, like := v.Raw(), 0, true
	err := v.eachString(func(from, to int, escaped bool) {
		like = like && n < len(usual) && !escaped && usual[n] == string(raw[from:to])
		n++
	})
	if err == nil && like && n == len(usual) {
		return usual, nil
	}
	return v.Strings()
}

// HasAny reports whether one of wanted is among the strings, which are those that
// [Value.Strings] returns, with the same errors.
func (v Value) HasAny(wanted []string) (bool, error) {
	raw, found := v.Raw(), false
	err := v.eachString(func(from, to int, escaped bool) {
		text := raw[from:to]
		if escaped {
			text = unescape(text)
		}
		found = found || slices.ContainsFunc(wanted, func(one string) bool { return one == string(text) })
	})
	return found && err == nil, err
}

// eachString calls see for the strings, with where they are in the value, without
// the quotes, and whether they have escapes.
func (v Value) eachString(see func(from, to int, escaped bool)) error {
	s := scanner{text: v.Raw()}
	switch s.peek() {
	case '"':
		escaped, err := s.str()
		see(1, s.at-1, escaped)
		return err
	case '[':
	default:
		return v.is("neither a string nor an array of strings")
	}
	s.at++
	for s.space(); s.peek() != ']'; s.space() {
		if s.peek() == ',' {
			s.at++
			s.space()
		}
		if s.peek() != '"' {
			return v.is("not an array of strings")
		}
		begin := s.at + 1
		escaped, err := s.str()
		if err != nil {
			return err
		}
		see(begin, s.at-1, escaped)
	}
	return nil
}

// maxTime is the last second of the year 9999, after which a time has no usual
// text. It has no more than maxDigits.
const maxTime, maxDigits = 253402300799, 12

// Time returns a NumericDate (RFC 7519 section 2), cut to whole seconds. Anything
// but a number between the years 1970 and 9999 is an error.
func (v Value) Time() (time.Time, error) {
	raw := v.Raw()
	if whole, ok := wholeNumber(raw); ok && whole <= maxTime {
		return time.Unix(whole, 0), nil // as nearly all are
	}
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return time.Time{}, v.is("not a number")
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, v.is("not a time between the years 1970 and 9999")
	}
	return time.Unix(int64(seconds), 0), nil
}

// wholeNumber returns the number that a few digits, and nothing else, stand for.
func wholeNumber(text []byte) (n int64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(text) <= maxDigits
}

// Object returns an object. Anything else is an error.
func (v Value) Object() (Object, error) {
	first, err := v.Inner()
	if err != nil {
		return Object{}, err
	}
	o := *v.of
	o.members = o.members[first.i:first.end]
	return o, nil
}

// Inner returns the value of the first member of an object, as [Object.First] does.
// Anything else is an error.
func (v Value) Inner() (Value, error) {
	if v.Raw()[0] != '{' {
		return Value{}, v.is("not an object")
	}
	return Value{v.of, v.i + 1, v.behind()}, nil
}
