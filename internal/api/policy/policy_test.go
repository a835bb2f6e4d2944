package policy_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/gatehouse/internal/api/policy"
)

func load(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Load()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// roleNamed returns the ClusterRole of that name.
func roleNamed(t *testing.T, p *policy.Policy, name string) *rbacv1.ClusterRole {
	t.Helper()
	for i := range p.ClusterRoles {
		if p.ClusterRoles[i].Name == name {
			return &p.ClusterRoles[i]
		}
	}
	t.Fatalf("no ClusterRole %q", name)
	return nil
}

// metas returns the metadata of every object, list by list.
func metas(p *policy.Policy) [][]metav1.ObjectMeta {
	lists := make([][]metav1.ObjectMeta, 4)
	for _, o := range p.ClusterRoles {
		lists[0] = append(lists[0], o.ObjectMeta)
	}
	for _, o := range p.ClusterRoleBindings {
		lists[1] = append(lists[1], o.ObjectMeta)
	}
	for _, o := range p.Roles {
		lists[2] = append(lists[2], o.ObjectMeta)
	}
	for _, o := range p.RoleBindings {
		lists[3] = append(lists[3], o.ObjectMeta)
	}
	return lists
}

func TestCounts(t *testing.T) {
	want := []int{
		32 + 41 + 4, // the default roles, those of the controllers, and gatehouse: explain, credentials, workload-runner and certificate-status
		13 + 41 + 3, // their bindings, and gatehouse: admins, webhooks and certificate-status
		7, 7,
	}
	for i, list := range metas(load(t)) {
		if len(list) != want[i] {
			t.Errorf("list %d has %d objects, want %d", i, len(list), want[i])
		}
	}
}

func TestMetadata(t *testing.T) {
	for _, list := range metas(load(t)) {
		var names []string
		for _, m := range list {
			names = append(names, m.Namespace+"/"+m.Name)
			if m.Labels["kubernetes.io/bootstrapping"] != "rbac-defaults" || m.Annotations[rbacv1.AutoUpdateAnnotationKey] != "true" {
				t.Errorf("%s is not marked as a default: %v %v", m.Name, m.Labels, m.Annotations)
			}
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("names are not sorted, or not unique: %v", names)
		}
	}
}

// The objects inside a server have no apiVersion and kind; the manifests do.
func TestTypeMetaIsDropped(t *testing.T) {
	p := load(t)
	if got := p.ClusterRoles[0].TypeMeta; got != (metav1.TypeMeta{}) {
		t.Errorf("a ClusterRole has %v", got)
	}
	if got := p.RoleBindings[0].TypeMeta; got != (metav1.TypeMeta{}) {
		t.Errorf("a RoleBinding has %v", got)
	}
}

func TestLoadIsFresh(t *testing.T) {
	p := load(t)
	p.ClusterRoles[0].Labels["x"], p.ClusterRoleBindings[0].Subjects[0].Name = "y", "mallory"
	if diff := cmp.Diff(load(t), p); diff == "" {
		t.Error("a change to one policy shows in the next")
	}
	if diff := cmp.Diff(load(t), load(t)); diff != "" {
		t.Errorf("two policies differ:\n%s", diff)
	}
}

// The digests are of the testdata of Kubernetes v1.37.2, so that no rule is lost
// or added by accident. To see what differs, or to move to another release, set
// KUBERNETES_BOOTSTRAP_TESTDATA to the folder
// plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata of its source.
func TestEqualsKubernetes(t *testing.T) {
	p := load(t)
	p.ClusterRoleBindings = slices.DeleteFunc(p.ClusterRoleBindings, func(b rbacv1.ClusterRoleBinding) bool {
		return strings.HasPrefix(b.Name, "gatehouse:")
	})
	p.ClusterRoles = slices.DeleteFunc(p.ClusterRoles, func(r rbacv1.ClusterRole) bool {
		return strings.HasPrefix(r.Name, "gatehouse:")
	})
	testEquals(t, p.ClusterRoles, "0ae447ef15beea0e91b51b75fd47ff7fdd091f49fd09d7421c079948d2d36819", "cluster-roles.yaml", "controller-roles.yaml")
	testEquals(t, p.ClusterRoleBindings, "70336d5a4130319a9730fe93a018fa3fafb6450d69016b9d05ab69eb4b21a72d", "cluster-role-bindings.yaml", "controller-role-bindings.yaml")
	testEquals(t, p.Roles, "136738a63cfa9946694a1c6ad4f5f4052d00b90b2c1102470e60ba8db2a3546b", "namespace-roles.yaml")
	testEquals(t, p.RoleBindings, "abcf19800c9a86a5dde7879de1d2651f28ca5b92133850e590595e57c4bf63ee", "namespace-role-bindings.yaml")
}

func testEquals[T any](t *testing.T, got []T, wantDigest string, files ...string) {
	t.Helper()
	if digest := digestOf(t, got); digest != wantDigest {
		t.Errorf("digest of %v is %s, want %s", files, digest, wantDigest)
	}
	folder := os.Getenv("KUBERNETES_BOOTSTRAP_TESTDATA")
	if folder == "" {
		return
	}
	want := map[string]any{}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(folder, f))
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Items []T }
		if err := yaml.Unmarshal(data, &list); err != nil {
			t.Fatal(err)
		}
		addByName(t, want, list.Items)
	}
	have := map[string]any{}
	addByName(t, have, got)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%v differ (-Kubernetes +ours):\n%s", files, diff)
	}
}

// addByName adds what the objects are in JSON, but for apiVersion and kind.
func addByName[T any](t *testing.T, to map[string]any, objects []T) {
	t.Helper()
	data, err := json.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	var maps []map[string]any
	if err := json.Unmarshal(data, &maps); err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		delete(m, "apiVersion")
		delete(m, "kind")
		meta := m["metadata"].(map[string]any)
		to[fmt.Sprint(meta["namespace"], "/", meta["name"])] = m
	}
}

func digestOf[T any](t *testing.T, objects []T) string {
	t.Helper()
	m := map[string]any{}
	addByName(t, m, objects)
	data, err := json.Marshal(m) // with its keys sorted
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// The rules are those of pkg/apis/rbac/validation.
func TestRulesAreValid(t *testing.T) {
	p := load(t)
	check := func(name string, rules []rbacv1.PolicyRule, namespaced bool) {
		for _, r := range rules {
			resources := len(r.Resources) > 0 && len(r.APIGroups) > 0
			urls := len(r.NonResourceURLs) > 0
			switch {
			case len(r.Verbs) == 0:
				t.Errorf("%s: no verbs in %v", name, r)
			case urls && (namespaced || resources || len(r.ResourceNames) > 0):
				t.Errorf("%s: a URL beside resources, or in a namespace: %v", name, r)
			case !urls && !resources:
				t.Errorf("%s: neither resources nor URLs in %v", name, r)
			}
		}
	}
	for _, r := range p.ClusterRoles {
		check(r.Name, r.Rules, false)
		if (len(r.Rules) == 0) != (r.AggregationRule != nil) {
			t.Errorf("%s: a role has rules or aggregates them, and not both", r.Name)
		}
	}
	for _, r := range p.Roles {
		check(r.Name, r.Rules, true)
	}
}

func TestBindingsAreValid(t *testing.T) {
	p := load(t)
	roles := map[string]bool{}
	for _, r := range p.ClusterRoles {
		roles["ClusterRole/"+r.Name] = true
	}
	for _, r := range p.Roles {
		roles["Role/"+r.Namespace+"/"+r.Name] = true
	}
	check := func(name, role string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		if !roles[role] || ref.APIGroup != rbacv1.GroupName {
			t.Errorf("%s binds %v, which is not there", name, ref)
		}
		for _, s := range subjects {
			account := s.Kind == rbacv1.ServiceAccountKind && s.APIGroup == "" && s.Namespace != ""
			other := (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) && s.APIGroup == rbacv1.GroupName && s.Namespace == ""
			if s.Name == "" || account == other {
				t.Errorf("%s: bad subject %v", name, s)
			}
		}
	}
	for _, b := range p.ClusterRoleBindings {
		check(b.Name, b.RoleRef.Kind+"/"+b.RoleRef.Name, b.RoleRef, b.Subjects)
	}
	for _, b := range p.RoleBindings {
		check(b.Name, b.RoleRef.Kind+"/"+b.Namespace+"/"+b.RoleRef.Name, b.RoleRef, b.Subjects)
	}
}

// Whoever may do dangerous things by default, or may do them unknown, is here.
func TestWhoIsBound(t *testing.T) {
	var got []string
	for _, b := range load(t).ClusterRoleBindings {
		for _, s := range b.Subjects {
			if b.RoleRef.Name == "cluster-admin" || b.RoleRef.Name == "system:auth-delegator" || s.Name == "system:unauthenticated" || s.Name == "system:nodes" {
				got = append(got, fmt.Sprintf("%s: %s of %s %s", b.Name, b.RoleRef.Name, s.Kind, s.Name))
			}
		}
	}
	want := []string{
		"cluster-admin: cluster-admin of Group system:masters",
		"gatehouse:admins: cluster-admin of Group gatehouse:admins",
		"gatehouse:certificate-status: gatehouse:certificate-status of Group system:unauthenticated",
		"gatehouse:webhooks: system:auth-delegator of Group gatehouse:webhooks",
		"system:public-info-viewer: system:public-info-viewer of Group system:unauthenticated",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who is bound: (-want +got)\n%s", diff)
	}
}

// grants says whether the rules let somebody do verb on group/resource.
func grants(rules []rbacv1.PolicyRule, verb, group, resource string) bool {
	ok, _ := validation.Covers(rules, []rbacv1.PolicyRule{{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}}})
	return ok
}

func TestSpotChecks(t *testing.T) {
	p := load(t)
	settle(t, p)
	tests := []struct {
		role, verb, group, resource string
		want                        bool
	}{
		{"view", "get", "", "pods", true},
		{"view", "get", "", "secrets", false},
		{"view", "create", "", "pods", false},
		{"view", "list", "rbac.authorization.k8s.io", "roles", false},
		{"edit", "get", "", "secrets", true},
		{"edit", "create", "", "serviceaccounts/token", true},
		{"edit", "impersonate", "", "serviceaccounts", true},
		{"edit", "create", "rbac.authorization.k8s.io", "rolebindings", false},
		{"edit", "update", "", "namespaces", false},
		{"admin", "create", "rbac.authorization.k8s.io", "rolebindings", true},
		{"admin", "create", "authorization.k8s.io", "localsubjectaccessreviews", true},
		{"admin", "escalate", "rbac.authorization.k8s.io", "roles", false},
		{"admin", "update", "", "resourcequotas", false},
		{"cluster-admin", "escalate", "any.example", "thing/sub", true},
		{"system:auth-delegator", "create", "authentication.k8s.io", "tokenreviews", true},
		{"system:auth-delegator", "create", "", "serviceaccounts/token", false},
		{"system:basic-user", "create", "authentication.k8s.io", "selfsubjectreviews", true},
		{"system:basic-user", "create", "authorization.k8s.io", "subjectaccessreviews", false},
		{"system:controller:clusterrole-aggregation-controller", "escalate", "rbac.authorization.k8s.io", "clusterroles", true},
		{"system:kube-controller-manager", "create", "", "serviceaccounts/token", true},
	}
	for _, tt := range tests {
		if got := grants(roleNamed(t, p, tt.role).Rules, tt.verb, tt.group, tt.resource); got != tt.want {
			t.Errorf("%s may %s %s in %q: %v, want %v", tt.role, tt.verb, tt.resource, tt.group, got, tt.want)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Load(); err != nil {
			b.Fatal(err)
		}
	}
}
