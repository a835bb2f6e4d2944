package rbac_test

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
)

func TestRoles(t *testing.T) {
	x := rbac.New()
	cluster := func(name string, rules ...rbacv1.PolicyRule) {
		x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules})
	}
	on := func(verbs, resources []string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Verbs: verbs, Resources: resources, ResourceNames: names}
	}
	everything := []string{"*"}
	cluster("edit", on([]string{"get", "list", "delete"}, []string{"pods", "configmaps"}))
	cluster("view", on([]string{"get", "list"}, []string{"pods", "configmaps"}))
	cluster("own", on([]string{"get"}, []string{"configmaps"}, "own"))
	cluster("system:part", on([]string{"get"}, []string{"pods", "nodes"}))
	cluster("owner", on(everything, everything))
	cluster("probe", rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}})
	cluster("prober", rbacv1.PolicyRule{Verbs: everything, NonResourceURLs: everything})
	cluster("reads-all", rbacv1.PolicyRule{APIGroups: everything, Verbs: []string{"get"}, Resources: []string{"configmaps", "*/status"}})
	cluster("three", on([]string{"update"}, []string{"configmaps"}, "a", "b", "own"))
	cluster("each", on([]string{"update"}, []string{"configmaps"}))
	cluster("paths", rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/livez*"}})
	cluster("two-paths", rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/livez", "/readyz"}})
	for _, namespace := range []string{"ci", "prod"} {
		x.SetRole(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pods-of-" + namespace}, Rules: []rbacv1.PolicyRule{
			on([]string{"get"}, []string{"pods"}),
		}})
	}
	x.SetClusterRoleBinding(clusterWide("lost", "gone", user("ann")))
	cluster("deleted", on([]string{"get"}, []string{"pods"}))
	x.SetClusterRoleBinding(clusterWide("deleted", "deleted", user("ann")))
	x.DeleteClusterRole("deleted")

	for _, tt := range []struct{ name, request, want string }{
		{"the narrowest first", "get /pods ci", "[{Role pods-of-ci} {ClusterRole view} {ClusterRole edit}]"},
		{"in the cluster", "get /pods", "[{ClusterRole view} {ClusterRole edit}]"},
		{"one alone", "delete /configmaps prod - ", "[{ClusterRole edit}]"},
		{"by name", "get /configmaps ci own", "[{ClusterRole own} {ClusterRole view} {ClusterRole edit}]"},
		{"by one of several names", "update /configmaps ci own", "[{ClusterRole three} {ClusterRole each}]"},
		{"one of two paths", "get !/livez", "[{ClusterRole two-paths} {ClusterRole paths}]"},
		{"a path", "get !/healthz", "[{ClusterRole probe}]"},

		{"of the system, or of everything", "get /nodes", "[]"},
		{"no role at all", "create /pods ci", "[]"},
		{"of another group", "get apps/pods ci", "[]"},
		{"of a part", "get /pods/log ci", "[]"},
		{"a path of everything", "get !/metrics", "[]"},
	} {
		a := parse(tt.request)
		a.User = &identity.Identity{Name: "ann"}
		if found, ok := x.Roles(a, 3); fmt.Sprint(found) != tt.want || !ok {
			t.Errorf("%s: %v, %v, want %s", tt.name, found, ok, tt.want)
		}
	}
	a := parse("get /pods ci")
	if found, _ := x.Roles(a, 1); len(found) != 1 {
		t.Errorf("%d roles, want one", len(found))
	}
	with, err := authz.NewChain(authz.Named{Name: "always", Authorizer: authz.AlwaysDeny()}, authz.Named{Name: "rbac", Authorizer: x})
	if err != nil {
		t.Fatal(err)
	}
	if found, ok := with.Roles(a, 3); len(found) != 3 || !ok {
		t.Errorf("the chain finds %v, %v", found, ok)
	}
	without, err := authz.NewChain(authz.Named{Name: "always", Authorizer: authz.AlwaysDeny()})
	if err != nil {
		t.Fatal(err)
	}
	if found, ok := without.Roles(a, 3); found != nil || ok {
		t.Errorf("a chain without roles finds %v, %v", found, ok)
	}
}
