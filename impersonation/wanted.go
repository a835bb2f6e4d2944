package impersonation

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/fieldname"
)

// Names of the header fields (k8s.io/api authentication/v1), as a server writes
// them in requests.
const (
	anyField    = "Impersonate-"
	userField   = "Impersonate-User"
	uidField    = "Impersonate-Uid"
	groupField  = "Impersonate-Group"
	extraPrefix = "Impersonate-Extra-"
)

// A Wanted is whom a request asks to act as: what its headers say, and nothing
// that follows from it.
type Wanted struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// nameOnly reports whether w asks for nothing but a name.
func (w *Wanted) nameOnly() bool { return w.UID == "" && len(w.Groups) == 0 && len(w.Extra) == 0 }

// Read returns whom h asks to act as, or nil if h asks for nothing of the kind,
// which costs next to nothing to find out. The error is an [*authn.Refusal],
// whose cause is for the caller: the request must be answered with 400 and not be
// served.
func Read(h http.Header) (*Wanted, error) {
	asked := false
	var extra []string
	for name := range h {
		if !Claims(name) {
			continue
		}
		asked = true
		switch {
		case name == userField, name == uidField, name == groupField:
		case strings.HasPrefix(name, extraPrefix):
			extra = append(extra, name)
		default:
			return nil, misread(fmt.Errorf("the header %q is not known: remove it, or correct its name", name),
				"header "+name, "one that is not known", "one of "+authn.List([]string{userField, uidField, groupField, extraPrefix + "*"}))
		}
	}
	if !asked {
		return nil, nil
	}
	return read(h, extra)
}

// read reads the fields of h, whose attributes are in the fields extra.
func read(h http.Header, extra []string) (*Wanted, error) {
	for _, field := range []string{userField, uidField} {
		if len(h[field]) > 1 {
			return nil, misread(fmt.Errorf("the header %s is given %d times: give it once", field, len(h[field])),
				"header "+field, fmt.Sprintf("%d of them", len(h[field])), "one")
		}
	}
	w := &Wanted{Name: h.Get(userField), UID: h.Get(uidField), Groups: slices.Clone(h[groupField])}
	if w.Name == "" {
		return nil, misread(fmt.Errorf("requested impersonation without impersonating a user name: give the header %s a value", userField),
			"header "+userField, "no value", "the name of a user")
	}
	slices.Sort(extra) // two names may be one key, and a map has no order
	for _, field := range extra {
		if len(h[field]) == 0 {
			continue
		}
		if w.Extra == nil {
			w.Extra = make(map[string][]string)
		}
		key := decodeKey(field[len(extraPrefix):])
		w.Extra[key] = append(w.Extra[key], h[field]...)
	}
	if !w.valid() {
		return nil, misread(fmt.Errorf("the headers %s* are not UTF-8", anyField), "headers "+anyField+"*", "other bytes", "UTF-8")
	}
	return w, nil
}

// Method stands for the headers among the kinds of credential.
const Method identity.Method = "Impersonation"

// misread returns err with what it is about.
func misread(err error, what, got, want string) error {
	return &authn.Refusal{Method: Method, Cause: err, Facts: authn.Facts{
		Kind: authn.Malformed, Checks: []authn.Check{{What: what, Got: got, Want: want}},
		Mend: "have the client send the headers as kubectl --as, --as-uid, --as-group and --as-user-extra do, or none that begins with " + anyField,
	}}
}

// valid reports whether all of w is text. Nothing else can be written down
// faithfully, so that two users could have one name in audit events and in what
// webhooks are asked.
func (w *Wanted) valid() bool {
	bad := func(s string) bool { return !utf8.ValidString(s) }
	if bad(w.Name) || bad(w.UID) || slices.ContainsFunc(w.Groups, bad) {
		return false
	}
	for key, values := range w.Extra {
		if bad(key) || slices.ContainsFunc(values, bad) {
			return false
		}
	}
	return true
}

// decodeKey returns the key of an extra attribute, which is in lower case and
// percent-encoded. One that cannot be decoded stands for itself, as in
// Kubernetes.
func decodeKey(encoded string) string {
	encoded = strings.ToLower(encoded)
	key, err := url.PathUnescape(encoded)
	if err != nil {
		return encoded
	}
	return key
}

// Claims reports whether some server may take a field of this name for one that
// asks to act as somebody else.
func Claims(name string) bool { return fieldname.HasPrefix(name, anyField) }

// Remove removes from h everything that [Read] looks at, in every spelling.
func Remove(h http.Header) { fieldname.Remove(h, Claims) }
