package kubeauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/kubernetes/scheme"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/kubeauth"
)

// people knows tokens that are "NAME AUDIENCE", with a dot for the space.
type people struct{}

func (people) VerifyToken(_ context.Context, token string, audiences []string) (*authn.Result, error) {
	name, audience, ok := strings.Cut(token, ".")
	if !ok {
		return nil, authn.Pass("Test", "no dot")
	}
	if name == "bad" {
		return nil, &authn.Refusal{Method: "Test", Reason: "bad token", Annotations: []authn.Annotation{{Key: "example.org/bad", Value: audience}}}
	}
	both, ok := authn.Audiences([]string{"api"}, audiences)
	if ok = ok && authn.Intersect([]string{audience}, both) != nil; !ok {
		return nil, authn.Refuse("Test", authn.WrongAudience, "for somebody else")
	}
	who := &identity.Identity{Name: name, UID: "7", Groups: []string{"dev"}, Extra: map[string][]string{"k": {"v"}}}
	return &authn.Result{Identity: who, Audiences: []string{audience}, Warnings: []string{"it is old"}}, nil
}

const rules = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {verbs: [list], apiGroups: [shop], resources: [orders]}
- {verbs: [get], nonResourceURLs: [/metrics]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: User, name: jane}]
`

func index(t testing.TB) *rbac.Index {
	t.Helper()
	objects, err := rbac.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	x := rbac.New()
	x.Replace(objects)
	return x
}

// A recorder keeps the warnings of an answer.
type recorder struct{ texts []string }

func (r *recorder) AddWarning(_, text string) { r.texts = append(r.texts, text) }

// The library's own filters, with nothing of the library's behind them.
func TestFilters(t *testing.T) {
	a := authn.OrAnonymous(authn.Bearer(authn.Tokens(people{})), anonymous.New("/metrics"))
	serve := func(audiences ...string) http.Handler {
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, _ := request.UserFrom(r.Context())
			fmt.Fprint(w, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra(), r.Header)
		})
		h = filters.WithAuthorization(h, kubeauth.Authorizer(index(t)), scheme.Codecs)
		h = filters.WithAuthentication(h, kubeauth.Request(a), filters.Unauthorized(scheme.Codecs), audiences, nil)
		return filters.WithRequestInfo(h, &request.RequestInfoFactory{APIPrefixes: sets.NewString("apis")})
	}
	const orders = "/apis/shop/v1/namespaces/ns/orders"
	for _, test := range []struct {
		name, path, token string
		audiences         []string
		status            int
		body              string
	}{
		{"resource", orders, "jane.api", nil, 200, "jane7[dev] map[k:[v]] map[]"},
		{"path", "/metrics", "jane.api", nil, 200, "jane"},
		{"with the server's audience", "/metrics", "jane.api", []string{"api", "more"}, 200, "jane"},
		{"with another audience", "/metrics", "jane.api", []string{"more"}, 401, "Unauthorized"},
		{"another resource", orders + "/1", "jane.api", nil, 403, `User \"jane\" cannot get resource \"orders\" in API group \"shop\"`},
		{"another path", "/metrics/x", "jane.api", nil, 403, "jane"},
		{"another user", orders, "joe.api", nil, 403, "joe"},
		{"a token for another", "/metrics", "jane.other", nil, 401, "Unauthorized"},
		{"a bad token", "/metrics", "bad.api", nil, 401, "Unauthorized"},
		{"no token of ours", "/metrics", "jane", nil, 401, "Unauthorized"},
		{"nobody", orders, "", nil, 401, "Unauthorized"},
		{"anonymous", "/metrics", "", nil, 403, "system:anonymous"},
	} {
		r := httptest.NewRequest("GET", test.path, nil)
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		warnings := &recorder{}
		r = r.WithContext(warning.WithWarningRecorder(r.Context(), warnings))
		w := httptest.NewRecorder()
		serve(test.audiences...).ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
			t.Errorf("%s: %d %s, want %d %s", test.name, w.Code, w.Body, test.status, test.body)
		}
		if test.status == http.StatusOK && !reflect.DeepEqual(warnings.texts, []string{"it is old"}) {
			t.Errorf("%s: warned of %q", test.name, warnings.texts)
		}
	}
}

func TestToken(t *testing.T) {
	a := kubeauth.Token(people{})
	for _, test := range []struct {
		name, token string
		audiences   authenticator.Audiences // nil if it does not matter
		want        string                  // "" if refused
		err         string
	}{
		{"good", "jane.api", nil, "jane", ""},
		{"for an audience", "jane.api", authenticator.Audiences{"more", "api"}, "jane", ""},
		{"for another", "jane.api", authenticator.Audiences{"more"}, "", "for somebody else"},
		{"for none", "jane.api", authenticator.Audiences{}, "", ""},
		{"bad", "bad.api", nil, "", "bad token"},
		{"unknown", "jane", nil, "", "invalid bearer token"},
		{"empty", "", nil, "", "empty"},
		{"two", "jane.api jane.api", nil, "", "white space"},
		{"of nobody", ".api", nil, "", "without saying whose"},
	} {
		ctx := audit.WithAuditContext(t.Context())
		if test.audiences != nil {
			ctx = authenticator.WithAudiences(ctx, test.audiences)
		}
		res, ok, err := a.AuthenticateToken(ctx, test.token)
		if ok != (test.want != "") || ok && res.User.GetName() != test.want {
			t.Errorf("%s: %v, %v, want %q", test.name, res, err, test.want)
		}
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
		if got, _ := audit.AuditContextFrom(ctx).GetEventAnnotation("example.org/bad"); (got == "api") != (test.name == "bad") {
			t.Errorf("%s: the event has the annotation %q", test.name, got)
		}
	}
}

// fixed answers what it is told, and keeps what it was asked.
type fixed struct {
	answer authz.Answer
	err    error
	asked  authz.Attributes
}

func (f *fixed) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	f.asked = *a
	return f.answer, f.err
}

func TestAuthorizer(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		answer authz.Answer
		err    error
		want   authorizer.Decision
		reason string
	}{
		{authz.Answer{Verdict: authz.Allow, Why: authz.Text("because")}, nil, authorizer.DecisionAllow, "because"},
		{authz.Answer{Verdict: authz.Allow}, boom, authorizer.DecisionAllow, ""},
		{authz.Answer{Verdict: authz.Deny, Why: authz.Text("never")}, nil, authorizer.DecisionDeny, "never"},
		{authz.Answer{}, nil, authorizer.DecisionNoOpinion, ""},
		{authz.Answer{}, boom, authorizer.DecisionNoOpinion, ""},
		{authz.Answer{Verdict: 77}, nil, authorizer.DecisionNoOpinion, ""},
	} {
		a := kubeauth.Authorizer(&fixed{answer: test.answer, err: test.err})
		got, reason, err := a.Authorize(t.Context(), authorizer.AttributesRecord{})
		if got != test.want || reason != test.reason || err != test.err {
			t.Errorf("%+v: %v, %q, %v", test.answer, got, reason, err)
		}
	}
}

// Nothing that is asked about is lost or changed.
func TestAttributes(t *testing.T) {
	field := func(text string) fields.Requirements { return fields.ParseSelectorOrDie(text).Requirements() }
	label, err := labels.ParseToRequirements("a in (x,y),b!=z,c,!d")
	if err != nil {
		t.Fatal(err)
	}
	own := &identity.Identity{Name: "jane", Credential: identity.Credential{ID: "JTI=1"}}
	record := authorizer.AttributesRecord{
		User: own, Verb: "list", Namespace: "ns", APIGroup: "g", APIVersion: "v", Resource: "r", Subresource: "s", Name: "n",
		ResourceRequest: true, Path: "/p", FieldSelectorRequirements: field(`metadata.name=a\,b,status!=x`), LabelSelectorRequirements: label,
	}
	f := &fixed{}
	kubeauth.Authorizer(f).Authorize(t.Context(), record)
	want := authz.Attributes{
		User: own, Verb: "list", Namespace: "ns", APIGroup: "g", APIVersion: "v", Resource: "r", Subresource: "s", Name: "n",
		IsResource: true, Path: "/p", FieldSelector: `metadata.name=a\,b,status!=x`, LabelSelector: "a in (x,y),b!=z,c,!d",
	}
	if !reflect.DeepEqual(f.asked, want) {
		t.Errorf("asked\n%+v, want\n%+v", f.asked, want)
	}

	record.User = &user.DefaultInfo{Name: "joe", UID: "7", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}
	kubeauth.Authorizer(f).Authorize(t.Context(), record)
	if got, want := f.asked.User, (&identity.Identity{Name: "joe", UID: "7", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	if got, _, err := kubeauth.Authorizer(index(t)).Authorize(t.Context(), authorizer.AttributesRecord{}); got != authorizer.DecisionNoOpinion || err == nil {
		t.Errorf("without a user: %v, %v", got, err)
	}
}

func TestRules(t *testing.T) {
	resources, paths, incomplete, err := kubeauth.Rules(index(t)).RulesFor(t.Context(), &user.DefaultInfo{Name: "jane"}, "ns")
	if len(resources) != 1 || len(paths) != 1 || incomplete || err != nil {
		t.Fatalf("got %v, %v, %v, %v", resources, paths, incomplete, err)
	}
	if got := fmt.Sprint(resources[0].GetVerbs(), resources[0].GetAPIGroups(), resources[0].GetResources(), paths[0].GetVerbs(), paths[0].GetNonResourceURLs()); got != "[list] [shop] [orders] [get] [/metrics]" {
		t.Errorf("got %s", got)
	}
	if resources, paths, _, _ := kubeauth.Rules(index(t)).RulesFor(t.Context(), &user.DefaultInfo{Name: "joe"}, "ns"); resources != nil || paths != nil {
		t.Errorf("joe may %v, %v", resources, paths)
	}
}
