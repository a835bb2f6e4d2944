package rbac_test

import (
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
)

func TestNearest(t *testing.T) {
	x := fixture()
	const robot, builder = "system:serviceaccount:ci:robot", "system:serviceaccount:ci:builder"
	for _, tt := range []struct {
		name, user, groups, request string
		want                        string // the first: what differs and what the request wants
		from                        string
	}{
		{"verb", "ann", "", "delete /pods", "verb delete", `ClusterRoleBinding "readers" gives ClusterRole "reader" to User "ann"`},
		{"verb of a path", "ann", "", "put !/healthz", "verb put", `ClusterRoleBinding "readers"`},
		{"subresource", "joe", "dev", "get /pods/log", "subresource pods/log", `to Group "dev"`},
		{"name", "ann", "", "get /configmaps - other", "resourceName other", `ClusterRole "reader"`},
		{"no name", "ann", "", "get /configmaps", "resourceName ", `ClusterRole "reader"`},
		{"group", "ann", "", "get apps/pods", "apiGroup apps", `ClusterRole "reader"`},
		{"resource", builder, "", "get /nodes", "resource nodes", `to ServiceAccount "builder" in namespace "ci"`},
		{"namespace", "bob", "", "create apps/deployments prod", "namespace prod", `RoleBinding "writers" in namespace "ci" gives Role "writer" to User "bob"`},
		{"all namespaces", robot, "", "create apps/deployments", "namespace ", `to ServiceAccount "robot" in namespace "ci"`},
		{"path", "ann", "", "get !/healthz/etcd", "path /healthz/etcd", `ClusterRole "reader"`},
		{"path that is bound in a namespace", "eve", "", "get !/healthz", "namespace a ClusterRoleBinding", `RoleBinding "readers" in namespace "ci"`},
		{"missing role", "zoe", "", "get /nodes", "role gone", `ClusterRoleBinding "also-lost" gives ClusterRole "gone" to User "zoe"`},

		{"two things", "ann", "", "delete apps/pods", "", ""},
		{"nobody", "nobody", "", "get /pods", "", ""},
		{"path against rules of resources", "bob", "", "get !/metrics", "", ""},
		{"resource against rules of paths", "ann", "", "delete /healthz", "", ""},
		{"missing role elsewhere", "moe", "", "get /pods prod", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := parse(tt.request)
			a.User = &identity.Identity{Name: tt.user, Groups: strings.Fields(tt.groups)}
			if answer, _ := x.Authorize(t.Context(), a); answer.Verdict == authz.Allow {
				t.Fatal("it is allowed")
			}
			found := x.Nearest(a, 5)
			if len(found) == 0 {
				if tt.want != "" {
					t.Errorf("found nothing, want %s", tt.want)
				}
				return
			}
			first := &found[0]
			if got := fmt.Sprint(first.Differs, " ", first.Wants); got != tt.want || !strings.Contains(first.String(), tt.from) {
				t.Errorf("%s: %s, want %s of %s", got, first, tt.want, tt.from)
			}
		})
	}
}

// A rule that is near by one thing allows the request once that is mended.
func TestNearestIsTrue(t *testing.T) {
	x := fixture()
	near := func(request string) []authz.Near {
		a := parse(request)
		a.User = &identity.Identity{Name: "ann"}
		return x.Nearest(a, 5)
	}
	if got := near("delete /pods"); len(got) != 1 || got[0].Differs != authz.ByVerb {
		t.Fatalf("%v", got)
	}
	x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get", "delete"}, APIGroups: []string{""}, Resources: []string{"pods"}},
	}})
	a := parse("delete /pods")
	a.User = &identity.Identity{Name: "ann"}
	if answer, _ := x.Authorize(t.Context(), a); answer.Verdict != authz.Allow {
		t.Error("the verb was not all that was missing")
	}
}

// What is returned is bounded, whatever the number of rules.
func TestNearestIsBounded(t *testing.T) {
	x := rbac.New()
	for i := range 300 {
		ns := fmt.Sprint("ns-", i)
		x.SetRole(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "r"}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}},
		}})
		x.SetRoleBinding(binding(ns, "b", "Role", "r", user("ann")))
	}
	a := parse("get /pods prod")
	a.User = &identity.Identity{Name: "ann"}
	if got := x.Nearest(a, 5); len(got) != 5 {
		t.Errorf("%d rules, want 5", len(got))
	}
	chain, err := authz.NewChain(authz.Named{Name: "always", Authorizer: authz.AlwaysDeny()}, authz.Named{Name: "rbac", Authorizer: x})
	if err != nil {
		t.Fatal(err)
	}
	if got := chain.Nearest(a, 3); len(got) != 3 || got[0].Differs != authz.ByNamespace {
		t.Errorf("the chain finds %v", got)
	}
	a.User = nil
	if got := chain.Nearest(a, 3); got != nil {
		t.Errorf("nobody has rules %v", got)
	}
}
