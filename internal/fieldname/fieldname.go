// Package fieldname compares names of HTTP header fields as the most careless
// server does that a request may be passed on to.
//
// The one idea: two names are the same if some server takes the one for the
// other, so letter case does not count, and an underscore is a hyphen (CGI and
// WSGI, and what grew from them, cannot tell these apart). It is for removing
// what a caller must not send, never for reading what he may.
package fieldname

import (
	"net/http"
	"strings"
)

// Equal reports whether a and b are the same name.
func Equal(a, b string) bool { return len(a) == len(b) && HasPrefix(a, b) }

// HasPrefix reports whether name begins with prefix.
func HasPrefix(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if fold(name[i]) != fold(prefix[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// Remove removes from h the fields whose names match.
func Remove(h http.Header, match func(name string) bool) {
	for name := range h {
		if match(name) {
			delete(h, name)
		}
	}
}

// Unlist removes from the Connection field the names that match. A field that
// is named there ends at the next hop (RFC 9110 section 7.6.1): a caller who
// names one that we set makes a careful proxy behind us drop it.
func Unlist(h http.Header, match func(name string) bool) {
	values, found := h["Connection"], false
	for _, v := range values {
		for option := range strings.SplitSeq(v, ",") {
			found = found || match(strings.TrimSpace(option))
		}
	}
	if !found {
		return
	}
	var kept []string
	for _, v := range values {
		for option := range strings.SplitSeq(v, ",") {
			if option = strings.TrimSpace(option); option != "" && !match(option) {
				kept = append(kept, option)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}
