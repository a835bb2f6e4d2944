package rbac_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
)

func binding(namespace, name, roleKind, role string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: roleKind, Name: role},
		Subjects:   subjects,
	}
}

func clusterWide(name, role string, subjects ...rbacv1.Subject) *rbacv1.ClusterRoleBinding {
	return (*rbacv1.ClusterRoleBinding)(binding("", name, "ClusterRole", role, subjects...))
}

func user(name string) rbacv1.Subject  { return rbacv1.Subject{Kind: "User", Name: name} }
func group(name string) rbacv1.Subject { return rbacv1.Subject{Kind: "Group", Name: name} }
func account(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}
}

// fixture is a small cluster.
func fixture() *rbac.Index {
	x := rbac.New()
	x.SetClusterRoleBinding(clusterWide("readers", "reader", group("dev"), user("ann"), account("", "robot"), account("ci", "builder")))
	x.SetClusterRoleBinding(clusterWide("lost", "gone", user("zoe"), group("lost")))
	x.SetClusterRoleBinding(clusterWide("also-lost", "gone", user("zoe")))
	x.SetClusterRoleBinding(clusterWide("lost-too", "away", user("zoe")))
	x.SetClusterRoleBinding((*rbacv1.ClusterRoleBinding)(binding("", "wrong", "Role", "writer", group("lost"))))
	x.SetRoleBinding(binding("ci", "writers", "Role", "writer", user("bob"), account("", "robot")))
	x.SetRoleBinding(binding("ci", "readers", "ClusterRole", "reader", user("eve"), user("ann")))
	x.SetRoleBinding(binding("ci", "strange", "Rule", "reader", user("moe")))
	x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods", "*/scale", "secrets/"}},
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"own"}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz", "/logs/*"}},
	}})
	x.SetRole(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "writer"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"*"}, APIGroups: []string{"apps"}, Resources: []string{"*"}},
	}})
	return x
}

func TestAuthorize(t *testing.T) {
	x := fixture()
	const robot, builder = "system:serviceaccount:ci:robot", "system:serviceaccount:ci:builder"
	const annReads = `RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to User "ann"`
	for _, tt := range []struct {
		name, user, groups, request string
		allow                       bool
		reason                      string
	}{
		{"user", "ann", "dev", "get /pods", true, annReads},
		{"in a namespace, cluster first", "ann", "", "get /pods ci", true, annReads},
		{"group", "joe", "ops dev", "get /pods ci", true,
			`RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "dev"`},
		{"service account", builder, "", "get /pods", true,
			`RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to ServiceAccount "builder/ci"`},
		{"service account of the binding's namespace", robot, "", "create apps/deployments ci", true,
			`RBAC: allowed by RoleBinding "writers/ci" of Role "writer" to ServiceAccount "robot/ci"`},
		{"cluster role in a namespace", "eve", "", "get /pods ci", true,
			`RBAC: allowed by RoleBinding "readers/ci" of ClusterRole "reader" to User "eve"`},
		{"all resources have subresources", "bob", "", "patch apps/deployments/scale ci", true,
			`RBAC: allowed by RoleBinding "writers/ci" of Role "writer" to User "bob"`},
		{"subresource of all", "ann", "", "get /pods/scale", true, annReads},
		{"name", "ann", "", "get /configmaps - own", true, annReads},
		{"path", "ann", "", "get !/healthz", true, annReads},
		{"path prefix", "ann", "", "get !/logs/a", true, annReads},

		{"account without namespace in the cluster", robot, "", "get /pods", false, ""},
		{"account that is a user name's end", "robot", "", "get /pods ci", false, ""},
		{"group named as a user", "dev", "", "get /pods", false, ""},
		{"user named as a group", "joe", "ann", "get /pods", false, ""},
		{"other verb", "ann", "", "list /pods", false, ""},
		{"other group", "ann", "", "get apps/pods", false, ""},
		{"subresource", "ann", "", "get /pods/log", false, ""},
		{"subresource of a rule that ends in a slash", "ann", "", "get /secrets", false, ""},
		{"other name", "ann", "", "get /configmaps - other", false, ""},
		{"no name", "ann", "", "get /configmaps", false, ""},
		{"other namespace", "bob", "", "create apps/deployments prod", false, ""},
		{"all namespaces", "bob", "", "create apps/deployments", false, ""},
		{"path by a binding in a namespace", "eve", "", "get !/healthz ci", false, ""},
		{"path under an exact one", "ann", "", "get !/healthz/etcd", false, ""},
		{"path before the prefix", "ann", "", "get !/logs", false, ""},
		{"missing role", "joe", "lost", "get /nodes", false,
			`RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "writer" not found]`},
		{"missing roles, each once", "zoe", "lost dev", "get /nodes", false,
			`RBAC: [clusterrole.rbac.authorization.k8s.io "away" not found, clusterrole.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "writer" not found]`},
		{"missing role of somebody who is allowed", "zoe", "dev", "get /pods", true,
			`RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "dev"`},
		{"unknown kind of role", "moe", "", "get /pods ci", false, `RBAC: unsupported role reference kind: "Rule"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := parse(tt.request)
			a.User = &identity.Identity{Name: tt.user, Groups: strings.Fields(tt.groups)}
			answer, err := x.Authorize(t.Context(), a)
			if (answer.Verdict == authz.Allow) != tt.allow || answer.Verdict == authz.Deny || err != nil {
				t.Errorf("verdict %v, %v; want allow %v", answer.Verdict, err, tt.allow)
			}
			if answer.Reason() != tt.reason {
				t.Errorf("reason %q\nwant   %q", answer.Reason(), tt.reason)
			}
		})
	}
	if answer, err := x.Authorize(t.Context(), parse("get /pods")); err == nil || answer.Verdict != authz.NoOpinion {
		t.Errorf("without a user: %v, %v; want an error", answer, err)
	}
}

// TestPrefixesOfAnyLength crosses the length up to which they are looked up.
func TestPrefixesOfAnyLength(t *testing.T) {
	long := "/" + strings.Repeat("x", 99)
	for n := range 100 {
		x := rbac.New()
		x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"get"}, NonResourceURLs: []string{long[:n] + "*"}},
		}})
		x.SetClusterRoleBinding(clusterWide("b", "r", user("ann")))
		for _, asked := range []int{0, n - 1, n, n + 1, 100} {
			asked = max(asked, 0)
			a := &authz.Attributes{User: &identity.Identity{Name: "ann"}, Verb: "get", Path: long[:asked]}
			answer, _ := x.Authorize(t.Context(), a)
			if want := asked >= n; (answer.Verdict == authz.Allow) != want {
				t.Errorf("a prefix of %d bytes allows a path of %d: %v; want %v", n, asked, answer.Verdict, want)
			}
		}
	}
}

// parse reads "verb group/resource[/subresource] [namespace|- [name]]", or
// "verb !path".
func parse(s string) *authz.Attributes {
	f := append(strings.Fields(s), "", "")
	a := &authz.Attributes{Verb: f[0], Namespace: strings.Trim(f[2], "-"), Name: f[3]}
	if p, ok := strings.CutPrefix(f[1], "!"); ok {
		a.Path = p
		return a
	}
	a.IsResource = true
	parts := append(strings.SplitN(f[1], "/", 3), "")
	a.APIGroup, a.Resource, a.Subresource = parts[0], parts[1], parts[2]
	return a
}

func TestRulesFor(t *testing.T) {
	x := fixture()
	ann := &identity.Identity{Name: "ann", Groups: []string{"dev", "lost"}}
	for range 3 {
		rules, err := x.RulesFor(t.Context(), ann, "ci")
		// Reader is bound three times, and listed once.
		got := fmt.Sprint(rules.Resource, rules.NonResource, rules.Incomplete, err)
		want := `[{[get] [] [pods */scale secrets/] []} {[get] [] [configmaps] [own]}] [{[get] [/healthz /logs/*]}] false ` +
			`[clusterrole.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "writer" not found]`
		if got != want {
			t.Errorf("rules\n%s\nwant\n%s", got, want)
		}
	}
	bob := &identity.Identity{Name: "bob"}
	if rules, err := x.Rules(bob, ""); len(rules) != 0 || err != nil {
		t.Errorf("rules of bob in the cluster: %v, %v; want none", rules, err)
	}
	if rules, err := x.Rules(bob, "ci"); len(rules) != 1 || err != nil {
		t.Errorf("rules of bob in ci: %v, %v; want one", rules, err)
	}
}

func TestRoleRules(t *testing.T) {
	x := fixture()
	for _, tt := range []struct {
		kind, name, namespace, err string
	}{
		{"ClusterRole", "reader", "", ""},
		{"ClusterRole", "reader", "ci", ""},
		{"Role", "writer", "ci", ""},
		{"Role", "writer", "", `roles.rbac.authorization.k8s.io "writer" not found`},
		{"Role", "writer", "prod", `roles.rbac.authorization.k8s.io "writer" not found`},
		{"ClusterRole", "gone", "", `clusterroles.rbac.authorization.k8s.io "gone" not found`},
		{"Rule", "reader", "", `unsupported role reference kind: "Rule"`},
	} {
		rules, err := x.RoleRules(rbacv1.RoleRef{Kind: tt.kind, Name: tt.name}, tt.namespace)
		if (tt.err == "") != (err == nil && len(rules) > 0) || err != nil && err.Error() != tt.err {
			t.Errorf("RoleRules(%s %s in %q) = %v, %v; want %q", tt.kind, tt.name, tt.namespace, rules, err, tt.err)
		}
	}
}

// TestDecisionAllocatesNothing includes the reason, as long as nobody reads it.
func TestDecisionAllocatesNothing(t *testing.T) {
	for _, s := range shapes() {
		decide := indexed(s.objects(1000))
		for verdict, a := range requests(s.user) {
			if n := testing.AllocsPerRun(10, func() { decide(a) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", s.name, verdict, n)
			}
		}
	}
}

// TestChangeTouchesOnlyItself proves that a change costs the same among many
// bindings as among few, by what it replaces and allocates.
func TestChangeTouchesOnlyItself(t *testing.T) {
	const many = 50_000
	x := rbac.New()
	x.Replace(onePerUser(many))
	views := func() (all []any) {
		for i := range many {
			for _, v := range x.Views(&identity.Identity{Name: fmt.Sprint("user", i)}, "") {
				all = append(all, v)
			}
		}
		return all
	}
	before := views()
	x.SetClusterRole(clusterRole("view", "delete", "pods"))
	x.SetClusterRoleBinding(clusterBinding(7, "view", "User", "somebody"))
	after := views()
	if len(before) != many || len(after) != many-1 {
		t.Fatalf("%d users, then %d; want %d and one less", len(before), len(after), many)
	}
	known := map[any]bool{}
	for _, v := range before {
		known[v] = true
	}
	for _, v := range after {
		if !known[v] {
			t.Error("the set of a user was worked on that did not change")
		}
	}
	for name, want := range map[string]bool{"user3": true, "user7": false, "somebody": true} {
		a := parse("delete /pods")
		a.User = &identity.Identity{Name: name}
		if answer, _ := x.Authorize(t.Context(), a); (answer.Verdict == authz.Allow) != want {
			t.Errorf("%s: %v; want allowed %v", name, answer.Verdict, want)
		}
	}
	allocations := func(n int) float64 {
		x, i := rbac.New(), 0
		x.Replace(onePerUser(n))
		return testing.AllocsPerRun(100, func() {
			i++
			x.SetClusterRole(clusterRole("view", fmt.Sprint("verb", i%2), "pods"))
			x.SetClusterRoleBinding(clusterBinding(7, "view", "User", fmt.Sprint("other", i%2)))
		})
	}
	// A bucket that has more entries is copied with a few more allocations.
	if few, lots := allocations(100), allocations(many); lots > few+10 {
		t.Errorf("a change takes %v allocations among 100 bindings and %v among %d", few, lots, many)
	}
}

// TestMergedSetsAreBounded binds more than may be merged, and expects the same
// decisions while sets are merged, grow out of the limit, and are merged again.
func TestMergedSetsAreBounded(t *testing.T) {
	const users, limit = 20, 1000
	x := rbac.New()
	x.LimitMerged(limit)
	o := manyRoles(users, rbac.WalkLimit+4)
	for _, r := range o.ClusterRoles {
		x.SetClusterRole(r)
	}
	for _, b := range o.ClusterRoleBindings {
		x.SetClusterRoleBinding(b)
	}
	check := func(stage, request string) (merged int) {
		t.Helper()
		for i := range users {
			a := parse(request)
			a.User = &identity.Identity{Name: fmt.Sprint("user", i)}
			if x.Merged(a.User, "") {
				merged++
			}
			if answer, _ := x.Authorize(t.Context(), a); answer.Verdict != authz.Allow {
				t.Errorf("%s: %s is not allowed to %s", stage, a.User.Name, request)
			}
		}
		if n := x.MergedAtoms(); n > limit || (n == 0) != (merged == 0) {
			t.Errorf("%s: %d atoms in %d merged sets; the limit is %d", stage, n, merged, limit)
		}
		return merged
	}
	if n := check("loaded", "get /pods19"); n == 0 || n == users {
		t.Errorf("%d of %d sets are merged; want some, and not all", n, users)
	}
	large := clusterRole("view3", "get", "pods")
	for i := range limit {
		large.Rules[0].Resources = append(large.Rules[0].Resources, fmt.Sprint("resource", i))
	}
	x.SetClusterRole(large)
	if n := check("with a large role", "get /resource77"); n != 0 {
		t.Errorf("%d sets are merged with a role beyond the limit", n)
	}
	x.SetClusterRole(clusterRole("view3", "get", "pods"))
	x.SetClusterRoleBinding(clusterWide("more", "view0", user("user1"), user("user2")))
	x.SetClusterRole(clusterRole("another", "get", "jobs"))
	x.SetClusterRoleBinding(clusterWide("another", "another", user("user1")))
	if n := check("with a small one again", "get /pods19"); n == 0 {
		t.Error("no set is merged again")
	}
}

// TestConcurrentChanges changes everything around a grant that stays, while
// readers rely on it.
func TestConcurrentChanges(t *testing.T) {
	x := rbac.New()
	x.Replace(manyRoles(3, rbac.WalkLimit-2))
	x.SetClusterRole(clusterRole("own", "keep", "things"))
	x.SetClusterRoleBinding(clusterWide("own", "own", user("user1")))
	var writers, readers sync.WaitGroup
	var done atomic.Bool
	for w := range 3 {
		writers.Go(func() {
			for i := range 400 {
				churn(x, w, i)
			}
		})
	}
	kept := parse("keep /things ci")
	kept.User = &identity.Identity{Name: "user1", Groups: []string{"extra"}}
	never := parse("destroy /things ci")
	never.User = kept.User
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				if answer, err := x.Authorize(t.Context(), kept); answer.Verdict != authz.Allow || err != nil {
					t.Errorf("the grant that stays: %v, %q, %v", answer.Verdict, answer.Reason(), err)
					return
				}
				if answer, _ := x.Authorize(t.Context(), never); answer.Verdict != authz.NoOpinion {
					t.Errorf("what nobody grants: %v, %q", answer.Verdict, answer.Reason())
					return
				}
				if rules, err := x.Rules(kept.User, "ci"); len(rules) == 0 {
					t.Errorf("no rules, %v", err)
					return
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
}

// churn makes the set of user1 grow beyond what is walked and shrink again, and
// rewrites the role that stays.
func churn(x *rbac.Index, writer, i int) {
	name := fmt.Sprint("extra", writer, i%20)
	x.SetClusterRole(clusterRole(name, "keep", "things"))
	x.SetClusterRoleBinding(clusterWide("a"+name, name, user("user1"), group("extra")))
	x.SetRoleBinding(binding("ci", name, "ClusterRole", name, user("user1")))
	own := clusterRole("own", "keep", "things")
	own.Rules = append(own.Rules, rules("keep", name)[i%2:]...)
	x.SetClusterRole(own)
	x.SetClusterRoleBinding(clusterWide("own", "own", user("user1"), user(name)))
	if i%3 == 0 {
		x.DeleteClusterRole(name)
	}
	if i%20 > 15 {
		for j := range 20 {
			x.DeleteClusterRoleBinding(fmt.Sprint("aextra", writer, j))
			x.DeleteRoleBinding("ci", fmt.Sprint("extra", writer, j))
		}
	}
}

// FuzzRule compares one rule with the naive evaluator on texts of any kind.
func FuzzRule(f *testing.F) {
	f.Add("get", "", "pods", "", "/a*", "get", "", "pods", "log", "", "/ab")
	f.Add("*", "*", "*/log", "web", "*", "list", "apps", "a/b", "log", "web", "")
	f.Add("get", "apps", "/x", "", "/a**", "*", "apps", "", "x", "", "/a*")
	f.Add("get", "", "*/", "", "/", "get", "", "*/", "", "", "/")
	f.Fuzz(func(t *testing.T, verb, group, resource, name, url, v, g, r, s, n, p string) {
		rule := rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}, NonResourceURLs: []string{url}}
		if name != "" {
			rule.ResourceNames = []string{name}
		}
		x := rbac.New()
		x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{rule}})
		x.SetClusterRoleBinding(clusterWide("b", "r", user("ann")))
		for _, a := range []*authz.Attributes{
			{Verb: v, IsResource: true, APIGroup: g, Resource: r, Subresource: s, Name: n},
			{Verb: v, Path: p},
		} {
			a.User = &identity.Identity{Name: "ann"}
			answer, _ := x.Authorize(t.Context(), a)
			if want := matches(&rule, a); (answer.Verdict == authz.Allow) != want {
				t.Errorf("%+v allows %+v: %v; want %v", rule, a, answer.Verdict, want)
			}
		}
	})
}
