package explain

import (
	"os/exec"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
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
		{"no service account", "system:serviceaccount:ci", here, view, ""},
		{"none by its name", "system:serviceaccount:ci:robot:two", here, view, ""},
		{"none in a namespace", "system:serviceaccount::robot", here, view, ""},
		{"a service account not known whole", cut("system:serviceaccount:ci:"+strings.Repeat("x", maxName), maxName), here, view, ""},
		{"shown as another", "jane\ndoe", here, view, ""},
		{"hidden", "jane\u200b", here, view, ""},
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

// What a role could not allow without allowing more is not proposed.
func TestProposable(t *testing.T) {
	resource := func(verb, group, resource, subresource, name string) authz.Attributes {
		return authz.Attributes{IsResource: true, Verb: verb, APIGroup: group, Resource: resource, Subresource: subresource, Name: name}
	}
	const old, constrained = "impersonate", "impersonate:user-info"
	for _, tt := range []struct {
		name string
		asks authz.Attributes
		want bool
	}{
		{"resource", resource("get", "apps", "deployments", "scale", "web"), true},
		{"a name that is a star", resource("impersonate:associated-node", "authentication.k8s.io", "nodes", "", "*"), true},
		{"path", authz.Attributes{Verb: "get", Path: "/metrics"}, true},
		{"a star within a path", authz.Attributes{Verb: "get", Path: "/a*b"}, true},
		{"as a user", resource(old, "", "users", "", "jane"), true},
		{"as of a group", resource(constrained, "authentication.k8s.io", "groups", "", "dev"), true},
		{"on what has no name", resource("impersonate-on:user-info:list", "", "pods", "", ""), true},

		{"every verb", resource("*", "", "pods", "", ""), false},
		{"every group", resource("get", "*", "pods", "", ""), false},
		{"every resource", resource("get", "", "*", "", ""), false},
		{"every subresource", resource("get", "", "pods", "*", ""), false},
		{"every subresource of that name", resource("get", "", "*", "scale", ""), false},
		{"every path", authz.Attributes{Verb: "get", Path: "/*"}, false},
		{"every path below", authz.Attributes{Verb: "get", Path: "/metrics/*"}, false},
		{"every verb of a path", authz.Attributes{Verb: "*", Path: "/metrics"}, false},
		{"no verb", resource("", "", "pods", "", ""), false},
		{"as one of the masters", resource(old, "", "groups", "", identity.GroupMasters), false},
		{"as one of the masters, constrained", resource(constrained, "authentication.k8s.io", "groups", "", identity.GroupMasters), false},
		{"as of no group", resource(constrained, "authentication.k8s.io", "groups", "", ""), false},
		{"with nothing besides", resource(constrained, "authentication.k8s.io", "userextras", "", ""), false},
		{"shown as another", resource("get", "", "pods", "", "a\nb"), false},
		{"not known whole", authz.Attributes{Verb: "get", Path: cut("/"+strings.Repeat("x", maxPath), maxPath)}, false},
		{"a name not known whole", resource("get", "", "pods", "", cut(strings.Repeat("x", maxName+1), maxName)), false},
	} {
		if got := proposable(&tt.asks); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// Roles are proposed for what is lacking, unless it is denied whatever they allow.
func TestRolesForActing(t *testing.T) {
	asks := authz.Attributes{User: &identity.Identity{Name: "joe"}, IsResource: true, Verb: "impersonate", Resource: "users", Name: "jane"}
	for verdict, want := range map[authz.Verdict]int{authz.NoOpinion: 1, authz.Deny: 0} {
		var out Request
		(&Explainer{Authorizer: rules{}}).refuseToAct(&out, &impersonation.Refusal{
			Asked: asks, Verdict: verdict, Others: []*impersonation.Refusal{{Asked: asks, Verdict: verdict}},
		})
		for _, a := range append(out.Authorization.Instead, *out.Authorization) {
			if len(a.Roles) != want || (a.Rule != "") != (want > 0) || len(out.Authorization.Instead) != 1 {
				t.Errorf("%v: roles %v, rule %q", verdict, a.Roles, a.Rule)
			}
		}
	}
}
