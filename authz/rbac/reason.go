package rbac

import (
	"fmt"
	"slices"
	"strconv"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// usualReason is the room, in bytes, that nearly every reason fits into.
const usualReason = 160

// String is the reason of a request that g allows, in upstream's words. Reviews
// and audit events ask for it on every request.
func (g *grant) String() string {
	b := g.binding
	text := append(make([]byte, 0, usualReason), "RBAC: allowed by "...)
	if b.namespace == "" {
		text = appendNamed(text, "ClusterRoleBinding", b.name, "")
	} else {
		text = appendNamed(text, "RoleBinding", b.name, b.namespace)
	}
	text = appendNamed(append(text, " of "...), b.role.kind, b.role.name, "")
	text = append(text, " to "...)
	s := &b.subjects[g.subject]
	switch {
	case s.Kind != rbacv1.ServiceAccountKind:
		text = appendNamed(text, s.Kind, s.Name, "")
	case s.Namespace == "":
		text = appendNamed(text, s.Kind, s.Name, b.namespace)
	default:
		text = appendNamed(text, s.Kind, s.Name, s.Namespace)
	}
	return string(text)
}

// appendNamed appends a kind and a quoted name, which ends in a slash and the
// namespace if there is one.
func appendNamed(text []byte, kind, name, namespace string) []byte {
	text = append(append(text, kind...), ' ')
	if namespace != "" {
		name += "/" + namespace
	}
	return strconv.AppendQuote(text, name)
}

// missing are roles that were met and do not exist, by set.
type missing [][]*role

// String is the reason of a denial, in upstream's words: the errors of all
// roles, each once.
func (m missing) String() string { return fmt.Sprintf("RBAC: %v", m.err()) }

// err returns an error that has the errors of all roles, or nil.
func (m missing) err() error {
	var errs []error
	for _, roles := range m {
		for _, r := range slices.SortedFunc(slices.Values(roles), (*role).compare) {
			errs = append(errs, r.notFound())
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return utilerrors.NewAggregate(errs)
}

// notFound returns the error that an informer's cache gives upstream.
func (r *role) notFound() error {
	switch r.kind {
	case kindRole:
		return apierrors.NewNotFound(rbacv1.Resource("role"), r.name)
	case kindClusterRole:
		return apierrors.NewNotFound(rbacv1.Resource("clusterrole"), r.name)
	default:
		return unsupportedKind(r.kind)
	}
}

func unsupportedKind(kind string) error {
	return fmt.Errorf("unsupported role reference kind: %q", kind)
}
