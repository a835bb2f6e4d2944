package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/policy"
)

// change returns a copy of r after f.
func change[T any, P interface {
	*T
	DeepCopy() *T
}](r P, f func(*T)) *T {
	c := r.DeepCopy()
	f(c)
	return c
}

func meta(labels, annotations map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "r", Labels: labels, Annotations: annotations}
}

const autoUpdate = rbacv1.AutoUpdateAnnotationKey

func TestReconcileClusterRole(t *testing.T) {
	type Role = rbacv1.ClusterRole
	expected := &Role{
		ObjectMeta: meta(map[string]string{"l": "1"}, map[string]string{autoUpdate: "true"}),
		Rules:      []rbacv1.PolicyRule{rule("pods"), rule("nodes")},
	}
	stored := change(expected, func(r *Role) { r.ResourceVersion, r.UID = "7", "u" })
	aggregated := change(expected, func(r *Role) {
		r.Rules = nil
		r.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{labelled("a"), labelled("b")}}
	})
	tests := []struct {
		name               string
		existing, expected *Role
		wantAction         policy.Action
		want               *Role
	}{
		{"missing", nil, expected, policy.Create, expected},
		{"equal", stored, expected, policy.Keep, nil},
		{"says it in other words", change(stored, func(r *Role) {
			r.Rules = []rbacv1.PolicyRule{{Verbs: []string{"list", "get"}, APIGroups: []string{""}, Resources: []string{"nodes", "pods"}}}
		}), expected, policy.Keep, nil},
		{"has more", change(stored, func(r *Role) {
			r.Rules = append(r.Rules, rule("secrets"))
			r.Labels["mine"], r.Annotations["mine"] = "x", "x"
		}), expected, policy.Keep, nil},
		{"lacks a rule, has another", change(stored, func(r *Role) { r.Rules = []rbacv1.PolicyRule{rule("secrets"), rule("nodes")} }),
			expected, policy.Update, change(stored, func(r *Role) { r.Rules = []rbacv1.PolicyRule{rule("secrets"), rule("nodes"), rule("pods")} })},
		{"lacks everything", change(stored, func(r *Role) { r.Labels, r.Annotations, r.Rules = nil, nil, nil }), expected, policy.Update, stored},
		{"another value is meant", change(stored, func(r *Role) { r.Labels["l"] = "2" }), expected, policy.Keep, nil},
		{"lacks a rule, protected", change(stored, func(r *Role) { r.Rules, r.Annotations[autoUpdate] = nil, "false" }), expected, policy.Skip, nil},
		{"lacks nothing, protected", change(stored, func(r *Role) { r.Annotations[autoUpdate] = "false" }), expected, policy.Keep, nil},
		{"other words do not protect", change(stored, func(r *Role) { r.Rules, r.Annotations[autoUpdate] = nil, "no" }), expected, policy.Update,
			change(stored, func(r *Role) { r.Annotations[autoUpdate] = "no" })},
		{"aggregated, filled", change(aggregated, func(r *Role) { r.Rules = stored.Rules }), aggregated, policy.Keep, nil},
		{"aggregates too little", change(aggregated, func(r *Role) {
			r.AggregationRule.ClusterRoleSelectors = []metav1.LabelSelector{labelled("z"), labelled("b")}
		}), aggregated, policy.Update, change(aggregated, func(r *Role) {
			r.AggregationRule.ClusterRoleSelectors = []metav1.LabelSelector{labelled("z"), labelled("b"), labelled("a")}
		})},
		{"does not aggregate yet", stored, aggregated, policy.Update, change(stored, func(r *Role) { r.AggregationRule = aggregated.AggregationRule })},
		{"aggregates but should not", change(stored, func(r *Role) { r.AggregationRule = aggregated.AggregationRule }), expected, policy.Update, stored},
	}
	for _, tt := range tests {
		existing, want := tt.existing.DeepCopy(), tt.expected.DeepCopy()
		got, action := policy.ReconcileClusterRole(tt.existing, tt.expected)
		if action != tt.wantAction {
			t.Errorf("%s: %s, want %s", tt.name, action, tt.wantAction)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
		if !cmp.Equal(existing, tt.existing) || !cmp.Equal(want, tt.expected) {
			t.Errorf("%s: an argument was changed", tt.name)
		}
	}
}

func TestReconcileRole(t *testing.T) {
	type Role = rbacv1.Role
	expected := &Role{ObjectMeta: meta(nil, map[string]string{autoUpdate: "true"}), Rules: []rbacv1.PolicyRule{rule("pods")}}
	tests := []struct {
		name       string
		existing   *Role
		wantAction policy.Action
		want       *Role
	}{
		{"missing", nil, policy.Create, expected},
		{"equal", expected, policy.Keep, nil},
		{"lacks a rule", change(expected, func(r *Role) { r.Rules = nil }), policy.Update, expected},
		{"protected", change(expected, func(r *Role) { r.Rules, r.Annotations[autoUpdate] = nil, "false" }), policy.Skip, nil},
	}
	for _, tt := range tests {
		got, action := policy.ReconcileRole(tt.existing, expected)
		if diff := cmp.Diff(tt.want, got); diff != "" || action != tt.wantAction {
			t.Errorf("%s: %s, want %s (-want +got)\n%s", tt.name, action, tt.wantAction, diff)
		}
	}
}

func TestReconcileBindings(t *testing.T) {
	type Binding = rbacv1.ClusterRoleBinding
	user := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
	}
	expected := &Binding{
		ObjectMeta: meta(map[string]string{"l": "1"}, map[string]string{autoUpdate: "true"}),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{user("a"), user("b")},
	}
	stored := change(expected, func(b *Binding) { b.ResourceVersion = "7" })
	tests := []struct {
		name       string
		existing   *Binding
		wantAction policy.Action
		want       *Binding
	}{
		{"missing", nil, policy.Create, expected},
		{"equal", stored, policy.Keep, nil},
		{"has more", change(stored, func(b *Binding) { b.Subjects = append(b.Subjects, user("c")) }), policy.Keep, nil},
		{"lacks one, has another", change(stored, func(b *Binding) { b.Subjects = []rbacv1.Subject{user("c"), user("b")} }),
			policy.Update, change(stored, func(b *Binding) { b.Subjects = []rbacv1.Subject{user("c"), user("b"), user("a")} })},
		{"a group is not a user", change(stored, func(b *Binding) { b.Subjects[0].Kind = rbacv1.GroupKind }),
			policy.Update, change(stored, func(b *Binding) {
				b.Subjects[0].Kind = rbacv1.GroupKind
				b.Subjects = append(b.Subjects, user("a"))
			})},
		{"lacks a label", change(stored, func(b *Binding) { b.Labels = nil }), policy.Update, stored},
		{"protected", change(stored, func(b *Binding) { b.Subjects, b.Annotations[autoUpdate] = nil, "false" }), policy.Skip, nil},
		{"to another role", change(stored, func(b *Binding) {
			b.RoleRef.Name = "admin"
			b.Subjects = append(b.Subjects, user("mallory"))
		}), policy.Recreate, expected},
		{"to another role, protected", change(stored, func(b *Binding) { b.RoleRef.Name, b.Annotations[autoUpdate] = "admin", "false" }), policy.Skip, nil},
	}
	for _, tt := range tests {
		got, action := policy.ReconcileClusterRoleBinding(tt.existing, expected)
		if diff := cmp.Diff(tt.want, got); diff != "" || action != tt.wantAction {
			t.Errorf("ClusterRoleBinding %s: %s, want %s (-want +got)\n%s", tt.name, action, tt.wantAction, diff)
		}
		gotRB, actionRB := policy.ReconcileRoleBinding(roleBinding(tt.existing), roleBinding(expected))
		if diff := cmp.Diff(roleBinding(tt.want), gotRB); diff != "" || actionRB != tt.wantAction {
			t.Errorf("RoleBinding %s: %s, want %s (-want +got)\n%s", tt.name, actionRB, tt.wantAction, diff)
		}
	}
}

// roleBinding returns b as a RoleBinding.
func roleBinding(b *rbacv1.ClusterRoleBinding) *rbacv1.RoleBinding {
	if b == nil {
		return nil
	}
	return &rbacv1.RoleBinding{ObjectMeta: b.ObjectMeta, RoleRef: b.RoleRef, Subjects: b.Subjects}
}

// The defaults are up to date once they are stored.
func TestReconcileDefaultsSettles(t *testing.T) {
	p := load(t)
	for i := range p.ClusterRoles {
		created, _ := policy.ReconcileClusterRole(nil, &p.ClusterRoles[i])
		if _, action := policy.ReconcileClusterRole(created, &p.ClusterRoles[i]); action != policy.Keep {
			t.Errorf("%s: %s a second time", created.Name, action)
		}
	}
	for i := range p.ClusterRoleBindings {
		created, _ := policy.ReconcileClusterRoleBinding(nil, &p.ClusterRoleBindings[i])
		if _, action := policy.ReconcileClusterRoleBinding(created, &p.ClusterRoleBindings[i]); action != policy.Keep {
			t.Errorf("%s: %s a second time", created.Name, action)
		}
	}
}
