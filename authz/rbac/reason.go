package rbac

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// String is the reason of a request that g allows, in upstream's words.
func (g *grant) String() string {
	b := g.binding
	kind, name := "ClusterRoleBinding", b.name
	if b.namespace != "" {
		kind, name = "RoleBinding", b.name+"/"+b.namespace
	}
	return fmt.Sprintf("RBAC: allowed by %s %q of %s %q to %s",
		kind, name, b.role.kind, b.role.name, g.describeSubject())
}

func (g *grant) describeSubject() string {
	s := &g.binding.subjects[g.subject]
	if s.Kind != rbacv1.ServiceAccountKind {
		return fmt.Sprintf("%s %q", s.Kind, s.Name)
	}
	namespace := s.Namespace
	if namespace == "" {
		namespace = g.binding.namespace
	}
	return fmt.Sprintf("%s %q", s.Kind, s.Name+"/"+namespace)
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
