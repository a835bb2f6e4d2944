// Package escalation keeps users from giving out permissions that they do not
// have themselves, by writing roles and bindings.
//
// It has the rules of Kubernetes (upstream pkg/registry/rbac) in one type, the
// [Guard], which the Kubernetes API asks before it stores a role or a binding.
//
// It refuses with a status of the Kubernetes API that lists what is missing.
// Permissions that come from elsewhere than RBAC do not count as own ones.
package escalation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-helpers/auth/rbac/validation"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// all stands for every verb, API group, resource, or path in a rule.
const all = "*"

// A Policy knows rules. The index of package rbac is one; who needs a role right after it was
// written wraps it with RoleRules that reads the store.
type Policy interface {
	// Rules returns the rules that a user has, and an error that says which
	// could not be found.
	Rules(user *identity.Identity, namespace string) ([]rbacv1.PolicyRule, error)
	// RoleRules returns the rules of the role that a binding refers to.
	RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error)
}

// A Guard says who may write which role or binding.
// Members of system:masters may write all of them, and so may who is allowed
// the verb escalate on the role, or bind on the role that is referred to.
// Others need every permission themselves, by RBAC and nothing else.
//
// All errors are statuses of the Kubernetes API, ready to be returned.
type Guard struct {
	Authorizer authz.Authorizer
	Policy     Policy
}

// A Write is the request that writes a role or a binding.
type Write struct {
	User *identity.Identity
	// Namespace is empty for cluster roles and their bindings.
	Namespace string
	// Name is that in the path of the request: empty for a POST.
	Name string
}

// CheckRole says whether a Role may be written. Old is nil if it is new.
func (g *Guard) CheckRole(ctx context.Context, w Write, old, role *rbacv1.Role) error {
	if old != nil && onlyCollected(old, role) || g.mayEscalate(ctx, w, "roles") {
		return nil
	}
	return forbid("roles", role.Name, g.covered(w, role.Rules))
}

// CheckClusterRole says whether a ClusterRole may be written. Old is nil if it
// is new. Having an aggregation rule, before or after, needs all permissions,
// because it can gather any.
func (g *Guard) CheckClusterRole(ctx context.Context, w Write, old, role *rbacv1.ClusterRole) error {
	w.Namespace = ""
	if old != nil && onlyCollected(old, role) || g.mayEscalate(ctx, w, "clusterroles") {
		return nil
	}
	if err := g.covered(w, role.Rules); err != nil {
		return forbid("clusterroles", role.Name, err)
	}
	if !aggregates(role) && (old == nil || !aggregates(old)) {
		return nil
	}
	everything := []rbacv1.PolicyRule{
		{Verbs: []string{all}, APIGroups: []string{all}, Resources: []string{all}},
		{Verbs: []string{all}, NonResourceURLs: []string{all}},
	}
	if g.covered(w, everything) != nil {
		return forbid("clusterroles", role.Name,
			errors.New("must have cluster-admin privileges to use the aggregationRule"))
	}
	return nil
}

func aggregates(r *rbacv1.ClusterRole) bool {
	return r.AggregationRule != nil && len(r.AggregationRule.ClusterRoleSelectors) > 0
}

// CheckRoleBinding says whether a RoleBinding may be written. Old is nil if it
// is new. A role that does not exist is NotFound.
func (g *Guard) CheckRoleBinding(ctx context.Context, w Write, old, b *rbacv1.RoleBinding) error {
	if old != nil && onlyCollected(old, b) {
		return nil
	}
	return g.checkReference(ctx, w, "rolebindings", b.Name, b.RoleRef)
}

// CheckClusterRoleBinding is [Guard.CheckRoleBinding] for a ClusterRoleBinding.
func (g *Guard) CheckClusterRoleBinding(ctx context.Context, w Write, old, b *rbacv1.ClusterRoleBinding) error {
	w.Namespace = ""
	if old != nil && onlyCollected(old, b) {
		return nil
	}
	return g.checkReference(ctx, w, "clusterrolebindings", b.Name, b.RoleRef)
}

func (g *Guard) checkReference(ctx context.Context, w Write, resource, name string, ref rbacv1.RoleRef) error {
	if w.User.InGroup(identity.GroupMasters) || g.mayBind(ctx, w, ref) {
		return nil
	}
	rules, err := g.Policy.RoleRules(ref, w.Namespace)
	if err != nil {
		return err
	}
	return forbid(resource, name, g.covered(w, rules))
}

func (g *Guard) mayEscalate(ctx context.Context, w Write, resource string) bool {
	return w.User.InGroup(identity.GroupMasters) || g.allowed(ctx, &authz.Attributes{
		User:       w.User,
		Verb:       "escalate",
		IsResource: true,
		APIGroup:   rbacv1.GroupName,
		APIVersion: all,
		Resource:   resource,
		Namespace:  w.Namespace,
		Name:       w.Name,
	})
}

// mayBind asks in the namespace of the binding, so that binding one cluster
// role can be allowed in one namespace.
func (g *Guard) mayBind(ctx context.Context, w Write, ref rbacv1.RoleRef) bool {
	resource := "roles"
	switch ref.Kind {
	case "Role":
	case "ClusterRole":
		resource = "clusterroles"
	default:
		return false
	}
	return g.allowed(ctx, &authz.Attributes{
		User:       w.User,
		Verb:       "bind",
		IsResource: true,
		APIGroup:   ref.APIGroup,
		APIVersion: all,
		Resource:   resource,
		Namespace:  w.Namespace,
		Name:       ref.Name,
	})
}

// allowed ignores errors: without an opinion there is still the user's own
// rules to be looked at, and those decide.
func (g *Guard) allowed(ctx context.Context, a *authz.Attributes) bool {
	answer, _ := g.Authorizer.Authorize(ctx, a)
	return answer.Verdict == authz.Allow
}

// covered returns an error with upstream's text if rules allow something that
// the rules of the user do not.
func (g *Guard) covered(w Write, rules []rbacv1.PolicyRule) error {
	own, lookup := g.Policy.Rules(w.User, w.Namespace)
	ok, lacking := validation.Covers(own, rules)
	if ok {
		return nil
	}
	var lines []string
	for _, r := range compact(lacking) {
		lines = append(lines, describe(&r))
	}
	slices.Sort(lines)
	text := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		w.User.Name, w.User.Groups, strings.Join(slices.Compact(lines), "\n"))
	if lookup != nil {
		text += fmt.Sprintf("; resolution errors: %v", []error{lookup})
	}
	return errors.New(text)
}

func forbid(resource, name string, err error) error {
	if err == nil {
		return nil
	}
	return apierrors.NewForbidden(rbacv1.Resource(resource), name, err)
}

// compact joins the verbs of rules for the same one resource without names.
func compact(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	at := map[[2]string]int{}
	for _, r := range rules {
		if len(r.Resources) != 1 || len(r.APIGroups) != 1 || len(r.ResourceNames)+len(r.NonResourceURLs) > 0 {
			out = append(out, r)
			continue
		}
		k := [2]string{r.APIGroups[0], r.Resources[0]}
		if i, ok := at[k]; ok {
			out[i].Verbs = append(out[i].Verbs, r.Verbs...)
			continue
		}
		at[k] = len(out)
		r.Verbs = slices.Clone(r.Verbs)
		out = append(out, r)
	}
	return out
}

// describe writes a rule as kubectl users know it from upstream's errors.
func describe(r *rbacv1.PolicyRule) string {
	var parts []string
	for _, field := range []struct {
		name   string
		values []string
	}{
		{"APIGroups", r.APIGroups},
		{"Resources", r.Resources},
		{"NonResourceURLs", r.NonResourceURLs},
		{"ResourceNames", r.ResourceNames},
		{"Verbs", r.Verbs},
	} {
		if len(field.values) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", field.name, field.values))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// object is what every role and binding is.
type object interface {
	metav1.Object
	runtime.Object
}

// onlyCollected reports whether an update changes nothing but what the garbage
// collector changes to get rid of an object. It does not hold what the roles
// that it has to do with allow.
func onlyCollected(old, updated object) bool {
	like := updated.DeepCopyObject().(object)
	like.SetOwnerReferences(old.GetOwnerReferences())
	like.SetFinalizers(old.GetFinalizers())
	like.SetSelfLink(old.GetSelfLink())
	return equality.Semantic.DeepEqual(like, old)
}
