package escalation_test

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/authz/rbac/escalation"
	"gatehouse.dev/gatehouse/identity"
)

func rule(verbs, groups, resources string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		Verbs:         strings.Split(verbs, " "),
		APIGroups:     strings.Split(groups, " "),
		Resources:     strings.Split(resources, " "),
		ResourceNames: names,
	}
}

// guard knows dev, who may read pods everywhere and write them in ci; binder,
// who may bind the cluster role node-reader in ci; author, who may escalate the
// role special in ci; root, who may do everything.
func guard() *escalation.Guard {
	x := rbac.New()
	grant := func(user, namespace string, rules ...rbacv1.PolicyRule) {
		meta := metav1.ObjectMeta{Name: user + "-" + namespace, Namespace: namespace}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}
		subjects := []rbacv1.Subject{{Kind: "User", Name: user}}
		if namespace != "" {
			x.SetRole(&rbacv1.Role{ObjectMeta: meta, Rules: rules})
			x.SetRoleBinding(&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
			return
		}
		ref.Kind = "ClusterRole"
		x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
		x.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
	}
	urls := rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}
	grant("dev", "", rule("get list", "", "pods"))
	grant("dev", "ci", rule("create delete", "", "pods"))
	grant("binder", "ci", rule("bind", rbacv1.GroupName, "clusterroles", "node-reader"))
	grant("author", "ci", rule("escalate", rbacv1.GroupName, "roles", "special"))
	grant("root", "", rule("*", "*", "*"), urls)
	grant("half", "", rule("*", "*", "*"))
	x.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "node-reader"}, Rules: []rbacv1.PolicyRule{rule("get", "", "nodes")}})
	x.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "lost"},
		RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: "gone"},
		Subjects:   []rbacv1.Subject{{Kind: "Group", Name: "lost"}},
	})
	return &escalation.Guard{Authorizer: x, Policy: x}
}

func who(name string, groups ...string) *identity.Identity {
	return &identity.Identity{Name: name, Groups: groups}
}

// refused checks that err is a status with the text, or nil if that is empty.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v\nwant %s", err, text)
		return
	}
	if apierrors.IsForbidden(err) == strings.HasSuffix(text, "not found") {
		t.Errorf("%v has the reason %s", err, apierrors.ReasonForError(err))
	}
}

const notHeld = "is attempting to grant RBAC permissions not currently held:\n"

func TestCheckRole(t *testing.T) {
	for _, tt := range []struct {
		name  string
		user  *identity.Identity
		path  string
		rules []rbacv1.PolicyRule
		err   string
	}{
		{"own rules", who("dev"), "", []rbacv1.PolicyRule{rule("get create", "", "pods")}, ""},
		{"no rules", who("nobody"), "", nil, ""},
		{"system:masters", who("x", "system:masters"), "", []rbacv1.PolicyRule{rule("*", "*", "*")}, ""},
		{"escalate", who("author"), "special", []rbacv1.PolicyRule{rule("*", "*", "*")}, ""},
		{"escalate by name, created", who("author"), "", []rbacv1.PolicyRule{rule("get", "", "pods")}, notHeld},
		{"escalate, another name", who("author"), "other", []rbacv1.PolicyRule{rule("get", "", "pods")}, notHeld},
		{"one verb more", who("dev", "a", "b"), "", []rbacv1.PolicyRule{rule("get watch patch", "", "pods")},
			`roles.rbac.authorization.k8s.io "special" is forbidden: user "dev" (groups=["a" "b"]) ` + notHeld +
				`{APIGroups:[""], Resources:["pods"], Verbs:["watch" "patch"]}`},
		{"sorted lines, each once", who("dev"), "", []rbacv1.PolicyRule{
			rule("get", "", "secrets nodes", "own"), rule("get", "", "secrets", "own"), rule("get", "apps", "deployments"),
			{Verbs: []string{"get"}, NonResourceURLs: []string{"/x"}},
		}, notHeld + `{APIGroups:[""], Resources:["nodes"], ResourceNames:["own"], Verbs:["get"]}
{APIGroups:[""], Resources:["secrets"], ResourceNames:["own"], Verbs:["get"]}
{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}
{NonResourceURLs:["/x"], Verbs:["get"]}`},
		{"missing role", who("joe", "lost"), "", []rbacv1.PolicyRule{rule("get", "", "pods")},
			`; resolution errors: [clusterrole.rbac.authorization.k8s.io "gone" not found]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "special", Namespace: "ci"}, Rules: tt.rules}
			w := escalation.Write{User: tt.user, Namespace: "ci", Name: tt.path}
			refused(t, guard().CheckRole(t.Context(), w, nil, role), tt.err)
		})
	}
}

func TestCheckUpdate(t *testing.T) {
	g, w := guard(), escalation.Write{User: who("nobody"), Namespace: "ci", Name: "special"}
	old := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "special", Namespace: "ci", Finalizers: []string{"x"}},
		Rules: []rbacv1.PolicyRule{rule("get", "", "pods")}}
	collected := old.DeepCopy()
	collected.Finalizers, collected.OwnerReferences = nil, []metav1.OwnerReference{{Name: "owner"}}
	refused(t, g.CheckRole(t.Context(), w, old, collected), "")
	labelled := collected.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	refused(t, g.CheckRole(t.Context(), w, old, labelled), notHeld)
	if len(labelled.Finalizers) != 0 {
		t.Error("the check changed the object")
	}

	binding := &rbacv1.RoleBinding{ObjectMeta: old.ObjectMeta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "node-reader"}}
	unbound := binding.DeepCopy()
	unbound.Finalizers = nil
	refused(t, g.CheckRoleBinding(t.Context(), w, binding, unbound), "")
	unbound.Subjects = []rbacv1.Subject{{Kind: "User", Name: "nobody"}}
	refused(t, g.CheckRoleBinding(t.Context(), w, binding, unbound), notHeld)
}

func TestCheckClusterRole(t *testing.T) {
	plain := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	aggregated := plain.DeepCopy()
	aggregated.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{}}}
	empty := plain.DeepCopy()
	empty.AggregationRule = &rbacv1.AggregationRule{}
	local := plain.DeepCopy()
	local.Rules = []rbacv1.PolicyRule{rule("delete", "", "pods")}
	const admin = `clusterroles.rbac.authorization.k8s.io "r" is forbidden: must have cluster-admin privileges to use the aggregationRule`
	for _, tt := range []struct {
		name     string
		user     *identity.Identity
		old, new *rbacv1.ClusterRole
		err      string
	}{
		{"plain", who("dev"), nil, plain, ""},
		{"aggregation by root", who("root"), nil, aggregated, ""},
		{"empty aggregation", who("dev"), nil, empty, ""},
		{"aggregation", who("dev"), nil, aggregated, admin},
		{"aggregation taken away", who("dev"), aggregated, plain, admin},
		{"rules held in one namespace only", who("dev"), nil, local, notHeld},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := escalation.Write{User: tt.user, Namespace: "ci"}
			refused(t, guard().CheckClusterRole(t.Context(), w, tt.old, tt.new), tt.err)
		})
	}
}

// TestAggregationNeedsPaths has users who may do everything with resources, but
// whom another authorizer than RBAC keeps from escalating.
func TestAggregationNeedsPaths(t *testing.T) {
	g := guard()
	g.Authorizer = authz.AlwaysDeny()
	role := &rbacv1.ClusterRole{AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{}}}}
	refused(t, g.CheckClusterRole(t.Context(), escalation.Write{User: who("root")}, nil, role), "")
	refused(t, g.CheckClusterRole(t.Context(), escalation.Write{User: who("half")}, nil, role), "must have cluster-admin privileges")
}

func TestCheckBinding(t *testing.T) {
	for _, tt := range []struct {
		name, kind, role, namespace string
		user                        *identity.Identity
		err                         string
	}{
		{"held", "Role", "dev-ci", "ci", who("dev"), ""},
		{"held in the cluster", "ClusterRole", "dev-", "", who("dev"), ""},
		{"bind", "ClusterRole", "node-reader", "ci", who("binder"), ""},
		{"system:masters", "ClusterRole", "gone", "", who("x", "system:masters"), ""},
		{"root", "ClusterRole", "half-", "", who("root"), ""},
		{"bind, another role", "ClusterRole", "half-", "ci", who("binder"), notHeld},
		{"bind, another namespace", "ClusterRole", "node-reader", "prod", who("binder"), notHeld},
		{"bind in a namespace, for the cluster", "ClusterRole", "node-reader", "", who("binder"),
			`clusterrolebindings.rbac.authorization.k8s.io "b" is forbidden: user "binder" (groups=[]) ` + notHeld},
		{"not held", "ClusterRole", "node-reader", "ci", who("dev"),
			`rolebindings.rbac.authorization.k8s.io "b" is forbidden: user "dev" (groups=[]) ` + notHeld},
		{"missing cluster role", "ClusterRole", "gone", "ci", who("dev"), `clusterroles.rbac.authorization.k8s.io "gone" not found`},
		{"missing role", "Role", "dev-ci", "prod", who("dev"), `roles.rbac.authorization.k8s.io "dev-ci" not found`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: tt.namespace}}
			b.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: tt.kind, Name: tt.role}
			g, w := guard(), escalation.Write{User: tt.user, Namespace: tt.namespace}
			if tt.namespace == "" {
				refused(t, g.CheckClusterRoleBinding(t.Context(), w, nil, (*rbacv1.ClusterRoleBinding)(b)), tt.err)
				return
			}
			refused(t, g.CheckRoleBinding(t.Context(), w, nil, b), tt.err)
		})
	}
}
