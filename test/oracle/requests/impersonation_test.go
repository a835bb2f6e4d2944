package requests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	upstream "k8s.io/apiserver/pkg/endpoints/filters/impersonation"
	"k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
)

// rules allow what they list; what is asked is written down.
type rules struct {
	allow []string
	asked []string
}

// decide answers a question: as a rule it leaves out who asks.
func (r *rules) decide(who user.Info, verb, group, version, resource, subresource, namespace, name, path string) bool {
	rule := strings.Join([]string{verb, group, resource, subresource, namespace, name, path}, "|")
	r.asked = append(r.asked, fmt.Sprint(rule, version, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra()))
	return slices.Contains(r.allow, rule) || slices.Contains(r.allow, verb+"|*")
}

type ourRules struct{ *rules }

func (r ourRules) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	path := a.Path
	if a.IsResource {
		path = ""
	}
	if r.decide(a.User, a.Verb, a.APIGroup, a.APIVersion, a.Resource, a.Subresource, a.Namespace, a.Name, path) {
		return authz.Answer{Verdict: authz.Allow}, nil
	}
	return authz.Answer{Why: authz.Text("no rule")}, nil
}

type theirRules struct{ *rules }

func (r theirRules) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	path := a.GetPath()
	if a.IsResourceRequest() {
		path = ""
	}
	if r.decide(a.GetUser(), a.GetVerb(), a.GetAPIGroup(), a.GetAPIVersion(), a.GetResource(), a.GetSubresource(), a.GetNamespace(), a.GetName(), path) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "no rule", nil
}

type uncounted struct{}

func (uncounted) Impersonated(string, bool, time.Duration)         {}
func (uncounted) ImpersonationChecked(string, bool, time.Duration) {}

// A verdict is the whole answer to a request: the code, who it is served as, in
// which mode, with which headers, or why not.
type verdict struct {
	code       int
	who        outcome
	constraint string
	message    string
	left       http.Header
}

// events keeps the last event.
type events struct{ last *auditinternal.Event }

func (e *events) ProcessEvents(all ...*auditinternal.Event) bool {
	e.last = all[len(all)-1].DeepCopy()
	return true
}

func theirVerdict(t *testing.T, info *request.RequestInfo, caller user.Info, h http.Header, r *rules) verdict {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	v := verdict{left: h.Clone()}
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		who, _ := request.UserFrom(r.Context())
		v.who = of(who)
	})
	filter := upstream.WithConstrainedImpersonation(next, theirRules{r}, serializer.NewCodecFactory(scheme))
	req := httptest.NewRequest("GET", "/", nil)
	req.Header = v.left
	sink := &events{}
	ctx := audit.WithAuditContext(request.WithUser(request.WithRequestInfo(req.Context(), info), caller))
	ac := audit.AuditContextFrom(ctx)
	if err := ac.Init(audit.RequestAuditConfig{Level: auditinternal.LevelMetadata}, sink); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	filter.ServeHTTP(w, req.WithContext(ctx))
	v.code = w.Code
	ac.ProcessEventStage(ctx, auditinternal.StageResponseComplete)
	if m := sink.last.AuthenticationMetadata; m != nil {
		v.constraint = m.ImpersonationConstraint
	}
	if w.Code != http.StatusOK {
		var status metav1.Status
		if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
		v.message = status.Message
	}
	return v
}

func ourVerdict(t *testing.T, info *request.RequestInfo, caller *identity.Identity, h http.Header, r *rules) verdict {
	t.Helper()
	v := verdict{code: 200, left: h.Clone(), who: of(caller)}
	want, err := impersonation.Read(v.left)
	if err != nil {
		return verdict{code: 400}
	}
	if want == nil {
		return v
	}
	impersonation.Remove(v.left)
	grant, err := impersonation.New(ourRules{r}, uncounted{}).Decide(t.Context(), &authz.Attributes{
		User: caller, Verb: info.Verb, IsResource: info.IsResourceRequest, APIGroup: info.APIGroup, APIVersion: info.APIVersion,
		Resource: info.Resource, Subresource: info.Subresource, Namespace: info.Namespace, Name: info.Name, Path: info.Path,
	}, want)
	if err != nil {
		return verdict{code: 403, message: err.Error()}
	}
	v.who, v.constraint = of(grant.Identity), grant.Constraint
	return v
}

// impersonationHeader is what a caller may send.
func impersonationHeader(r *rand.Rand) http.Header {
	h := http.Header{}
	add := func(chance int, name string, values ...string) {
		if r.IntN(chance) == 0 {
			h.Add(name, pick(r, values...))
		}
	}
	if r.IntN(8) > 0 {
		h.Add("Impersonate-User", pick(r, "jane", "jane", "", "system:anonymous", "system:serviceaccount:ns:app", "system:serviceaccount:ns:app:x",
			"system:serviceaccount:Ns:app", "system:serviceaccount:ns:a.b", "system:node:n1", "system:node:n2", "system:node:N1", "system:node:", "system:node:n.1", "käse", "\xff"))
	}
	add(5, "Impersonate-Uid", "7", "8", "")
	for range r.IntN(6) {
		add(3, "Impersonate-Group", "a", "b", "c", "d", "", "system:masters", "system:authenticated", "system:unauthenticated")
	}
	for range r.IntN(5) {
		add(4, "Impersonate-Extra-"+pick(r, "Scopes", "Example.org%2fkey", "Example.org%2fother", "%zz", "%41.b%2fc", "", "a.b%2f%4b"), "v", "w", "")
	}
	add(40, "Impersonate-User", "root")
	add(40, "Impersonate-Role", "x")
	add(40, "Impersonate_user", "x")
	add(3, "Accept", "application/json")
	return h
}

// someRules allow a random part of what may be asked for h.
func someRules(r *rand.Rand, info *request.RequestInfo, h http.Header) []string {
	var all []string
	for _, mode := range []string{"associated-node", "arbitrary-node", "serviceaccount", "user-info"} {
		if r.IntN(3) > 0 {
			all = append(all, "impersonate-on:"+mode+":"+info.Verb+"|*")
		}
	}
	for _, verb := range []string{"impersonate", "impersonate:associated-node", "impersonate:arbitrary-node", "impersonate:serviceaccount", "impersonate:user-info"} {
		if r.IntN(4) == 0 {
			all = append(all, verb+"|*")
			continue
		}
		group := pick(r, "", "authentication.k8s.io")
		if verb != "impersonate" {
			group = "authentication.k8s.io"
		}
		one := func(group, resource, subresource, namespace, name string) {
			if r.IntN(6) > 0 {
				all = append(all, strings.Join([]string{verb, group, resource, subresource, namespace, name, ""}, "|"))
			}
		}
		one(group, "users", "", "", h.Get("Impersonate-User"))
		one(group, "serviceaccounts", "", "ns", "app")
		one(group, "nodes", "", "", pick(r, "n1", "*"))
		one("authentication.k8s.io", "uids", "", "", "7")
		for _, g := range append(h["Impersonate-Group"], "*") {
			one(group, "groups", "", "", g)
		}
		for _, key := range []string{"scopes", "example.org/key", "example.org/other", "%zz", "*"} {
			for _, value := range []string{"v", "w", "*"} {
				one("authentication.k8s.io", "userextras", key, "", value)
			}
		}
	}
	return all
}

func TestImpersonation(t *testing.T) {
	t.Parallel()
	r, seen, codes := random(t), differences{}, map[string]int{}
	infos := []*request.RequestInfo{
		{IsResourceRequest: true, Verb: "get", APIVersion: "v1", Resource: "pods", Subresource: "log", Namespace: "ns", Name: "p"},
		{IsResourceRequest: true, Verb: "create", APIGroup: "apps", APIVersion: "v1", Resource: "deployments", Namespace: "ns"},
		{Verb: "get", Path: "/metrics"},
	}
	callers := []*identity.Identity{
		{Name: "joe", Groups: []string{"x"}},
		{Name: "system:serviceaccount:ns:agent", Extra: map[string][]string{identity.NodeNameKey: {"n1"}, identity.PodNameKey: {"p"}}},
		{Name: "system:serviceaccount:ns:agent", Extra: map[string][]string{identity.NodeNameKey: {"n1", "n2"}}},
		{Name: "joe", Extra: map[string][]string{identity.NodeNameKey: {"n1"}}},
	}
	for range rounds() {
		info, caller, h := infos[r.IntN(len(infos))], callers[r.IntN(len(callers))], impersonationHeader(r)
		allow := someRules(r, info, h)
		ourAsked, theirAsked := &rules{allow: allow}, &rules{allow: allow}
		a, b := ourVerdict(t, info, caller, h, ourAsked), theirVerdict(t, info, caller, h, theirAsked)
		switch why := intended(h, a, b); {
		case why != "":
			seen[why]++
			continue
		case a.code != b.code || !same(a.who, b.who) || a.constraint != b.constraint:
			t.Fatalf("%v as %+v, allowed\n%s\nours   %+v\ntheirs %+v", h, caller, strings.Join(allow, "\n"), a, b)
		case extras(h) < 2 && a.code != 400 && (!slices.Equal(ourAsked.asked, theirAsked.asked) || !strings.HasSuffix(b.message, a.message)):
			// With more, their order is random.
			t.Fatalf("%v:\nours   %s\n%q\ntheirs %s\n%q", h, a.message, ourAsked.asked, b.message, theirAsked.asked)
		case a.code == 200 && len(a.left) != len(b.left):
			t.Fatalf("%v: left %v, theirs %v", h, a.left, b.left)
		}
		seen["the same"]++
		codes[fmt.Sprint(a.code, " ", a.constraint)]++
	}
	seen.seen(t, noUser, unknown, givenTwice, notUnicode)
	for _, code := range []string{
		"400 ", "403 ", "200 ", "200 impersonate:associated-node", "200 impersonate:arbitrary-node", "200 impersonate:serviceaccount", "200 impersonate:user-info",
	} {
		if codes[code] == 0 {
			t.Errorf("never seen: %s", code)
		}
	}
	t.Log(codes)
}

// extras counts the values of attributes, whose order is random upstream.
func extras(h http.Header) (n int) {
	for name, values := range h {
		if strings.HasPrefix(name, "Impersonate-Extra-") {
			n += len(values)
		}
	}
	return n
}

// intended says why we answer 400 where they do not.
func intended(h http.Header, a, b verdict) string {
	if a.code != 400 || b.code == 400 {
		return ""
	}
	for name := range h {
		if impersonation.Claims(name) && name != "Impersonate-User" && name != "Impersonate-Uid" && name != "Impersonate-Group" && !strings.HasPrefix(name, "Impersonate-Extra-") {
			return unknown
		}
	}
	switch {
	case len(h["Impersonate-User"]) > 1:
		return givenTwice
	case h.Get("Impersonate-User") == "":
		return noUser
	case strings.Contains(h.Get("Impersonate-User"), "\xff"):
		return notUnicode
	}
	return ""
}
