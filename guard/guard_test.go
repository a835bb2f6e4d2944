package guard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/guard"
	"gatehouse.dev/gatehouse/identity"
)

// people knows tokens that are names, and refuses those that begin with bad.
type people struct{}

func (people) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	switch {
	case strings.HasPrefix(token, "bad"):
		return nil, authn.Refuse("Test", authn.BadProof, "the secret reason")
	case token == "throttled":
		return nil, authn.Refuse("Test", authn.Throttled, "the secret reason")
	case token == "nameless":
		return &authn.Result{Identity: &identity.Identity{}}, nil
	}
	return &authn.Result{Identity: &identity.Identity{Name: token}}, nil
}

// paths allows jane what begins with /pages/, denies joe, and fails on /broken.
type paths struct{}

func (paths) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	switch {
	case a.Path == "/broken":
		return authz.Answer{}, errors.New("the secret reason")
	case a.User.Name == "joe":
		return authz.Answer{Verdict: authz.Deny, Why: authz.Text("he is joe")}, nil
	case a.User.Name == "jane" && a.Verb == "get" && strings.HasPrefix(a.Path, "/pages/"):
		return authz.Answer{Verdict: authz.Allow}, errors.New("not all could be asked")
	}
	return authz.Answer{}, nil
}

// seen answers with what got through.
func seen(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %d", guard.Caller(r.Context()).Name, len(r.Header))
}

func TestGuard(t *testing.T) {
	var why error
	g := guard.New(guard.Config{
		Authenticator: authn.OrAnonymous(authn.Bearer(authn.Tokens(people{})), anonymous.New("/public")),
		Authorizer:    paths{},
		ProxyHeaders:  frontproxy.Headers{Username: []string{"Front-User"}},
		Refused:       func(_ *http.Request, _ int, err error) { why = err },
	}, http.HandlerFunc(seen))
	for _, test := range []struct {
		name, method, path, token string
		header                    http.Header
		status                    int
		body, why                 string
	}{
		{"allowed", "GET", "/pages/1", "jane", nil, 200, "jane 0", ""},
		{"another method", "POST", "/pages/1", "jane", nil, 403, `User "jane" cannot post path "/pages/1"`, "cannot post"},
		{"another path", "GET", "/other", "jane", nil, 403, `User "jane" cannot get path "/other"`, "cannot get"},
		{"another user", "GET", "/pages/1", "ann", nil, 403, `User "ann" cannot get`, "cannot get"},
		{"denied", "GET", "/pages/1", "joe", nil, 403, "he is joe", "he is joe"},
		{"a bad token", "GET", "/pages/1", "bad", nil, 401, "Unauthorized", "the secret reason"},
		{"a token that nobody looked at", "GET", "/pages/1", "throttled", nil, 503, "try again", "the secret reason"},
		{"a token of nobody", "GET", "/pages/1", "nameless", nil, 401, "Unauthorized", "without saying whose"},
		{"no token", "GET", "/pages/1", "", nil, 401, "Unauthorized", "no credential"},
		{"anonymous", "GET", "/public", "", nil, 403, `User "system:anonymous" cannot`, "cannot"},
		{"an authorizer that fails", "GET", "/broken", "jane", nil, 500, "the request could not be authorized", "the secret reason"},
		{"acting as another", "GET", "/pages/1", "jane", http.Header{"Impersonate-User": {"joe"}}, 403, "nobody may act", "Impersonate-User"},
		{"acting as another, spelled otherwise", "GET", "/pages/1", "jane", http.Header{"impersonate_group": {"joe"}}, 403, "nobody may act", "impersonate_group"},
		{"claims", "GET", "/pages/1", "jane", http.Header{
			"X_remote-User": {"joe"}, "FRONT-USER": {"joe"}, "X-Remote-Extra-A": {"b"}, "Connection": {"x-remote-user"},
		}, 200, "jane 0", ""},
		{"other headers", "GET", "/pages/1", "jane", http.Header{"Accept": {"*/*"}, "Connection": {"close, front_user"}}, 200, "jane 2", ""},
		{"dots", "GET", "/pages/../other", "jane", nil, 400, "simplest form", "simplest form"},
		{"a dot", "GET", "/pages/./1", "jane", nil, 400, "simplest form", "simplest form"},
		{"encoded dots", "GET", "/pages/%2e%2e/other", "jane", nil, 400, "simplest form", "simplest form"},
		{"an encoded slash", "GET", "/pages/..%2Fother", "jane", nil, 400, "simplest form", "simplest form"},
		{"an encoded slash alone", "GET", "/pages/a%2fb", "jane", nil, 400, "simplest form", "simplest form"},
		{"a backslash", "GET", `/pages/..%5cother`, "jane", nil, 400, "simplest form", "simplest form"},
		{"two slashes", "GET", "/pages//1", "jane", nil, 400, "simplest form", "simplest form"},
		{"a slash at the end", "GET", "/pages/1/", "jane", nil, 200, "jane 0", ""},
		{"another encoded character", "GET", "/pages/a%21b%20c", "jane", nil, 200, "jane 0", ""},
		{"a star", "OPTIONS", "*", "jane", nil, 400, "simplest form", "simplest form"},
	} {
		why = nil
		line := test.method + " " + test.path + " HTTP/1.1\r\nHost: x\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line)))
		if err != nil {
			t.Fatal(err)
		}
		if test.header != nil {
			r.Header = test.header
		}
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) || strings.Contains(w.Body.String(), "secret reason") {
			t.Errorf("%s: %d %s, want %d %s", test.name, w.Code, w.Body, test.status, test.body)
		}
		if got := fmt.Sprint(why); test.why == "" && why != nil || !strings.Contains(got, test.why) {
			t.Errorf("%s: told %s, want %s", test.name, got, test.why)
		}
	}
}

func TestCallerOfNobody(t *testing.T) {
	if who := guard.Caller(t.Context()); who != nil {
		t.Errorf("got %v", who)
	}
}

func TestConnContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := guard.ConnContext(t.Context(), c)
	if conn := authn.ConnFrom(ctx); conn == nil || conn.Peer.String() != "127.0.0.1" {
		t.Errorf("got %v", conn)
	}
}
