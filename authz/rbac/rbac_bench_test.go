package rbac_test

import (
	"context"
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
)

// A shape is a way for n bindings to be.
type shape struct {
	name    string
	user    *identity.Identity
	objects func(n int) rbac.Objects
}

func shapes() []shape {
	ann := &identity.Identity{Name: "user7", Groups: []string{"dev", "ops", "eu", "staff", "system:authenticated"}}
	many := &identity.Identity{Name: "user7"}
	for i := range 200 {
		many.Groups = append(many.Groups, fmt.Sprint("group", i))
	}
	return []shape{
		{"one_per_user", ann, onePerUser},
		{"one_namespace", ann, oneNamespace},
		{"everybody_one_role", ann, func(n int) rbac.Objects { return everybody(n, false) }},
		{"everybody_many_roles", ann, func(n int) rbac.Objects { return everybody(n, true) }},
		{"200_groups", many, onePerGroup},
	}
}

func rules(verb, resource string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{Verbs: []string{verb, "list", "watch"}, APIGroups: []string{""}, Resources: []string{resource, resource + "/status"}},
		{Verbs: []string{"get"}, APIGroups: []string{"apps"}, Resources: []string{"deployments", "daemonsets"}},
	}
}

func clusterRole(name, verb, resource string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules(verb, resource)}
}

func clusterBinding(i int, role, kind, subject string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("binding%06d", i)},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: kind, APIGroup: rbacv1.GroupName, Name: subject}},
	}
}

func onePerUser(n int) rbac.Objects {
	o := rbac.Objects{ClusterRoles: []*rbacv1.ClusterRole{clusterRole("view", "get", "pods")}}
	for i := range n {
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, clusterBinding(i, "view", "User", fmt.Sprint("user", i)))
	}
	return o
}

func oneNamespace(n int) rbac.Objects {
	o := onePerUser(n)
	for _, b := range o.ClusterRoleBindings {
		local := rbacv1.RoleBinding(*b)
		local.Namespace = "default"
		o.RoleBindings = append(o.RoleBindings, &local)
	}
	o.ClusterRoleBindings = nil
	return o
}

// everybody binds one role to everybody n times, or n roles once.
func everybody(n int, many bool) (o rbac.Objects) {
	for i := range n {
		role, resource := "view", "pods"
		if many {
			role = fmt.Sprint("view", i)
			resource = fmt.Sprint("pods", i)
		}
		if many || i == 0 {
			o.ClusterRoles = append(o.ClusterRoles, clusterRole(role, "get", resource))
		}
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, clusterBinding(i, role, "Group", "system:authenticated"))
	}
	if many {
		o.ClusterRoles = append(o.ClusterRoles[1:], clusterRole("view0", "get", "pods"))
	}
	return o
}

func onePerGroup(n int) rbac.Objects {
	o := rbac.Objects{ClusterRoles: []*rbacv1.ClusterRole{clusterRole("view", "get", "pods"), clusterRole("other", "get", "jobs")}}
	for i := range n {
		role := "other"
		if i == min(n, 200)-1 {
			role = "view"
		}
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, clusterBinding(i, role, "Group", fmt.Sprint("group", i)))
	}
	return o
}

func requests(user *identity.Identity) map[string]*authz.Attributes {
	get := &authz.Attributes{User: user, Verb: "get", IsResource: true, Resource: "pods", Namespace: "default", Name: "web"}
	remove := *get
	remove.Verb = "delete"
	return map[string]*authz.Attributes{"allowed": get, "denied": &remove}
}

// BenchmarkAuthorize is one decision.
func BenchmarkAuthorize(b *testing.B) { benchmark(b, 100_000, indexed) }

// BenchmarkLinearScan is the same as upstream does it.
func BenchmarkLinearScan(b *testing.B) { benchmark(b, 100_000, scanned) }

func benchmark(b *testing.B, most int, load func(rbac.Objects) func(*authz.Attributes) bool) {
	for _, s := range shapes() {
		for _, n := range []int{10, 1000, most} {
			decide := load(s.objects(n))
			for _, verdict := range []string{"allowed", "denied"} {
				a := requests(s.user)[verdict]
				b.Run(fmt.Sprintf("%s/%d/%s", s.name, n, verdict), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if decide(a) != (verdict == "allowed") {
							b.Fatal("wrong decision")
						}
					}
				})
			}
		}
	}
}

func indexed(o rbac.Objects) func(*authz.Attributes) bool {
	x := rbac.New()
	x.Replace(o)
	return func(a *authz.Attributes) bool {
		answer, _ := x.Authorize(context.Background(), a)
		return answer.Verdict == authz.Allow
	}
}

// scanned copies the cached bindings into a slice and looks at the subjects of
// each, then tries the rules of its role.
func scanned(o rbac.Objects) func(*authz.Attributes) bool {
	roles := map[string]*rbacv1.ClusterRole{}
	for _, r := range o.ClusterRoles {
		roles[r.Name] = r
	}
	cache := map[string]map[string]*rbacv1.RoleBinding{"": {}, "default": {}}
	for _, b := range o.ClusterRoleBindings {
		cache[""][b.Name] = (*rbacv1.RoleBinding)(b)
	}
	for _, b := range o.RoleBindings {
		cache[b.Namespace][b.Name] = b
	}
	return func(a *authz.Attributes) bool {
		for _, namespace := range []string{"", a.Namespace} {
			var list []*rbacv1.RoleBinding
			for _, b := range cache[namespace] {
				list = append(list, b)
			}
			for _, b := range list {
				for i := range b.Subjects {
					s := &b.Subjects[i]
					if (s.Kind != "User" || s.Name != a.User.Name) && (s.Kind != "Group" || !a.User.InGroup(s.Name)) {
						continue
					}
					for j := range roles[b.RoleRef.Name].Rules {
						if matches(&roles[b.RoleRef.Name].Rules[j], a) {
							return true
						}
					}
					break
				}
			}
		}
		return false
	}
}

// BenchmarkChange is the time from an event until it is in force.
func BenchmarkChange(b *testing.B) {
	change := func(name string, o rbac.Objects, do func(x *rbac.Index, i int)) {
		x := rbac.New()
		x.Replace(o)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				do(x, i)
			}
		})
	}
	setBinding := func(x *rbac.Index, i int) {
		x.SetClusterRoleBinding(clusterBinding(50_000, "view", "User", fmt.Sprint("other", i%2)))
	}
	setRole := func(x *rbac.Index, i int) {
		x.SetClusterRole(clusterRole("view", []string{"get", "delete"}[i%2], "pods"))
	}
	change("one_binding_of_100000", onePerUser(100_000), setBinding)
	change("one_role_of_100000_users", onePerUser(100_000), setRole)
	change("one_role_of_100000_bindings_of_everybody", everybody(100_000, false), setRole)
	change("one_role_of_10000_of_everybody", everybody(10_000, true), func(x *rbac.Index, i int) {
		x.SetClusterRole(clusterRole("view77", []string{"get", "delete"}[i%2], "pods77"))
	})
	change("one_role_of_5000_merged_users", manyRoles(5000, rbac.WalkLimit+4), func(x *rbac.Index, i int) {
		x.SetClusterRole(clusterRole("view7", []string{"get", "delete"}[i%2], "pods7"))
	})
}

// manyRoles binds each of some roles to each of n users.
func manyRoles(n, roles int) (o rbac.Objects) {
	for i := range roles {
		role := fmt.Sprint("view", i)
		o.ClusterRoles = append(o.ClusterRoles, clusterRole(role, "get", fmt.Sprint("pods", i)))
		b := clusterBinding(i, role, "User", "user0")
		for j := 1; j < n; j++ {
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "User", Name: fmt.Sprint("user", j)})
		}
		o.ClusterRoleBindings = append(o.ClusterRoleBindings, b)
	}
	return o
}

// BenchmarkReplace is a whole load of 100,000 bindings.
func BenchmarkReplace(b *testing.B) {
	for _, s := range shapes() {
		o := s.objects(100_000)
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rbac.New().Replace(o)
			}
		})
	}
}
