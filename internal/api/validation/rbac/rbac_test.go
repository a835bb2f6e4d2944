package rbac_test

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"gatehouse.dev/gatehouse/internal/api/validation/rbac"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

var (
	namespaced = metav1.ObjectMeta{Name: "system:reader", Namespace: "a", ResourceVersion: "1"}
	global     = metav1.ObjectMeta{Name: "system:reader", ResourceVersion: "1"}
)

func TestRules(t *testing.T) {
	read := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}
	probe := rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}}
	both := rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}, Resources: []string{"pods"}}
	const inNamespace = `rules[0].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs`
	const mixed = `rules[0].nonResourceURLs: Invalid value: ["/healthz"]: rules cannot apply to both regular resources and non-resource URLs`
	empty := []string{
		`rules[0].verbs: Required value: verbs must contain at least one value`,
		`rules[0].apiGroups: Required value: resource rules must supply at least one api group`,
		`rules[0].resources: Required value: resource rules must supply at least one resource`,
	}
	for _, test := range []struct {
		name          string
		rule          rbacv1.PolicyRule
		role, cluster []string
	}{
		{name: "resource", rule: read},
		{name: "url", rule: probe, role: []string{inNamespace}},
		{name: "both", rule: both, role: []string{inNamespace, mixed}, cluster: []string{mixed}},
		{name: "nothing", role: empty, cluster: empty},
		{name: "no verb", rule: rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}},
			role: empty[:1], cluster: empty[:1]},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules := []rbacv1.PolicyRule{test.rule}
			validationtest.Check(t, rbac.ValidateRole(&rbacv1.Role{ObjectMeta: namespaced, Rules: rules}), test.role...)
			validationtest.Check(t, rbac.ValidateClusterRole(&rbacv1.ClusterRole{ObjectMeta: global, Rules: rules}), test.cluster...)
		})
	}
}

func TestRoleNames(t *testing.T) {
	for name, want := range map[string][]string{
		"system:reader": nil,
		"Räuber":        nil,
		"a/b":           {`metadata.name: Invalid value: "a/b": may not contain '/'`},
		"..":            {`metadata.name: Invalid value: "..": may not be '..'`},
	} {
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "a"}}
		validationtest.Check(t, rbac.ValidateRole(role), want...)
	}
}

func TestAggregation(t *testing.T) {
	selector := func(value string) *rbacv1.AggregationRule {
		return &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{
			{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "to", Operator: "In", Values: []string{value}}}},
		}}
	}
	for _, test := range []struct {
		name string
		rule *rbacv1.AggregationRule
		want []string
	}{
		{name: "none"},
		{name: "one", rule: selector("view")},
		{name: "empty", rule: &rbacv1.AggregationRule{}, want: []string{
			`aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			validationtest.Check(t, rbac.ValidateClusterRole(&rbacv1.ClusterRole{ObjectMeta: global, AggregationRule: test.rule}), test.want...)
		})
	}
	broken := &rbacv1.ClusterRole{ObjectMeta: global, AggregationRule: selector("a b")}
	whole := &rbacv1.ClusterRole{ObjectMeta: global}
	bad := `aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values[0]: Invalid value: "a b": ` +
		utilvalidation.IsValidLabelValue("a b")[0]
	validationtest.Check(t, rbac.ValidateClusterRole(broken), bad)
	validationtest.Check(t, rbac.ValidateClusterRoleUpdate(broken, whole), bad)
	validationtest.Check(t, rbac.ValidateClusterRoleUpdate(broken, broken))
}

func TestBindings(t *testing.T) {
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"}
	clusterRole := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"}
	user := rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "jane"}
	account := rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"}
	const noRole = `roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"`
	const noNamespace = `subjects[0].namespace: Required value`
	same := func(want ...string) [2][]string { return [2][]string{want, want} }
	for _, test := range []struct {
		name    string
		ref     rbacv1.RoleRef
		subject rbacv1.Subject
		want    [2][]string // of the role binding, of the cluster role binding
	}{
		{name: "user", ref: clusterRole, subject: user},
		{name: "role", ref: role, subject: user, want: [2][]string{nil, {noRole}}},
		{name: "account without namespace", ref: clusterRole, subject: account, want: [2][]string{nil, {noNamespace}}},
		{name: "account", ref: clusterRole, subject: rbacv1.Subject{Kind: "ServiceAccount", Name: "robot", Namespace: "b"}},
		{name: "other group of roles", ref: rbacv1.RoleRef{APIGroup: "example.com", Kind: "ClusterRole", Name: "reader"}, subject: user,
			want: same(`roleRef.apiGroup: Unsupported value: "example.com": supported values: "rbac.authorization.k8s.io"`)},
		{name: "nameless role", ref: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole"}, subject: user,
			want: same(`roleRef.name: Required value`)},
		{name: "role with a path", ref: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "a%b"}, subject: user,
			want: same(`roleRef.name: Invalid value: "a%b": may not contain '%'`)},
		{name: "nameless user", ref: clusterRole, subject: rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName},
			want: same(`subjects[0].name: Required value`)},
		{name: "group of users", ref: clusterRole, subject: rbacv1.Subject{Kind: "Group", Name: "ops"},
			want: same(`subjects[0].apiGroup: Unsupported value: "": supported values: "rbac.authorization.k8s.io"`)},
		{name: "group of an account", ref: clusterRole,
			subject: rbacv1.Subject{Kind: "ServiceAccount", APIGroup: "v1", Name: "robot", Namespace: "b"},
			want:    same(`subjects[0].apiGroup: Unsupported value: "v1": supported values: ""`)},
		{name: "machine", ref: clusterRole, subject: rbacv1.Subject{Kind: "Machine", Name: "m"},
			want: same(`subjects[0].kind: Unsupported value: "Machine": supported values: "ServiceAccount", "User", "Group"`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			subjects := []rbacv1.Subject{test.subject}
			validationtest.Check(t, rbac.ValidateRoleBinding(&rbacv1.RoleBinding{
				ObjectMeta: namespaced, RoleRef: test.ref, Subjects: subjects}), test.want[0]...)
			validationtest.Check(t, rbac.ValidateClusterRoleBinding(&rbacv1.ClusterRoleBinding{
				ObjectMeta: global, RoleRef: test.ref, Subjects: subjects}), test.want[1]...)
		})
	}
}

func TestUpdate(t *testing.T) {
	reader := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"}
	admin := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"}
	const changed = `roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"admin"}: cannot change roleRef`

	old := &rbacv1.RoleBinding{ObjectMeta: namespaced, RoleRef: reader}
	validationtest.Check(t, rbac.ValidateRoleBindingUpdate(old, old))
	validationtest.Check(t, rbac.ValidateRoleBindingUpdate(&rbacv1.RoleBinding{ObjectMeta: namespaced, RoleRef: admin}, old), changed)

	oldCluster := &rbacv1.ClusterRoleBinding{ObjectMeta: global, RoleRef: reader}
	validationtest.Check(t, rbac.ValidateClusterRoleBindingUpdate(oldCluster, oldCluster))
	validationtest.Check(t, rbac.ValidateClusterRoleBindingUpdate(&rbacv1.ClusterRoleBinding{ObjectMeta: global, RoleRef: admin}, oldCluster), changed)

	role := &rbacv1.Role{ObjectMeta: namespaced}
	validationtest.Check(t, rbac.ValidateRoleUpdate(role, role))
	validationtest.Check(t, rbac.ValidateRoleUpdate(&rbacv1.Role{ObjectMeta: namespaced, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"pods"}}}}, role),
		`rules[0].verbs: Required value: verbs must contain at least one value`)
}
