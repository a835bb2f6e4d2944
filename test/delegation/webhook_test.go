package delegation_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/apiserver/pkg/util/webhook"
	tokenwebhook "k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	accesswebhook "k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"
)

// once asks one time, so that a test of a failure ends.
func once() wait.Backoff { return wait.Backoff{Duration: time.Millisecond, Steps: 1} }

// testTokenWebhook is --authentication-token-webhook-config-file.
func testTokenWebhook(t *testing.T, w *world) {
	account := w.account(t)
	name := "system:serviceaccount:default:" + account
	flags := w.printed(t)
	ask := func(kubeconfig string) *tokenwebhook.WebhookTokenAuthenticator {
		config, err := webhook.LoadKubeconfig(kubeconfig, nil)
		check(t, err)
		a, err := tokenwebhook.New(config, flags["authentication-token-webhook-version"], authenticator.Audiences{"api"}, once())
		check(t, err)
		return a
	}
	a := ask(flags["authentication-token-webhook-config-file"])
	app := w.token(t, account, "elsewhere")
	for _, test := range []struct {
		name, token string
		audiences   authenticator.Audiences
		want        string // "" if refused
		says        string // of the refusal
	}{
		{"static", "janes-t0ken", nil, "jane", ""},
		{"account", w.token(t, account), nil, name, ""},
		{"account for an audience", app, authenticator.Audiences{"elsewhere", "more"}, name, ""},
		{"account for another audience", app, authenticator.Audiences{"more"}, "", ""},
		{"account for another audience than ours", app, nil, "", "invalid"},
		{"static for an audience that is not ours", "janes-t0ken", authenticator.Audiences{"elsewhere"}, "", ""},
		{"unknown", "jacks-t0ken", nil, "", "invalid bearer token"},
		{"empty", "", nil, "", "token"},
	} {
		ctx := t.Context()
		if test.audiences != nil {
			ctx = authenticator.WithAudiences(ctx, test.audiences)
		}
		res, ok, err := a.AuthenticateToken(ctx, test.token)
		var got string
		if ok {
			got = res.User.GetName()
		}
		if got != test.want || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %q, %v, want %q, %q", test.name, got, err, test.want, test.says)
		}
		if err != nil && test.token != "" && strings.Contains(err.Error(), test.token) {
			t.Errorf("%s: the error holds the token", test.name)
		}
	}
	w.explained(t, asked(a.AuthenticateToken(t.Context(), "jacks-t0ken")), "TokenReview", `"kind":"unknown"`)
	w.explained(t, asked(a.AuthenticateToken(t.Context(), app)), "TokenReview", `"got":"[\"elsewhere\"]"`)
	res, ok, err := a.AuthenticateToken(t.Context(), "janes-t0ken")
	want := &user.DefaultInfo{Name: "jane", UID: "uid-1", Groups: []string{"dev", "system:authenticated"}}
	if !ok || !reflect.DeepEqual(res.User, want) {
		t.Errorf("jane is %+v, %v, want %+v", res, err, want)
	}
	bystander := w.kubeconfig(t, "bystander", "/apis/authentication.k8s.io/v1/tokenreviews")
	if res, ok, err := ask(bystander).AuthenticateToken(t.Context(), "janes-t0ken"); ok || err == nil || !strings.Contains(err.Error(), "cannot create resource") {
		t.Errorf("one who may not ask gets %+v, %v", res, err)
	}
}

// testAccessWebhook is --authorization-webhook-config-file.
func testAccessWebhook(t *testing.T, w *world) {
	flags := w.printed(t)
	ask := func(kubeconfig string) authorizer.Authorizer {
		config, err := webhook.LoadKubeconfig(kubeconfig, nil)
		check(t, err)
		a, err := accesswebhook.New(config, flags["authorization-webhook-version"], 0, 0, once(), authorizer.DecisionDeny, nil, "gatehouse",
			metrics.NoopAuthorizerMetrics{}, cel.NewDefaultCompiler())
		check(t, err)
		return a
	}
	a := ask(flags["authorization-webhook-config-file"])
	dev := &user.DefaultInfo{Name: "jane", Groups: []string{"dev"}}
	get := authorizer.AttributesRecord{User: dev, Verb: "get", Namespace: "default", APIVersion: "v1", Resource: "configmaps", Name: "x", ResourceRequest: true}
	change := func(f func(*authorizer.AttributesRecord)) authorizer.AttributesRecord {
		c := get
		f(&c)
		return c
	}
	for name, test := range map[string]struct {
		attributes authorizer.AttributesRecord
		want       authorizer.Decision
		says       string
	}{
		"object": {get, authorizer.DecisionAllow, `RBAC: allowed by RoleBinding "readers/default"`},
		"path":   {authorizer.AttributesRecord{User: dev, Verb: "get", Path: "/metrics"}, authorizer.DecisionAllow, `RBAC: allowed by ClusterRoleBinding "metrics"`},
		"masters": {change(func(a *authorizer.AttributesRecord) {
			a.User = &user.DefaultInfo{Name: "x", Groups: []string{"system:masters"}}
		}), authorizer.DecisionAllow, ""},
		"revoked, and bound": {change(func(a *authorizer.AttributesRecord) {
			a.User = &user.DefaultInfo{Name: revoked, Groups: []string{"dev"}}
		}), authorizer.DecisionDeny, "he is revoked"},
		"bound without the group": {
			change(func(a *authorizer.AttributesRecord) { a.User = &user.DefaultInfo{Name: "jane"} }), authorizer.DecisionNoOpinion, ""},
		"verb":        {change(func(a *authorizer.AttributesRecord) { a.Verb = "delete" }), authorizer.DecisionNoOpinion, ""},
		"namespace":   {change(func(a *authorizer.AttributesRecord) { a.Namespace = "" }), authorizer.DecisionNoOpinion, ""},
		"group":       {change(func(a *authorizer.AttributesRecord) { a.APIGroup = "apps" }), authorizer.DecisionNoOpinion, ""},
		"subresource": {change(func(a *authorizer.AttributesRecord) { a.Subresource = "status" }), authorizer.DecisionNoOpinion, ""},
		"other path":  {authorizer.AttributesRecord{User: dev, Verb: "get", Path: "/metrics/x"}, authorizer.DecisionNoOpinion, ""},
		"nobody":      {change(func(a *authorizer.AttributesRecord) { a.User = &user.DefaultInfo{} }), authorizer.DecisionDeny, ""},
	} {
		got, reason, err := a.Authorize(t.Context(), test.attributes)
		if got != test.want || !strings.Contains(reason, test.says) {
			t.Errorf("%s: %v, %q, %v, want %v, %q", name, got, reason, err, test.want, test.says)
		}
	}
	_, reason, _ := a.Authorize(t.Context(), change(func(a *authorizer.AttributesRecord) { a.Verb = "patch" }))
	w.explained(t, reason, "SubjectAccessReview", `"differs":"verb"`)
	bystander := w.kubeconfig(t, "bystander", "/apis/authorization.k8s.io/v1/subjectaccessreviews")
	if got, _, err := ask(bystander).Authorize(t.Context(), get); got != authorizer.DecisionDeny || err == nil {
		t.Errorf("one who may not ask gets %v, %v", got, err)
	}
}

// asked returns what is told of a token that is refused.
func asked(_ *authenticator.Response, _ bool, err error) string { return fmt.Sprint(err) }

// explained holds that what an API server was told leads an operator to the
// cause.
func (w *world) explained(t *testing.T, told, kind, cause string) {
	t.Helper()
	_, id, ok := strings.Cut(told, "gatehouse explain ")
	if id = strings.Trim(id, ")"); !ok {
		t.Errorf("%q does not say how to find out more", told)
		return
	}
	text, err := w.admin.CoreV1().RESTClient().Get().AbsPath("/apis/gatehouse.dev/v1alpha1/explanations/" + id).DoRaw(t.Context())
	check(t, err)
	for _, want := range []string{`"kind":"` + kind + `"`, `"asker":"gatehouse:webhook:prod"`, cause} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is explained without %s: %s", told, want, text)
		}
	}
}
