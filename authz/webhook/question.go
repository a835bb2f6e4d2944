package webhook

import (
	"maps"
	"slices"
	"strconv"

	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/authz"
)

// key returns the key of a question: of every fact that is sent, each told apart
// from the next by its place or by their number.
func (w *Authorizer) key(a *authz.Attributes) verified.Key {
	room := w.rooms.Get().(*[]string)
	parts := append((*room)[:0], strconv.FormatBool(a.IsResource), a.Verb, a.Namespace, a.APIGroup, a.APIVersion,
		a.Resource, a.Subresource, a.Name, a.Path, a.FieldSelector, a.LabelSelector)
	if u := a.User; u != nil {
		parts = append(parts, "user", u.Name, u.UID)
		parts = append(append(parts, strconv.Itoa(len(u.Groups))), u.Groups...)
		if len(u.Extra) > 0 {
			for _, name := range slices.Sorted(maps.Keys(u.Extra)) {
				values := u.Extra[name]
				parts = append(append(parts, name, strconv.Itoa(len(values))), values...)
			}
		}
	}
	key := w.allowed.Key("SubjectAccessReview", "", parts)
	clear(parts) // it keeps no caller's names
	*room = parts
	w.rooms.Put(room)
	return key
}

// controlled returns the size of what a caller can make large at will.
func controlled(a *authz.Attributes) int {
	return len(a.Namespace) + len(a.Verb) + len(a.APIGroup) + len(a.APIVersion) + len(a.Resource) +
		len(a.Subresource) + len(a.Name) + len(a.Path)
}
