package impersonation_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
)

// permissions allow what is written in them, and write down what they are asked.
type permissions struct {
	allow []string
	asked []string
	err   error
}

// line is how a question is written here: verb group/version/resource name.
func line(a *authz.Attributes) string {
	resource := a.APIGroup + "/" + a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	if !a.IsResource {
		resource = a.Path
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", a.Verb, resource, a.Namespace, a.Name))
}

func (p *permissions) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	p.asked = append(p.asked, line(a))
	if slices.Contains(p.allow, line(a)) {
		return authz.Answer{Verdict: authz.Allow}, p.err
	}
	return authz.Answer{Why: authz.Text("no rule")}, p.err
}

// counts are the metrics of one decision, as "mode allowed".
type counts struct{ attempts, checks []string }

func (c *counts) Impersonated(mode string, allowed bool, _ time.Duration) {
	c.attempts = append(c.attempts, fmt.Sprint(mode, " ", allowed))
}

func (c *counts) ImpersonationChecked(mode string, allowed bool, _ time.Duration) {
	c.checks = append(c.checks, fmt.Sprint(mode, " ", allowed))
}

// podOn is a service account whose token says that it runs on a node.
func podOn(nodes ...string) *identity.Identity {
	return &identity.Identity{Name: "system:serviceaccount:kube-system:agent", Extra: map[string][]string{
		identity.NodeNameKey: nodes, identity.PodNameKey: {"agent-1"},
	}}
}

var decisions = []struct {
	name   string
	caller *identity.Identity // nil is joe
	want   impersonation.Wanted
	allow  []string
	// What is wanted: the mode ("" if refused), the groups, or the refusal.
	mode   string
	groups []string
	err    string
}{
	{name: "old model, user", want: impersonation.Wanted{Name: "jane"},
		allow: []string{"impersonate /users  jane"}, mode: "legacy", groups: []string{"system:authenticated"}},
	{name: "old model, all", want: impersonation.Wanted{Name: "jane", UID: "7", Groups: []string{"a", "b"}, Extra: map[string][]string{"k": {"v", "w"}}},
		allow: []string{
			"impersonate /users  jane", "impersonate authentication.k8s.io/uids  7", "impersonate /groups  a", "impersonate /groups  b",
			"impersonate authentication.k8s.io/userextras/k  v", "impersonate authentication.k8s.io/userextras/k  w",
		}, mode: "legacy", groups: []string{"a", "b", "system:authenticated"}},
	{name: "old model, masters", want: impersonation.Wanted{Name: "jane", Groups: []string{"system:masters"}},
		allow: []string{"impersonate /users  jane", "impersonate /groups  system:masters"}, mode: "legacy", groups: []string{"system:masters", "system:authenticated"}},
	{name: "old model, unauthenticated", want: impersonation.Wanted{Name: "jane", Groups: []string{"system:unauthenticated"}},
		allow: []string{"impersonate /users  jane", "impersonate /groups  system:unauthenticated"}, mode: "legacy", groups: []string{"system:unauthenticated"}},
	{name: "old model, anonymous", want: impersonation.Wanted{Name: "system:anonymous"},
		allow: []string{"impersonate /users  system:anonymous"}, mode: "legacy", groups: []string{"system:unauthenticated"}},
	{name: "old model, service account", want: impersonation.Wanted{Name: "system:serviceaccount:ns:app"},
		allow: []string{"impersonate /serviceaccounts ns app"}, mode: "legacy",
		groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}},
	{name: "old model, service account with groups", want: impersonation.Wanted{Name: "system:serviceaccount:ns:app", Groups: []string{"a"}},
		allow: []string{"impersonate /serviceaccounts ns app", "impersonate /groups  a"}, mode: "legacy", groups: []string{"a", "system:authenticated"}},
	{name: "old model, not quite a service account", want: impersonation.Wanted{Name: "system:serviceaccount:ns:app:x"},
		allow: []string{"impersonate /users  system:serviceaccount:ns:app:x"}, mode: "legacy", groups: []string{"system:authenticated"}},
	{name: "old model, node", want: impersonation.Wanted{Name: "system:node:n1"},
		allow: []string{"impersonate /users  system:node:n1"}, mode: "legacy", groups: []string{"system:authenticated"}},

	{name: "user-info", want: impersonation.Wanted{Name: "jane", UID: "7", Groups: []string{"a"}, Extra: map[string][]string{"example.org/k": {"v"}}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/uids  7", "impersonate:user-info authentication.k8s.io/groups  a",
			"impersonate:user-info authentication.k8s.io/userextras/example.org/k  v",
		}, mode: "user-info", groups: []string{"a", "system:authenticated"}},
	{name: "user-info, many groups as one", want: impersonation.Wanted{Name: "jane", Groups: []string{"a", "b", "c", "d"}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/groups  *",
		}, mode: "user-info", groups: []string{"a", "b", "c", "d", "system:authenticated"}},
	{name: "user-info, many extra as one", want: impersonation.Wanted{Name: "jane", Extra: map[string][]string{"a.b/c": {"1", "2", "3"}, "d.e/f": {"4"}}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/userextras/*  *",
		}, mode: "user-info", groups: []string{"system:authenticated"}},
	{name: "serviceaccount", want: impersonation.Wanted{Name: "system:serviceaccount:ns:app"},
		allow: []string{"impersonate-on:serviceaccount:get /configmaps ns cm", "impersonate:serviceaccount authentication.k8s.io/serviceaccounts ns app"},
		mode:  "serviceaccount", groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}},
	{name: "arbitrary-node", want: impersonation.Wanted{Name: "system:node:n1"},
		allow: []string{"impersonate-on:arbitrary-node:get /configmaps ns cm", "impersonate:arbitrary-node authentication.k8s.io/nodes  n1"},
		mode:  "arbitrary-node", groups: []string{"system:nodes", "system:authenticated"}},
	{name: "associated-node", caller: podOn("n1"), want: impersonation.Wanted{Name: "system:node:n1"},
		allow: []string{"impersonate-on:associated-node:get /configmaps ns cm", "impersonate:associated-node authentication.k8s.io/nodes  *"},
		mode:  "associated-node", groups: []string{"system:nodes", "system:authenticated"}},

	{name: "nothing allowed", want: impersonation.Wanted{Name: "jane"},
		err: `User "joe" cannot impersonate-on:user-info:get resource "configmaps" in API group "" in the namespace "ns": no rule`},
	{name: "the user, but not on this", want: impersonation.Wanted{Name: "jane"},
		allow: []string{"impersonate:user-info authentication.k8s.io/users  jane"}, err: "cannot impersonate-on:user-info:get"},
	{name: "on this, but not the user", want: impersonation.Wanted{Name: "jane"},
		allow: []string{"impersonate-on:user-info:get /configmaps ns cm"}, err: `cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope`},
	{name: "old model, a group is lacking", want: impersonation.Wanted{Name: "jane", Groups: []string{"a", "b"}},
		allow: []string{"impersonate /users  jane", "impersonate /groups  a"}, err: "cannot impersonate-on:user-info:get"},
	{name: "old model, users in the new group", want: impersonation.Wanted{Name: "jane"},
		allow: []string{"impersonate authentication.k8s.io/users  jane"}, err: "cannot"},
	{name: "old model, account as user", want: impersonation.Wanted{Name: "system:serviceaccount:ns:app"},
		allow: []string{"impersonate /users  system:serviceaccount:ns:app"}, err: "cannot impersonate-on:serviceaccount:get"},
	{name: "user-info, masters", want: impersonation.Wanted{Name: "jane", Groups: []string{"system:masters"}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/groups  system:masters",
		}, err: "impersonating the system:masters group is not allowed"},
	{name: "user-info, masters among many", want: impersonation.Wanted{Name: "jane", Groups: []string{"a", "b", "c", "system:masters"}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/groups  *",
		}, err: "impersonating the system:masters group is not allowed"},
	{name: "user-info, empty group", want: impersonation.Wanted{Name: "jane", Groups: []string{""}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/groups",
		}, err: "impersonating the empty string group is not allowed"},
	{name: "user-info, three groups need each", want: impersonation.Wanted{Name: "jane", Groups: []string{"a", "b", "c"}},
		allow: []string{
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  jane",
			"impersonate:user-info authentication.k8s.io/groups  *",
		}, err: `cannot impersonate:user-info resource "groups"`},
	{name: "arbitrary-node is not for users", want: impersonation.Wanted{Name: "jane"},
		allow: []string{"impersonate-on:arbitrary-node:get /configmaps ns cm", "impersonate:arbitrary-node authentication.k8s.io/nodes  jane"}, err: "cannot impersonate-on:user-info:get"},
	{name: "node with groups", want: impersonation.Wanted{Name: "system:node:n1", Groups: []string{"system:nodes"}},
		allow: []string{
			"impersonate-on:arbitrary-node:get /configmaps ns cm", "impersonate:arbitrary-node authentication.k8s.io/nodes  n1",
			"impersonate-on:user-info:get /configmaps ns cm", "impersonate:user-info authentication.k8s.io/users  system:node:n1",
		}, err: `cannot impersonate resource "users"`},
	{name: "another node", caller: podOn("n2"), want: impersonation.Wanted{Name: "system:node:n1"},
		allow: []string{"impersonate-on:associated-node:get /configmaps ns cm", "impersonate:associated-node authentication.k8s.io/nodes  *"}, err: "cannot impersonate-on:arbitrary-node:get"},
	{name: "two nodes", caller: podOn("n1", "n1"), want: impersonation.Wanted{Name: "system:node:n1"},
		allow: []string{"impersonate-on:associated-node:get /configmaps ns cm", "impersonate:associated-node authentication.k8s.io/nodes  *"}, err: "cannot impersonate-on:arbitrary-node:get"},
	{name: "node of one who is no service account", caller: &identity.Identity{Name: "joe", Extra: map[string][]string{identity.NodeNameKey: {"n1"}}},
		want:  impersonation.Wanted{Name: "system:node:n1"},
		allow: []string{"impersonate-on:associated-node:get /configmaps ns cm", "impersonate:associated-node authentication.k8s.io/nodes  *"}, err: "cannot impersonate-on:arbitrary-node:get"},
}

func TestDecide(t *testing.T) {
	for _, test := range decisions {
		t.Run(test.name, func(t *testing.T) {
			p, c := &permissions{allow: test.allow}, &counts{}
			caller := test.caller
			if caller == nil {
				caller = &identity.Identity{Name: "joe"}
			}
			caller.Credential.ID = "JTI=1"
			request := &authz.Attributes{User: caller, Verb: "get", IsResource: true, APIVersion: "v1", Resource: "configmaps", Namespace: "ns", Name: "cm"}
			before := *request
			grant, err := impersonation.New(p, c).Decide(t.Context(), request, &test.want)
			if !reflect.DeepEqual(*request, before) {
				t.Error("the request is changed")
			}
			if len(c.checks) != len(p.asked) || len(c.attempts) != 1 || c.attempts[0] != fmt.Sprint(test.mode, " ", test.err == "") {
				t.Errorf("%d questions, counted %v, %v", len(p.asked), c.attempts, c.checks)
			}
			if test.err != "" {
				refusal, ok := errors.AsType[*impersonation.Refusal](err)
				if !ok || !strings.Contains(err.Error(), test.err) || (refusal.Verdict == authz.Deny) != strings.HasPrefix(test.err, "impersonating ") {
					t.Errorf("got %+v, %v, want a refusal with %q; asked:\n%s", grant, err, test.err, strings.Join(p.asked, "\n"))
				}
				return
			}
			if err != nil {
				t.Fatalf("refused: %v; asked:\n%s", err, strings.Join(p.asked, "\n"))
			}
			constraint := "impersonate:" + test.mode
			if test.mode == "legacy" {
				constraint = ""
			}
			want := &identity.Identity{
				Name: test.want.Name, UID: test.want.UID, Groups: test.groups, Extra: test.want.Extra,
				Credential: caller.Credential, Impersonator: caller,
			}
			if grant.Constraint != constraint || !reflect.DeepEqual(grant.Identity, want) {
				t.Errorf("got %+v with %q, want %+v with %q", grant.Identity, grant.Constraint, want, constraint)
			}
		})
	}
}

// Paths are acted on as resources are.
func TestDecideOnPath(t *testing.T) {
	p := &permissions{allow: []string{"impersonate-on:user-info:get /metrics", "impersonate:user-info authentication.k8s.io/users  jane"}}
	request := &authz.Attributes{User: &identity.Identity{Name: "joe"}, Verb: "get", Path: "/metrics"}
	if _, err := impersonation.New(p, &counts{}).Decide(t.Context(), request, &impersonation.Wanted{Name: "jane"}); err != nil {
		t.Error(err)
	}
}

// The authorizer sees of a caller on a node only that he is on one.
func TestAssociatedNodeHidesWhich(t *testing.T) {
	var seen []map[string][]string
	a := authorizerFunc(func(a *authz.Attributes) { seen = append(seen, a.User.Extra) })
	request := &authz.Attributes{User: podOn("n1"), Verb: "get", Path: "/metrics"}
	if _, err := impersonation.New(a, &counts{}).Decide(t.Context(), request, &impersonation.Wanted{Name: "system:node:n1"}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"authentication.kubernetes.io/associated-node-keys": {identity.NodeNameKey, identity.PodNameKey}}
	if len(seen) != 2 || !reflect.DeepEqual(seen[0], want) || !reflect.DeepEqual(seen[1], want) {
		t.Errorf("asked with %v", seen)
	}
}

type authorizerFunc func(*authz.Attributes)

func (f authorizerFunc) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	f(a)
	return authz.Answer{Verdict: authz.Allow}, nil
}

// An authorizer that cannot decide does not allow, and its error is not for the
// caller; one that could not evaluate all but allows does.
func TestAuthorizerErrors(t *testing.T) {
	broken := errors.New("dial tcp 10.0.0.1")
	request := &authz.Attributes{User: &identity.Identity{Name: "joe"}, Verb: "get", Path: "/metrics"}
	p := &permissions{err: broken}
	_, err := impersonation.New(p, &counts{}).Decide(t.Context(), request, &impersonation.Wanted{Name: "jane"})
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("got %v", err)
	}
	p.allow = []string{"impersonate /users  jane"}
	if _, err := impersonation.New(p, &counts{}).Decide(t.Context(), request, &impersonation.Wanted{Name: "jane"}); err != nil {
		t.Errorf("refused what is allowed: %v", err)
	}
}
