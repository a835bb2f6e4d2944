package main

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/bench/upstream"
	"gatehouse.dev/gatehouse/identity"
)

// The targets of a decision, at every size.
const (
	allowedTarget = 500 * time.Nanosecond
	deniedTarget  = time.Microsecond
)

// A shape is a way for n bindings to be.
type shape struct {
	name    string
	user    *identity.Identity
	objects func(n int) rbac.Objects
	// judged shapes have the targets; the cost of the others grows with
	// something else than the bindings.
	judged bool
}

func shapes() []shape {
	ann := &identity.Identity{Name: "user7", Groups: []string{"dev", "ops", "eu", "staff", "system:authenticated"}}
	many := &identity.Identity{Name: "user7"}
	for i := range 200 {
		many.Groups = append(many.Groups, fmt.Sprint("group", i))
	}
	return []shape{
		{"a binding for each user", ann, perUser, true},
		{"all in one namespace", ann, oneNamespace, true},
		{"all of one role to everybody", ann, func(n int) rbac.Objects { return everybody(n, false) }, true},
		{"each of its own role to everybody", ann, func(n int) rbac.Objects { return everybody(n, true) }, true},
		{"caller in 200 bound groups", many, perGroup, false},
	}
}

// decisions compares one decision at three sizes.
func decisions(t *measure.Table) error {
	for _, s := range shapes() {
		t.Section("One RBAC decision, " + s.name + " (upstream: scan of the informers' lists)")
		for _, n := range []int{10, 1000, 100_000} {
			if err := decision(t, s, n); err != nil {
				return fmt.Errorf("%s, %d bindings: %w", s.name, n, err)
			}
		}
	}
	return nil
}

func decision(t *measure.Table, s shape, n int) error {
	o := s.objects(n)
	index := rbac.New()
	index.Replace(o)
	scan := upstream.NewRBAC(o)
	for _, allowed := range []bool{true, false} {
		a := authz.Attributes{User: s.user, Verb: "get", IsResource: true, APIVersion: "v1", Resource: "pods", Namespace: "default", Name: "web"}
		name, target := fmt.Sprintf("%d bindings, allowed", n), allowedTarget
		if !allowed {
			a.Verb, name, target = "delete", fmt.Sprintf("%d bindings, denied", n), deniedTarget
		}
		if !s.judged {
			target = 0
		}
		b := authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: s.user.Name, Groups: s.user.Groups}, Verb: a.Verb, ResourceRequest: true,
			APIVersion: a.APIVersion, Resource: a.Resource, Namespace: a.Namespace, Name: a.Name,
		}
		ctx := context.Background()
		wrong := 0
		ours, theirs, ratio := measure.Both(
			func(n int) {
				for range n {
					if answer, _ := index.Authorize(ctx, &a); (answer.Verdict == authz.Allow) != allowed {
						wrong++
					}
				}
			},
			func(n int) {
				for range n {
					if decision, _, _ := scan.Authorize(ctx, b); (decision == authorizer.DecisionAllow) != allowed {
						wrong++
					}
				}
			})
		if wrong > 0 {
			return fmt.Errorf("%d decisions were wrong", wrong)
		}
		t.Absolute(name, ours, theirs, ratio, target)
	}
	return nil
}

func role(name, verb, resource string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{verb, "list", "watch"}, APIGroups: []string{""}, Resources: []string{resource, resource + "/status"}},
		{Verbs: []string{"get"}, APIGroups: []string{"apps"}, Resources: []string{"deployments", "daemonsets"}},
	}}
}

func bind(i int, role, kind, subject string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("binding%06d", i)},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: kind, APIGroup: rbacv1.GroupName, Name: subject}},
	}
}

func perUser(n int) rbac.Objects {
	o := rbac.Objects{ClusterRoles: []*rbacv1.ClusterRole{role("view", "get", "pods")}}
	for i := range n {
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, bind(i, "view", "User", fmt.Sprint("user", i)))
	}
	return o
}

func oneNamespace(n int) rbac.Objects {
	o := perUser(n)
	for _, b := range o.ClusterRoleBindings {
		local := rbacv1.RoleBinding(*b)
		local.Namespace = "default"
		o.RoleBindings = append(o.RoleBindings, &local)
	}
	o.ClusterRoleBindings = nil
	return o
}

// everybody binds one role to everybody n times, or n roles once. The last one
// is the one that allows.
func everybody(n int, many bool) (o rbac.Objects) {
	for i := range n {
		name, resource := "view", "pods"
		if many {
			name, resource = fmt.Sprintf("view%06d", i), fmt.Sprint("pods", i)
			if i == n-1 {
				resource = "pods"
			}
		}
		if many || i == 0 {
			o.ClusterRoles = append(o.ClusterRoles, role(name, "get", resource))
		}
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, bind(i, name, "Group", "system:authenticated"))
	}
	return o
}

func perGroup(n int) rbac.Objects {
	o := rbac.Objects{ClusterRoles: []*rbacv1.ClusterRole{role("view", "get", "pods"), role("other", "get", "jobs")}}
	for i := range n {
		name := "other"
		if i == min(n, 200)-1 {
			name = "view"
		}
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, bind(i, name, "Group", fmt.Sprint("group", i)))
	}
	return o
}
