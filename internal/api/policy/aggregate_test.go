package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"gatehouse.dev/gatehouse/internal/api/policy"
)

// settle aggregates the roles of p until none changes any more.
func settle(t *testing.T, p *policy.Policy) {
	t.Helper()
	var all []*rbacv1.ClusterRole
	for i := range p.ClusterRoles {
		all = append(all, &p.ClusterRoles[i])
	}
	for range 10 {
		changed := false
		for _, r := range all {
			rules, err := policy.Aggregate(r, all)
			if err != nil {
				t.Fatal(err)
			}
			changed = changed || !cmp.Equal(r.Rules, rules)
			r.Rules = rules
		}
		if !changed {
			return
		}
	}
	t.Fatal("the roles do not settle")
}

func TestDefaultRolesContainEachOther(t *testing.T) {
	p := load(t)
	settle(t, p)
	view, edit, admin := roleNamed(t, p, "view").Rules, roleNamed(t, p, "edit").Rules, roleNamed(t, p, "admin").Rules
	// The rules of system:aggregate-to-view, -edit and -admin are 12, 15 and 2.
	if len(view) != 12 || len(edit) != 27 || len(admin) != 29 {
		t.Errorf("view, edit and admin have %d, %d and %d rules", len(view), len(edit), len(admin))
	}
	contains := func(name string, more, less []rbacv1.PolicyRule) {
		if ok, missing := validation.Covers(more, less); !ok {
			t.Errorf("%s lacks %v", name, missing)
		}
		if ok, _ := validation.Covers(less, more); ok {
			t.Errorf("%s gives nothing more", name)
		}
	}
	contains("edit", edit, view)
	contains("admin", admin, edit)
	contains("cluster-admin", roleNamed(t, p, "cluster-admin").Rules, admin)
}

// role returns a ClusterRole with a label of its name's first letter, and a
// rule for each of the resources.
func role(name string, resources ...string) *rbacv1.ClusterRole {
	r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": name[:1]}}}
	for _, s := range resources {
		r.Rules = append(r.Rules, rule(s))
	}
	return r
}

func rule(resource string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}}
}

func aggregating(name string, selectors ...metav1.LabelSelector) *rbacv1.ClusterRole {
	r := role(name, "stale")
	r.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: selectors}
	return r
}

func labelled(value string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{"of": value}}
}

func TestAggregate(t *testing.T) {
	all := []*rbacv1.ClusterRole{role("b2", "pods", "nodes"), role("a1", "secrets"), role("b1", "events", "pods"), role("c1", "leases")}
	empty := role("b3")
	empty.Rules = []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{}}}
	all = append(all, empty)
	tests := []struct {
		name string
		role *rbacv1.ClusterRole
		want string
	}{
		{"not aggregated", role("x", "own"), "own"},
		{"no selector", aggregating("x"), ""},
		{"nothing found", aggregating("x", labelled("z")), ""},
		{"by name, each once", aggregating("x", labelled("b")), "events pods nodes"},
		{"by selector", aggregating("x", labelled("c"), labelled("a")), "leases secrets"},
		{"one role found twice", aggregating("x", labelled("a"), labelled("a")), "secrets"},
		{"empty selector finds all", aggregating("x", metav1.LabelSelector{}), "secrets events pods nodes leases"},
		{"not itself", aggregating("b1", labelled("b")), "pods nodes"},
		{"by expression", aggregating("x", metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "of", Operator: "NotIn", Values: []string{"b", "c"}}}}), "secrets"},
	}
	for _, tt := range tests {
		rules, err := policy.Aggregate(tt.role, all)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, r := range rules {
			got = append(got, r.Resources...)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: rules for %q, want %q", tt.name, s, tt.want)
		}
	}
}

// Rules that differ at all are two rules, even if they say the same.
func TestAggregateKeepsWhatDiffers(t *testing.T) {
	a, b := role("b1"), role("b2")
	a.Rules = []rbacv1.PolicyRule{{Verbs: []string{"get", "list"}}, {Verbs: []string{"get list"}}}
	b.Rules = []rbacv1.PolicyRule{{Verbs: []string{"list", "get"}}, {APIGroups: []string{"get", "list"}}}
	got, err := policy.Aggregate(aggregating("x", labelled("b")), []*rbacv1.ClusterRole{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 {
		t.Errorf("%d rules, want 4: %v", len(got), got)
	}
}

func TestAggregateCopies(t *testing.T) {
	from := role("b1", "pods")
	got, err := policy.Aggregate(aggregating("x", labelled("b")), []*rbacv1.ClusterRole{from})
	if err != nil {
		t.Fatal(err)
	}
	got[0].Verbs[0] = "delete"
	if from.Rules[0].Verbs[0] != "get" {
		t.Error("a change to the aggregated rules shows in the role that they came from")
	}
}

func TestAggregateRefusesABadSelector(t *testing.T) {
	bad := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "of", Operator: "Near"}}}
	_, err := policy.Aggregate(aggregating("x", labelled("b"), bad), nil)
	if want := `aggregating ClusterRole "x": selector 1: "Near" is not a valid label selector operator`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
