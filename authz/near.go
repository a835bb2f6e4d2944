package authz

import (
	"fmt"
	"strings"
)

// A Dimension is one of the things that a rule and a request agree on, or not.
type Dimension string

// All dimensions, those first where a difference is likeliest to be a slip.
const (
	ByName        Dimension = "resourceName"
	BySubresource Dimension = "subresource"
	ByVerb        Dimension = "verb"
	ByNamespace   Dimension = "namespace"
	ByGroup       Dimension = "apiGroup"
	ByResource    Dimension = "resource"
	ByPath        Dimension = "path"
	// ByRole is a binding to a role that does not exist.
	ByRole Dimension = "role"
)

// A Near is a rule of a caller that would allow a request if one thing were not
// different.
type Near struct {
	// Binding and Role are where the rule comes from, such as
	// `RoleBinding "read" in namespace "x"` and `ClusterRole "reader"`, and
	// Subject is whom of the caller's names and groups it is bound to.
	Binding string `json:"binding"`
	Role    string `json:"role"`
	Subject string `json:"subject"`
	// Differs is the one thing, Has what the rule has for it, and Wants what the
	// request needs.
	Differs Dimension `json:"differs"`
	Has     []string  `json:"has,omitempty"`
	Wants   string    `json:"wants"`
}

// String says in a sentence what is different.
func (n *Near) String() string {
	from := fmt.Sprintf("%s gives %s to %s", n.Binding, n.Role, n.Subject)
	if n.Differs == ByRole {
		return from + ", but there is no such role"
	}
	has, more := n.Has, ""
	if len(has) > maxListed {
		has, more = has[:maxListed], fmt.Sprintf(" and %d more", len(has)-maxListed)
	}
	return fmt.Sprintf("%s, which would allow it but for the %s: it has [%s%s], and the request needs %q",
		from, n.Differs, strings.Join(has, " "), more, n.Wants)
}

// maxListed is how many values of a rule a sentence names.
const maxListed = 12

// A Role is one that would allow a request if it were bound to its user: a
// ClusterRole, or a Role in the namespace that the request is about.
type Role struct{ Kind, Name string }

// A RoleFinder is an authorizer that may decide by roles.
type RoleFinder interface {
	// Roles returns at most so many roles that would allow a request if they were
	// bound to its user, and whether it decides by roles at all. It may look at all
	// roles, and is not for the way of a request.
	Roles(a *Attributes, most int) (roles []Role, ok bool)
}

// Roles returns those of the first member that decides by roles.
func (c *Chain) Roles(a *Attributes, most int) (roles []Role, ok bool) {
	for _, m := range c.rest {
		if finder, is := m.Authorizer.(RoleFinder); is && !ok {
			roles, ok = finder.Roles(a, most)
		}
	}
	return roles, ok
}

// A NearFinder is an authorizer that knows rules which nearly allow a request.
type NearFinder interface {
	// Nearest returns at most so many rules, the likeliest first. It may look at
	// all rules of the caller, and is not for the way of a request.
	Nearest(a *Attributes, most int) []Near
}

// Nearest returns the nearest rules of the members that know theirs.
func (c *Chain) Nearest(a *Attributes, most int) []Near {
	var all []Near
	for _, m := range c.rest {
		if finder, ok := m.Authorizer.(NearFinder); ok && len(all) < most {
			all = append(all, finder.Nearest(a, most-len(all))...)
		}
	}
	return all
}
