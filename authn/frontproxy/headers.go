package frontproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/fieldname"
)

// Headers are the names of the header fields that say who is calling. Case does
// not count.
type Headers struct {
	// Username and UID are looked at in order; the first with a value counts.
	Username, UID []string
	// Groups are those of one group each. All count.
	Groups []string
	// ExtraPrefixes begin the names of fields with extra attributes. The rest
	// of the name is the key, in lower case and percent-encoded.
	ExtraPrefixes []string
}

// Claims reports whether a server may take a field of this name for one of h,
// or for one of those that Kubernetes' own servers look at.
func (h *Headers) Claims(name string) bool {
	if fieldname.HasPrefix(name, "X-Remote-") {
		return true
	}
	for _, names := range [...][]string{h.Username, h.UID, h.Groups} {
		for _, n := range names {
			if fieldname.Equal(name, n) {
				return true
			}
		}
	}
	return slices.ContainsFunc(h.ExtraPrefixes, func(p string) bool { return fieldname.HasPrefix(name, p) })
}

// canonical returns h with its names as a server writes them in requests, or
// what is wrong with one of them.
func (h *Headers) canonical() (Headers, error) {
	var out Headers
	for _, part := range []struct {
		from []string
		to   *[]string
	}{{h.Username, &out.Username}, {h.UID, &out.UID}, {h.Groups, &out.Groups}, {h.ExtraPrefixes, &out.ExtraPrefixes}} {
		for _, name := range part.from {
			if !IsName(name) {
				return Headers{}, fmt.Errorf("%q is not a name of a header field", name)
			}
			*part.to = append(*part.to, http.CanonicalHeaderKey(name))
		}
	}
	if len(out.Username) == 0 {
		return Headers{}, errors.New("no header field for the user name is given")
	}
	return out, nil
}

// IsName reports whether a request can have a header field of this name (RFC
// 9110 section 5.1).
func IsName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// read returns who h says is calling, or nil if it says nothing.
func (n *Headers) read(h http.Header) (*identity.Identity, error) {
	name, err := single(h, n.Username)
	if name == "" || err != nil {
		return nil, err
	}
	uid, err := single(h, n.UID)
	if err != nil {
		return nil, err
	}
	who := &identity.Identity{Name: name, UID: uid}
	for _, field := range n.Groups {
		for _, group := range h[field] {
			if !utf8.ValidString(group) {
				return nil, fmt.Errorf("a group in %s is not UTF-8", field)
			}
			if group != "" {
				who.Groups = append(who.Groups, group)
			}
		}
	}
	who.Groups = identity.WithAuthenticated(name, who.Groups)
	who.Extra, err = n.extra(h)
	return who, err
}

// single returns the value of the first of the fields that has one. Two values
// come from two hands, of which one is not the proxy's.
func single(h http.Header, fields []string) (string, error) {
	for _, field := range fields {
		switch values := h[field]; {
		case len(values) > 1:
			return "", fmt.Errorf("%s is given %d times", field, len(values))
		case len(values) == 0 || values[0] == "":
		case !utf8.ValidString(values[0]):
			return "", fmt.Errorf("%s is not UTF-8", field)
		default:
			return values[0], nil
		}
	}
	return "", nil
}

// extra returns the attributes, those of the first prefix first.
func (n *Headers) extra(h http.Header) (map[string][]string, error) {
	var all map[string][]string
	for _, prefix := range n.ExtraPrefixes {
		var fields []string
		for field := range h {
			if len(field) >= len(prefix) && strings.EqualFold(field[:len(prefix)], prefix) {
				fields = append(fields, field)
			}
		}
		slices.Sort(fields) // two names may be one key, and a map has no order
		for _, field := range fields {
			key := decodeKey(field[len(prefix):])
			if !utf8.ValidString(key) || slices.ContainsFunc(h[field], func(v string) bool { return !utf8.ValidString(v) }) {
				return nil, fmt.Errorf("the key or a value of %s is not UTF-8", field)
			}
			if all == nil {
				all = make(map[string][]string)
			}
			all[key] = append(all[key], h[field]...)
		}
	}
	return all, nil
}

// decodeKey returns the key of an extra attribute. One that cannot be decoded
// stands for itself, as in Kubernetes.
func decodeKey(encoded string) string {
	encoded = strings.ToLower(encoded)
	if !strings.Contains(encoded, "%") {
		return encoded
	}
	key, err := url.PathUnescape(encoded)
	if err != nil {
		return encoded
	}
	return key
}
