package rbac_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"gatehouse.dev/gatehouse/authz"
)

// naive decides as RBAC is documented, by looking at everything. Cluster roles
// and cluster role bindings are those without a namespace.
type naive struct {
	roles    map[[2]string][]rbacv1.PolicyRule
	bindings map[[2]string]*rbacv1.RoleBinding
}

func newNaive() *naive {
	return &naive{map[[2]string][]rbacv1.PolicyRule{}, map[[2]string]*rbacv1.RoleBinding{}}
}

// authorize returns the decision and the reason.
func (n *naive) authorize(a *authz.Attributes) (bool, string) {
	namespaces := []string{""}
	if a.IsResource && a.Namespace != "" {
		namespaces = append(namespaces, a.Namespace)
	}
	var errs []error
	for _, namespace := range namespaces {
		for _, subject := range append([]string{"User " + a.User.Name}, prefixed("Group ", a.User.Groups)...) {
			for _, b := range n.bound(namespace, subject) {
				rules, err := n.rules(b)
				if err != nil {
					errs = append(errs, err)
				}
				for i := range rules {
					if matches(&rules[i], a) {
						return true, "RBAC: allowed by " + describe(b, subject)
					}
				}
			}
		}
	}
	if errs != nil {
		return false, fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(errs))
	}
	return false, ""
}

func prefixed(prefix string, list []string) (out []string) {
	for _, s := range list {
		out = append(out, prefix+s)
	}
	return out
}

// bound returns the bindings of one namespace to a subject, in order.
func (n *naive) bound(namespace, subject string) (out []*rbacv1.RoleBinding) {
	for k, b := range n.bindings {
		if k[0] == namespace && slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool {
			return key(s, namespace) == subject
		}) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *rbacv1.RoleBinding) int {
		return cmp.Or(cmp.Compare(a.RoleRef.Kind, b.RoleRef.Kind),
			cmp.Compare(a.RoleRef.Name, b.RoleRef.Name), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// key returns who a subject is.
func key(s rbacv1.Subject, namespace string) string {
	switch s.Kind {
	case "User", "Group":
		return s.Kind + " " + s.Name
	case "ServiceAccount":
		if namespace = cmp.Or(s.Namespace, namespace); namespace != "" {
			return "User system:serviceaccount:" + namespace + ":" + s.Name
		}
	}
	return ""
}

func (n *naive) rules(b *rbacv1.RoleBinding) ([]rbacv1.PolicyRule, error) {
	k := [2]string{b.Namespace, b.RoleRef.Name}
	switch b.RoleRef.Kind {
	case "ClusterRole":
		k[0] = ""
	case "Role":
		if b.Namespace == "" {
			k[1] = "none"
		}
	default:
		return nil, fmt.Errorf("unsupported role reference kind: %q", b.RoleRef.Kind)
	}
	if rules, ok := n.roles[k]; ok {
		return rules, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource(strings.ToLower(b.RoleRef.Kind)), b.RoleRef.Name)
}

func describe(b *rbacv1.RoleBinding, subject string) string {
	kind, name := "ClusterRoleBinding", b.Name
	if b.Namespace != "" {
		kind, name = "RoleBinding", b.Name+"/"+b.Namespace
	}
	for _, s := range b.Subjects {
		if key(s, b.Namespace) == subject {
			who := s.Name
			if s.Kind == "ServiceAccount" {
				who += "/" + cmp.Or(s.Namespace, b.Namespace)
			}
			return fmt.Sprintf("%s %q of %s %q to %s %q", kind, name, b.RoleRef.Kind, b.RoleRef.Name, s.Kind, who)
		}
	}
	return "nobody"
}

func matches(r *rbacv1.PolicyRule, a *authz.Attributes) bool {
	has := func(list []string, s string) bool { return slices.Contains(list, s) || slices.Contains(list, "*") }
	if !has(r.Verbs, a.Verb) {
		return false
	}
	if !a.IsResource {
		return slices.ContainsFunc(r.NonResourceURLs, func(url string) bool {
			prefix := strings.TrimRight(url, "*")
			return url == a.Path || prefix != url && strings.HasPrefix(a.Path, prefix)
		})
	}
	combined := a.Resource
	if a.Subresource != "" {
		combined += "/" + a.Subresource
	}
	return has(r.APIGroups, a.APIGroup) &&
		(has(r.Resources, combined) || a.Subresource != "" && slices.Contains(r.Resources, "*/"+a.Subresource)) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.Name))
}
