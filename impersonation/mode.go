package impersonation

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"

	"gatehouse.dev/gatehouse/identity"
)

const (
	nodePrefix = "system:node:"
	nodesGroup = "system:nodes"

	associatedNode = "associated-node"
	legacy         = "legacy"
)

// A mode is one way to be allowed to act as somebody.
type mode struct {
	name string
	// fits reports whether the mode is for this kind of user and caller. What
	// it does not fit it says nothing about.
	fits func(want *Wanted, caller *identity.Identity) bool
}

// modes returns all modes in the order of Kubernetes (k8s.io/apiserver
// pkg/endpoints/filters/impersonation/mode.go). The last fits everything.
func modes() []mode {
	return []mode{
		{associatedNode, func(want *Wanted, caller *identity.Identity) bool {
			node, ok := nodeOf(want.Name)
			return ok && want.nameOnly() && node == nodeUnder(caller)
		}},
		{"arbitrary-node", func(want *Wanted, _ *identity.Identity) bool {
			_, ok := nodeOf(want.Name)
			return ok && want.nameOnly()
		}},
		{"serviceaccount", func(want *Wanted, _ *identity.Identity) bool {
			_, _, ok := serviceAccountOf(want.Name)
			return ok && want.nameOnly()
		}},
		{"user-info", func(want *Wanted, _ *identity.Identity) bool {
			_, node := nodeOf(want.Name)
			_, _, account := serviceAccountOf(want.Name)
			return !node && !account
		}},
		{legacy, func(*Wanted, *identity.Identity) bool { return true }},
	}
}

// constrained reports whether the mode is one of KEP-5284.
func (m *mode) constrained() bool { return m.name != legacy }

// verb is what a caller has to be allowed on whom he acts as.
func (m *mode) verb() string {
	if m.constrained() {
		return "impersonate:" + m.name
	}
	return "impersonate"
}

// nodeOf returns the name of the node that a user name is of.
func nodeOf(user string) (string, bool) {
	name, ok := strings.CutPrefix(user, nodePrefix)
	if !ok || len(validation.NameIsDNSSubdomain(name, false)) > 0 {
		return "", false
	}
	return name, true
}

// nodeUnder returns the name of the node that a service account's pod runs on,
// as its token says, or "".
func nodeUnder(caller *identity.Identity) string {
	if _, _, ok := serviceAccountOf(caller.Name); !ok {
		return ""
	}
	if names := caller.Extra[identity.NodeNameKey]; len(names) == 1 {
		return names[0]
	}
	return ""
}

// serviceAccountOf returns the service account that a user name is of.
func serviceAccountOf(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, identity.ServiceAccountPrefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	if !ok || len(validation.ValidateNamespaceName(namespace, false)) > 0 || len(validation.ValidateServiceAccountName(name, false)) > 0 {
		return "", "", false
	}
	return namespace, name, true
}
