package aggregation_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/aggregation"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
)

// union is a plain one: the rules of all other roles that have all labels of the
// first selector, in the order given.
func union(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, other := range all {
		want := role.AggregationRule.ClusterRoleSelectors[0].MatchLabels
		got := maps.Clone(other.Labels)
		maps.DeleteFunc(got, func(k, v string) bool { return want[k] != v })
		if other.Name != role.Name && len(got) == len(want) {
			rules = append(rules, other.Rules...)
		}
	}
	return rules
}

// start runs n controllers, each with an informer of its own.
func start(t *testing.T, roles *controllertest.Store[*rbacv1.ClusterRole], n int) {
	t.Helper()
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &aggregation.Controller{Roles: roles.Informer(), Store: roles, Union: union, Log: controllertest.Log(t)}
		informers = append(informers, c.Roles)
		runs = append(runs, c.Run)
	}
	controllertest.Start(t, informers, runs...)
}

// plain returns a role with a verb on pods, and a label.
func plain(name, verb, label string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "true"}},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{"pods"}}},
	}
}

// aggregated returns a role that is made of those with a label.
func aggregated(name, from, label string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "true"}},
		AggregationRule: &rbacv1.AggregationRule{
			ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{from: "true"}}},
		},
	}
}

func put(t *testing.T, roles *controllertest.Store[*rbacv1.ClusterRole], list ...*rbacv1.ClusterRole) {
	t.Helper()
	for _, role := range list {
		if _, err := roles.Create(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
}

// expect fails the test unless the rules of a role have these verbs.
func expect(t *testing.T, roles *controllertest.Store[*rbacv1.ClusterRole], name string, want ...string) {
	t.Helper()
	time.Sleep(time.Second)
	role, err := roles.Get(t.Context(), "", name)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rule := range role.Rules {
		got = append(got, rule.Verbs...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("role %s has verbs %q, want %q", name, got, want)
	}
}

func TestAggregation(t *testing.T) {
	for _, processes := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			roles := controllertest.NewStore[*rbacv1.ClusterRole]("clusterroles")
			// admin is made of edit, which is made of b and a.
			put(t, roles, aggregated("admin", "to-admin", "none"), aggregated("edit", "to-edit", "to-admin"),
				plain("b", "list", "to-edit"), plain("a", "get", "to-edit"), plain("other", "delete", "none"))
			start(t, roles, processes)
			expect(t, roles, "admin", "get", "list")
			expect(t, roles, "edit", "get", "list")
			expect(t, roles, "other", "delete")

			put(t, roles, plain("c", "watch", "to-edit"))
			expect(t, roles, "admin", "get", "list", "watch")

			if err := roles.Delete(t.Context(), "", "a", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			expect(t, roles, "admin", "list", "watch")

			edit, err := roles.Get(t.Context(), "", "edit")
			if err != nil {
				t.Fatal(err)
			}
			edit.Rules = plain("", "*", "").Rules
			if _, err := roles.Update(t.Context(), edit); err != nil {
				t.Fatal(err)
			}
			expect(t, roles, "edit", "list", "watch")
			expect(t, roles, "admin", "list", "watch")
		})
	}
}

// TestQuietWhenDone says that a role that is right is not written.
func TestQuietWhenDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		roles := controllertest.NewStore[*rbacv1.ClusterRole]("clusterroles")
		put(t, roles, aggregated("edit", "to-edit", "none"), aggregated("empty", "nothing", "none"), plain("a", "get", "to-edit"))
		start(t, roles, 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := roles.Writes(); n != 4 {
			t.Errorf("%d writes, want 3 of the test and 1", n)
		}
	})
}
