package rbac_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
)

const manifest = `# Who may see the pages.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pages}
rules:
- {verbs: [get], nonResourceURLs: [/pages/*]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: pages}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pages}
subjects:
- {kind: Group, name: dev}
---
# Nothing.
---
{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": "ns"},
 "rules": [{"verbs": ["list"], "apiGroups": ["shop"], "resources": ["orders"]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: ns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects:
- {kind: User, name: joe, apiGroup: rbac.authorization.k8s.io}
- {kind: ServiceAccount, name: app, namespace: ns}
`

func TestParse(t *testing.T) {
	objects, err := rbac.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	x := rbac.New()
	x.Replace(objects)
	orders := authz.Attributes{Verb: "list", IsResource: true, APIGroup: "shop", Resource: "orders", Namespace: "ns"}
	page := authz.Attributes{Verb: "get", Path: "/pages/1"}
	for _, test := range []struct {
		who  identity.Identity
		what authz.Attributes
		want authz.Verdict
	}{
		{identity.Identity{Name: "jane", Groups: []string{"dev"}}, page, authz.Allow},
		{identity.Identity{Name: "dev"}, page, authz.NoOpinion},
		{identity.Identity{Name: "joe"}, orders, authz.Allow},
		{identity.Identity{Name: "system:serviceaccount:ns:app"}, orders, authz.Allow},
		{identity.Identity{Name: "joe"}, page, authz.NoOpinion},
		{identity.Identity{Name: "jane", Groups: []string{"dev"}}, orders, authz.NoOpinion},
	} {
		test.what.User = &test.who
		if got, err := x.Authorize(t.Context(), &test.what); got.Verdict != test.want || err != nil {
			t.Errorf("%s %s %s: %v, %v, want %v", test.who.Name, test.what.Verb, test.what.Path, got.Verdict, err, test.want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	for _, tt := range []struct{ name, text, want string }{
		{"missing", "", "reading rules: open " + path},
		{"bad", "kind: Pod\n", "reading rules: " + path + ": object 1: "},
		{"good", manifest, ""},
	} {
		if tt.text != "" {
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		x, err := rbac.Load(path)
		if tt.want != "" {
			if err == nil || x != nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		dev := &identity.Identity{Name: "jane", Groups: []string{"dev"}}
		for path, want := range map[string]authz.Verdict{"/pages/1": authz.Allow, "/": authz.NoOpinion} {
			if got, err := x.Authorize(t.Context(), &authz.Attributes{User: dev, Verb: "get", Path: path}); err != nil || got.Verdict != want {
				t.Errorf("%s: %v, %v", path, got, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"no YAML", "kind: ClusterRole\n", "kind: [\n", "object 1"},
		{"a key twice", "verbs: [get]", "verbs: [get], verbs: [list]", "object 1"},
		{"unknown field", "verbs: [get]", "verb: [get]", `unknown field "rules[0].verb"`},
		{"case", "verbs: [get]", "Verbs: [get]", `unknown field "rules[0].Verbs"`},
		{"another version", "rbac.authorization.k8s.io/v1\nkind: ClusterRole\n", "rbac.authorization.k8s.io/v1beta1\nkind: ClusterRole\n", "v1beta1"},
		{"no version", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n", "kind: ClusterRole\n", `apiVersion is ""`},
		{"another kind", "kind: ClusterRole\n", "kind: Pod\n", `kind is "Pod"`},
		{"no name", "metadata: {name: pages}\nrules", "metadata: {}\nrules", "metadata.name is missing"},
		{"twice", `"kind": "Role", "metadata": {"name": "r", "namespace": "ns"}`, `"kind": "ClusterRole", "metadata": {"name": "pages"}`, "object 4: ClusterRole pages: is there twice"},
		{"cluster role in a namespace", "metadata: {name: pages}\nrules", "metadata: {name: pages, namespace: ns}\nrules", "of the whole cluster"},
		{"role in none", `"name": "r", "namespace": "ns"`, `"name": "r"`, "metadata.namespace is missing"},
		{"binding in none", "metadata: {name: b, namespace: ns}", "metadata: {name: b}", "metadata.namespace is missing"},
		{"no verbs", "verbs: [get]", "verbs: []", "rules[0].verbs is empty"},
		{"path in a namespace", `"apiGroups": ["shop"], "resources": ["orders"]`, `"nonResourceURLs": ["/x"]`, "use a ClusterRole"},
		{"paths and resources", "nonResourceURLs: [/pages/*]", `nonResourceURLs: [/pages/*], resources: [pods]`, "write two"},
		{"neither", ", nonResourceURLs: [/pages/*]", "", "needs apiGroups and resources"},
		{"no group", `"apiGroups": ["shop"], `, "", "needs apiGroups and resources"},
		{"aggregated", "rules:\n", "aggregationRule: {}\nrules:\n", "aggregated"},
		{"role for the cluster", "kind: ClusterRole, name: pages", "kind: Role, name: pages", "cannot be bound here"},
		{"no role", "kind: ClusterRole, name: pages", "kind: ClusterRole", "roleRef.name is missing"},
		{"role of no group", "{apiGroup: rbac.authorization.k8s.io, kind: Role,", "{kind: Role,", "roleRef.apiGroup"},
		{"unknown subject", "kind: Group, name: dev", "kind: Team, name: dev", "subjects[0].kind"},
		{"nameless subject", "kind: Group, name: dev", "kind: Group", "subjects[0].name is missing"},
		{"account of nowhere", "name: app, namespace: ns", "name: app", "subjects[1].namespace is missing"},
		{"group of a namespace", "kind: Group, name: dev", "kind: Group, name: dev, namespace: ns", "subjects[0].namespace"},
		{"account of a group", "name: app, namespace: ns", "name: app, namespace: ns, apiGroup: rbac.authorization.k8s.io", "subjects[1].apiGroup"},
	} {
		text := strings.Replace(manifest, test.old, test.new, 1)
		if text == manifest {
			t.Errorf("%s: changes nothing", test.name)
		}
		objects, err := rbac.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if objects.Roles != nil || objects.ClusterRoles != nil || objects.RoleBindings != nil || objects.ClusterRoleBindings != nil {
			t.Errorf("%s: some objects come with the error", test.name)
		}
	}
}

// FuzzParse looks for panics, and for objects that an index cannot take.
func FuzzParse(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte("---\n---\nnull\n"))
	f.Add([]byte("{\"apiVersion\": \"rbac.authorization.k8s.io/v1\", \"kind\": \"Role\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := rbac.Parse(text)
		if err != nil {
			return
		}
		x := rbac.New()
		x.Replace(objects)
		answer, err := x.Authorize(t.Context(), &authz.Attributes{User: &identity.Identity{}, Verb: "get", Path: "/"})
		if answer.Verdict == authz.Allow || err != nil {
			t.Errorf("somebody without a name gets %v, %v", answer.Verdict, err)
		}
	})
}
