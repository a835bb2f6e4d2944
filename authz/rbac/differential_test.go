package rbac_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
)

// TestDifferential feeds random changes to an index and to the naive evaluator
// and compares decisions and reasons, and again with an index made at once.
// GATEHOUSE_NIGHTLY makes it ten times as long. Worlds have nothing to do
// with each other, so as many are tried at a time as there are processors.
func TestDifferential(t *testing.T) {
	worlds := 80
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		worlds *= 10
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var sum tally
	var next atomic.Int64
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < worlds && !t.Failed(); i = int(next.Add(1)) - 1 {
				sum.try(t, seed, i)
			}
		})
	}
	work.Wait()
	requests, allowed, merged := sum.requests.Load(), sum.allowed.Load(), sum.merged.Load()
	t.Logf("%d requests, %d allowed; %d worlds of %d with merged sets", requests, allowed, merged, worlds)
	if !t.Failed() && (requests < 100_000 || allowed < requests/20 || allowed > requests*19/20 || merged == 0) {
		t.Error("the worlds are too small or too plain to prove anything")
	}
}

// A tally counts what was tried.
type tally struct{ requests, allowed, merged atomic.Int64 }

// try changes and compares world i of seed.
func (s *tally) try(t *testing.T, seed uint64, i int) {
	w := newWorld(rand.New(rand.NewPCG(seed, uint64(i))))
	compare := func(index *rbac.Index, n int) {
		s.requests.Add(int64(n))
		s.allowed.Add(int64(w.compare(t, index, n)))
	}
	for range 40 {
		for range 1 + w.rand.IntN(w.burst) {
			w.change()
		}
		compare(w.index, 30)
	}
	fresh := rbac.New()
	fresh.Replace(w.objects())
	compare(fresh, 200)
	if fresh.Size() != w.index.Size() && !t.Failed() {
		t.Errorf("world %d: grown index has size %d, loaded one %d", i, w.index.Size(), fresh.Size())
	}
	if fresh.Merged(&identity.Identity{Name: "ann", Groups: []string{"g0", "g1", "g2"}}, "ns0") {
		s.merged.Add(1)
	}
	w.empty()
	if n, m := w.index.Size(), w.index.MergedAtoms(); n != 0 || m != 0 {
		t.Errorf("world %d: %d things and %d atoms are left in an index without objects", i, n, m)
	}
	if t.Failed() {
		t.Errorf("world %d of seed %d", i, seed)
	}
}

// A world is random objects in an index and in a naive evaluator.
type world struct {
	rand  *rand.Rand
	index *rbac.Index
	naive *naive
	// burst is the most changes between comparisons, roleNames how many roles
	// there are.
	burst, roleNames int
}

func newWorld(r *rand.Rand) *world {
	w := &world{
		rand:      r,
		index:     rbac.New(),
		naive:     newNaive(),
		burst:     []int{1, 10, 60}[r.IntN(3)],
		roleNames: []int{4, 20, 80}[r.IntN(3)],
	}
	for range w.rand.IntN(8) * w.roleNames {
		w.change()
	}
	return w
}

func (w *world) pick(list ...string) string { return list[w.rand.IntN(len(list))] }

func (w *world) some(most int, list ...string) (out []string) {
	if w.rand.IntN(20) == 0 {
		return nil
	}
	for range w.rand.IntN(most + 1) {
		out = append(out, w.pick(list...))
	}
	return out
}

func (w *world) rule() rbacv1.PolicyRule {
	r := rbacv1.PolicyRule{Verbs: append(w.some(2, "get", "list", "create", "get", "*"), "get")}
	if w.rand.IntN(4) == 0 {
		long := "/" + strings.Repeat("long", 20)
		r.NonResourceURLs = w.some(3, "/a", "/a/*", "/ab*", "/", "/a**", "*", long+"*", "/b/c", "")
	}
	if w.rand.IntN(4) != 0 {
		r.APIGroups = append(w.some(2, "", "apps", "", "*"), "")
		r.Resources = w.some(5, "pods", "pods/log", "*/log", "deployments", "deployments/scale", "*",
			"*/", "pods/", "a/b/c", "*/b/c", "/x", "*/x/log", "")
		r.ResourceNames = w.some(w.rand.IntN(3), "", "web", "db")
	}
	if w.rand.IntN(30) == 0 {
		for i := range 20 {
			filler := fmt.Sprint("filler", i)
			r.Verbs, r.APIGroups = append(r.Verbs, filler), append(r.APIGroups, filler)
			r.Resources = append(r.Resources, filler)
		}
	}
	return r
}

func (w *world) subject() rbacv1.Subject {
	switch w.rand.IntN(8) {
	case 0, 1:
		return rbacv1.Subject{Kind: "User", Name: w.pick("ann", "bob", "system:serviceaccount:ns0:robot", "")}
	case 2, 3:
		return rbacv1.Subject{Kind: "ServiceAccount", Name: w.pick("robot", "s:t"), Namespace: w.pick("", "", "ns0", "ns1")}
	case 4:
		return rbacv1.Subject{Kind: w.pick("Robot", "user", ""), Name: w.pick("ann", "g0")}
	default:
		return rbacv1.Subject{Kind: "Group", Name: w.pick("g0", "g1", "g2", "ann")}
	}
}

// change makes one change in both. Roles and bindings come and go in any order.
func (w *world) change() {
	namespace, name := w.pick("", "", "ns0", "ns1"), fmt.Sprint("role", w.rand.IntN(w.roleNames))
	if w.rand.IntN(3) == 0 {
		var rules []rbacv1.PolicyRule
		for range w.rand.IntN(6) {
			rules = append(rules, w.rule())
		}
		w.setRole(namespace, name, rules, w.rand.IntN(8) == 0)
		return
	}
	b := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint("binding", w.rand.IntN(2*w.roleNames))},
		RoleRef:    rbacv1.RoleRef{Kind: w.pick("ClusterRole", "ClusterRole", "ClusterRole", "Role", "Role", "Rule"), Name: name},
	}
	for range w.rand.IntN(6) {
		b.Subjects = append(b.Subjects, w.subject())
	}
	w.setBinding(b, w.rand.IntN(8) == 0)
}

func (w *world) setRole(namespace, name string, rules []rbacv1.PolicyRule, remove bool) {
	k, meta := [2]string{namespace, name}, metav1.ObjectMeta{Namespace: namespace, Name: name}
	w.naive.roles[k] = rules
	switch {
	case remove && namespace == "":
		w.index.DeleteClusterRole(name)
	case remove:
		w.index.DeleteRole(namespace, name)
	case namespace == "":
		w.index.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
	default:
		w.index.SetRole(&rbacv1.Role{ObjectMeta: meta, Rules: rules})
	}
	if remove {
		delete(w.naive.roles, k)
	}
}

func (w *world) setBinding(b *rbacv1.RoleBinding, remove bool) {
	k := [2]string{b.Namespace, b.Name}
	w.naive.bindings[k] = b
	switch {
	case remove && b.Namespace == "":
		w.index.DeleteClusterRoleBinding(b.Name)
	case remove:
		w.index.DeleteRoleBinding(b.Namespace, b.Name)
	case b.Namespace == "":
		w.index.SetClusterRoleBinding((*rbacv1.ClusterRoleBinding)(b))
	default:
		w.index.SetRoleBinding(b)
	}
	if remove {
		delete(w.naive.bindings, k)
	}
}

func (w *world) empty() {
	for k := range w.naive.roles {
		w.setRole(k[0], k[1], nil, true)
	}
	for _, b := range w.naive.bindings {
		w.setBinding(b, true)
	}
}

// objects returns what is in the naive evaluator.
func (w *world) objects() (o rbac.Objects) {
	for k, rules := range w.naive.roles {
		meta := metav1.ObjectMeta{Namespace: k[0], Name: k[1]}
		if k[0] == "" {
			o.ClusterRoles = append(o.ClusterRoles, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
		} else {
			o.Roles = append(o.Roles, &rbacv1.Role{ObjectMeta: meta, Rules: rules})
		}
	}
	for k, b := range w.naive.bindings {
		if k[0] == "" {
			o.ClusterRoleBindings = append(o.ClusterRoleBindings, (*rbacv1.ClusterRoleBinding)(b))
		} else {
			o.RoleBindings = append(o.RoleBindings, b)
		}
	}
	return o
}

func (w *world) request() *authz.Attributes {
	a := &authz.Attributes{
		User: &identity.Identity{
			Name: w.pick("ann", "ann", "bob", "eve", "system:serviceaccount:ns0:robot",
				"system:serviceaccount:ns1:robot", "system:serviceaccount:ns0:s:t", "robot", ""),
			Groups: w.some(3, "g0", "g1", "g2", "g3"),
		},
		Verb:       w.pick("get", "get", "get", "list", "create", "delete", "*", "filler7"),
		IsResource: w.rand.IntN(5) != 0,
	}
	if !a.IsResource {
		a.Path = w.pick("/", "/a", "/a/", "/a/b", "/abc", "/b/c", "/b/c/d", "", "*", "/a*", "/"+strings.Repeat("long", 25))
		return a
	}
	a.APIGroup = w.pick("", "", "", "apps", "*", "other", "filler3")
	a.Resource = w.pick("pods", "pods", "pods", "pods", "deployments", "*", "a", "a/b", "pods/log", "*/log", "pods/", "", "filler9")
	a.Subresource = w.pick("", "", "", "log", "scale", "c", "b/c", "x", "x/log")
	a.Namespace = w.pick("", "ns0", "ns0", "ns1", "ns2")
	a.Name = w.pick("", "web", "db", "other")
	return a
}

// compare compares n decisions, and returns how many allowed.
func (w *world) compare(t *testing.T, x *rbac.Index, n int) (allowed int) {
	t.Helper()
	for range n {
		a := w.request()
		answer, err := x.Authorize(t.Context(), a)
		want, reason := w.naive.authorize(a)
		if got := answer.Verdict == authz.Allow; got != want || answer.Reason() != reason || err != nil {
			t.Errorf("Authorize(%+v by %+v) = %v, %q, %v\nwant %v, %q", a, a.User, got, answer.Reason(), err, want, reason)
		}
		if want {
			allowed++
		}
	}
	return allowed
}
