package explain

import (
	"os/exec"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

func TestBind(t *testing.T) {
	here := authz.Attributes{IsResource: true, Verb: "list", Resource: "pods", Namespace: "ci"}
	everywhere := authz.Attributes{IsResource: true, Verb: "list", Resource: "pods"}
	path := authz.Attributes{Verb: "get", Path: "/metrics", Namespace: "ci"}
	view, local := authz.Role{Kind: "ClusterRole", Name: "view"}, authz.Role{Kind: "Role", Name: "team:read"}
	for _, tt := range []struct {
		name, user string
		asks       authz.Attributes
		role       authz.Role
		want       string // nothing: nobody is bound to anything
	}{
		{"service account", "system:serviceaccount:ci:robot", here, view,
			"kubectl create rolebinding robot-view --namespace=ci --clusterrole=view --serviceaccount=ci:robot"},
		{"user", "jane", here, local, "kubectl create rolebinding jane-team-read --namespace=ci --role=team:read --user=jane"},
		{"everywhere", "jane", everywhere, view, "kubectl create clusterrolebinding jane-view --clusterrole=view --user=jane"},
		{"path", "jane", path, view, "kubectl create clusterrolebinding jane-view --clusterrole=view --user=jane"},
		{"of an issuer", "https://issuer.example/#jane@Example.org", everywhere, view,
			"kubectl create clusterrolebinding jane-example.org-view --clusterrole=view '--user=https://issuer.example/#jane@Example.org'"},
		{"no letter", "##", everywhere, authz.Role{Kind: "ClusterRole", Name: "+"}, "kubectl create clusterrolebinding granted '--clusterrole=+' '--user=##'"},
		{"a shell's", "a'; rm -rf $HOME #", everywhere, view,
			`kubectl create clusterrolebinding view --clusterrole=view '--user=a'\''; rm -rf $HOME #'`},
		{"long", strings.Repeat("x", 100), everywhere, view,
			"kubectl create clusterrolebinding " + strings.Repeat("x", 63) + " --clusterrole=view --user=" + strings.Repeat("x", 100)},

		{"nobody", "", here, view, ""},
		{"anonymous", identity.Anonymous, here, view, ""},
		{"node", "system:node:a", here, view, ""},
		{"not known whole", cut(strings.Repeat("x", maxName+1), maxName), here, view, ""},
		{"part of the system", "system:kube-scheduler", here, view, ""},
	} {
		tt.asks.User = &identity.Identity{Name: tt.user}
		subject, ok := subjectOf(tt.asks.User)
		if !ok {
			if tt.want != "" {
				t.Errorf("%s: nobody", tt.name)
			}
			continue
		}
		if got := bind(&tt.role, &tt.asks, subject); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// A shell takes a quoted word for what it was.
func TestQuoted(t *testing.T) {
	for _, word := range []string{"", "plain", "a b", "it's", "$HOME", "`id`", "a;b", `back\slash`, "new\nline", "*", "--user=ünï"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+quoted(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q becomes %q, %v", word, out, err)
		}
	}
}

func TestRuleFor(t *testing.T) {
	for _, tt := range []struct {
		asks authz.Attributes
		want string
	}{
		{authz.Attributes{IsResource: true, Verb: "list", Resource: "nodes"}, `{apiGroups: [""], resources: ["nodes"], verbs: ["list"]}`},
		{authz.Attributes{IsResource: true, Verb: "get", APIGroup: "apps", Resource: "deployments", Subresource: "scale", Namespace: "ci", Name: "web"},
			`{apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["get"], resourceNames: ["web"]}`},
		{authz.Attributes{Verb: "get", Path: "/metrics"}, `{nonResourceURLs: ["/metrics"], verbs: ["get"]}`},
		{authz.Attributes{IsResource: true, Verb: "get", Resource: `"`}, `{apiGroups: [""], resources: ["\""], verbs: ["get"]}`},
	} {
		if got := ruleFor(&tt.asks); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}
