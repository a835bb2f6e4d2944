package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	listers "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authz/rbac"
)

// RBAC decides by looking at every binding that could matter, in the lists that
// informers keep (k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/rbac.go and
// pkg/registry/rbac/validation/rule.go).
type RBAC struct {
	roles           listers.RoleLister
	clusterRoles    listers.ClusterRoleLister
	bindings        listers.RoleBindingLister
	clusterBindings listers.ClusterRoleBindingLister
}

// NewRBAC returns an authorizer by the given objects.
func NewRBAC(o rbac.Objects) *RBAC {
	return &RBAC{
		roles:           listers.NewRoleLister(indexer(o.Roles)),
		clusterRoles:    listers.NewClusterRoleLister(indexer(o.ClusterRoles)),
		bindings:        listers.NewRoleBindingLister(indexer(o.RoleBindings)),
		clusterBindings: listers.NewClusterRoleBindingLister(indexer(o.ClusterRoleBindings)),
	}
}

// indexer is the store of an informer.
func indexer[T runtime.Object](objects []T) cache.Indexer {
	x := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for _, o := range objects {
		if err := x.Add(o); err != nil {
			panic(err) // all objects have names
		}
	}
	return x
}

// ConditionsAwareAuthorize is Authorize: RBAC knows no conditions.
func (r *RBAC) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(r.Authorize(ctx, a))
}

// EvaluateConditions is never asked.
func (r *RBAC) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// A search is one decision on its way.
type search struct {
	attributes authorizer.Attributes
	allowed    bool
	reason     string
	errs       []error
}

// Authorize is an authorizer.Authorizer.
func (r *RBAC) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	s := &search{attributes: a}
	r.visit(s)
	if s.allowed {
		return authorizer.DecisionAllow, s.reason, nil
	}
	reason := ""
	if len(s.errs) > 0 {
		reason = fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(s.errs))
	}
	return authorizer.DecisionNoOpinion, reason, nil
}

func (r *RBAC) visit(s *search) {
	all, err := r.clusterBindings.List(labels.Everything())
	if err != nil {
		s.errs = append(s.errs, err)
	}
	for _, b := range all {
		subject := find(b.Subjects, s.attributes.GetUser(), "")
		if subject == nil {
			continue
		}
		rules, err := r.rules(b.RoleRef, "")
		if err != nil {
			s.errs = append(s.errs, err)
			continue
		}
		if s.try(rules, func() string {
			return fmt.Sprintf("ClusterRoleBinding %q of %s %q to %s", b.Name, b.RoleRef.Kind, b.RoleRef.Name, describe(subject, ""))
		}) {
			return
		}
	}
	namespace := s.attributes.GetNamespace()
	if namespace == "" {
		return
	}
	local, err := r.bindings.RoleBindings(namespace).List(labels.Everything())
	if err != nil {
		s.errs = append(s.errs, err)
	}
	for _, b := range local {
		subject := find(b.Subjects, s.attributes.GetUser(), namespace)
		if subject == nil {
			continue
		}
		rules, err := r.rules(b.RoleRef, namespace)
		if err != nil {
			s.errs = append(s.errs, err)
			continue
		}
		if s.try(rules, func() string {
			return fmt.Sprintf("RoleBinding %q of %s %q to %s", b.Name+"/"+namespace, b.RoleRef.Kind, b.RoleRef.Name, describe(subject, namespace))
		}) {
			return
		}
	}
}

func (r *RBAC) rules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		role, err := r.roles.Roles(namespace).Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	case "ClusterRole":
		role, err := r.clusterRoles.Get(ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	}
	return nil, errors.New("unsupported role reference kind: " + ref.Kind)
}

// try looks for a rule that allows, and notes why if there is one.
func (s *search) try(rules []rbacv1.PolicyRule, why func() string) bool {
	for i := range rules {
		if allows(&rules[i], s.attributes) {
			s.allowed, s.reason = true, "RBAC: allowed by "+why()
			return true
		}
	}
	return false
}

func find(subjects []rbacv1.Subject, who user.Info, namespace string) *rbacv1.Subject {
	for i := range subjects {
		s := &subjects[i]
		switch s.Kind {
		case rbacv1.UserKind:
			if s.Name == who.GetName() {
				return s
			}
		case rbacv1.GroupKind:
			if slices.Contains(who.GetGroups(), s.Name) {
				return s
			}
		case rbacv1.ServiceAccountKind:
			at := namespace
			if s.Namespace != "" {
				at = s.Namespace
			}
			if at != "" && isAccount(who.GetName(), at, s.Name) {
				return s
			}
		}
	}
	return nil
}

// isAccount compares without joining the parts, as upstream does.
func isAccount(user, namespace, name string) bool {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return false
	}
	rest, ok = strings.CutPrefix(rest, namespace)
	if !ok {
		return false
	}
	rest, ok = strings.CutPrefix(rest, ":")
	return ok && rest == name
}

func describe(s *rbacv1.Subject, namespace string) string {
	if s.Kind == rbacv1.ServiceAccountKind {
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return fmt.Sprintf("%s %q", s.Kind, s.Name+"/"+namespace)
	}
	return fmt.Sprintf("%s %q", s.Kind, s.Name)
}

func allows(r *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	if !has(r.Verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(r.NonResourceURLs, func(url string) bool {
			return url == "*" || url == a.GetPath() ||
				strings.HasSuffix(url, "*") && strings.HasPrefix(a.GetPath(), strings.TrimRight(url, "*"))
		})
	}
	resource, part := a.GetResource(), a.GetSubresource()
	if part != "" {
		resource += "/" + part
	}
	return has(r.APIGroups, a.GetAPIGroup()) &&
		(has(r.Resources, resource) || part != "" && slices.Contains(r.Resources, "*/"+part)) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.GetName()))
}

func has(list []string, s string) bool {
	for _, one := range list {
		if one == "*" || one == s {
			return true
		}
	}
	return false
}
