package door_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/live"
	"gatehouse.dev/gatehouse/internal/metrics"
)

// as authenticates everybody as one caller, or not at all.
type as struct {
	res *authn.Result
	err error
}

func (a as) Authenticate(*http.Request) (*authn.Result, error) { return a.res, a.err }

func user(name string, groups ...string) as {
	return as{res: &authn.Result{Identity: &identity.Identity{Name: name, Groups: groups}}}
}

// says gives every question the same answer.
type says struct {
	verdict authz.Verdict
	why     string
	err     error
}

func (s says) Authorize(context.Context, *authz.Attributes) (authz.Answer, error) {
	return authz.Answer{Verdict: s.verdict, Why: authz.Text(s.why)}, s.err
}

// counts are the metrics of a door as text.
type counts struct {
	mu  sync.Mutex
	all []string
	// methods are what was attempted, and names those of whom was identified.
	methods, names []string
	// lasts is for how much longer the last certificate does.
	lasts time.Duration
}

func (c *counts) add(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, s)
}

func (c *counts) Authenticated(outcome string, _ time.Duration) { c.add("authenticated " + outcome) }
func (c *counts) Attempted(method identity.Method, kind authn.Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.methods = append(c.methods, fmt.Sprintf("%s %s", method, kind))
}
func (c *counts) Presented(lasts time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lasts = lasts
}
func (c *counts) Identified(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, name)
}
func (c *counts) Authorized(outcome string, _ time.Duration) { c.add("authorized " + outcome) }
func (c *counts) RefusedStale()                              { c.add("refused stale") }
func (c *counts) Shed(mutating bool) {
	c.add("shed " + map[bool]string{true: "mutating", false: "reading"}[mutating])
}

func codecs(t testing.TB) serializer.CodecFactory {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme)
}

// served answers and says so.
func served(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) }

// newDoor returns a door that lets jane in for everything, as changed.
func newDoor(t testing.TB, change func(*door.Config)) http.Handler {
	t.Helper()
	trail, err := audit.New(audit.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	cfg := door.Config{
		Authenticator: user("jane", identity.GroupAuthenticated), Authorizer: says{verdict: authz.Allow},
		Audit: trail, Handler: http.HandlerFunc(served), Codecs: codecs(t), Revocations: revoked{},
		RequestTimeout: time.Minute, Draining: context.Background(), Hold: func(*http.Request) {}, Used: func(*identity.Credential, uint32) {},
		Metrics: &counts{}, Log: slog.New(slog.DiscardHandler), Journal: &journal{},
		Live: live.New(live.Config{Log: slog.New(slog.DiscardHandler)}), Stale: func(time.Time) error { return nil },
	}
	if change != nil {
		change(&cfg)
	}
	cfg.Impersonation = impersonation.New(cfg.Authorizer, metrics.New("test"))
	return door.New(cfg)
}

func request(method, target string) *http.Request { return httptest.NewRequest(method, target, nil) }

func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestServes(t *testing.T) {
	m := &counts{}
	var seen *identity.Identity
	h := newDoor(t, func(c *door.Config) {
		a := user("jane", "dev")
		a.res.Warnings = []string{"change your token"}
		c.Authenticator, c.Metrics = a, m
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			info, _ := genericapirequest.UserFrom(r.Context())
			seen, _ = info.(*identity.Identity)
			served(w, r)
		})
	})
	r := request("GET", "/api/v1/pods")
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: time.Now().Add(time.Hour)}}}
	w := answer(h, r)
	if w.Code != 200 || w.Body.String() != "served" || seen == nil || seen.Name != "jane" {
		t.Errorf("answered %d %q to %v", w.Code, w.Body, seen)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-cache, private", "Warning": `299 - "change your token"`, "Connection": "",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if w.Header().Get("Audit-Id") == "" {
		t.Error("no Audit-Id")
	}
	if want := []string{"authenticated success", "authorized allowed"}; !slices.Equal(m.all, want) {
		t.Errorf("counted %q, want %q", m.all, want)
	}
	if !slices.Equal(m.names, []string{"jane"}) || m.lasts <= 0 || m.lasts > time.Hour {
		t.Errorf("counted callers %q, with a certificate for %v", m.names, m.lasts)
	}
}

// Whatever goes wrong on the way, nobody gets past the door.
func TestFailsClosed(t *testing.T) {
	boom := errors.New("boom s3cret")
	for _, tt := range []struct {
		name  string
		as    authn.Authenticator
		says  authz.Authorizer
		code  int
		count []string
	}{
		{"refused credential", as{err: authn.Refuse("Test", authn.Other, "bad")}, says{verdict: authz.Allow}, 401, []string{"authenticated error"}},
		{"broken authenticator", as{err: boom}, says{verdict: authz.Allow}, 401, []string{"authenticated error"}},
		{"no credential", as{err: authn.ErrNoCredential}, says{verdict: authz.Allow}, 401, []string{"authenticated failure"}},
		{"nobody", as{res: &authn.Result{}}, says{verdict: authz.Allow}, 500, []string{"authenticated success"}},
		{"nothing", as{}, says{verdict: authz.Allow}, 500, nil},
		{"no opinion", user("jane"), says{}, 403, []string{"authenticated success", "authorized no-opinion"}},
		{"denied", user("jane"), says{verdict: authz.Deny}, 403, []string{"authenticated success", "authorized denied"}},
		{"no opinion for an error", user("jane"), says{err: boom}, 500, []string{"authenticated success", "authorized error"}},
		{"denied with an error", user("jane"), says{verdict: authz.Deny, err: boom}, 500, []string{"authenticated success", "authorized error"}},
		{"allowed with an error", user("jane"), says{verdict: authz.Allow, err: boom}, 200, []string{"authenticated success", "authorized allowed"}},
		{"unknown verdict", user("jane"), says{verdict: 7}, 403, []string{"authenticated success", "authorized no-opinion"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &counts{}
			h := newDoor(t, func(c *door.Config) { c.Authenticator, c.Authorizer, c.Metrics = tt.as, tt.says, m })
			w := answer(h, request("GET", "/api/v1/namespaces/x/secrets/s"))
			if w.Code != tt.code || (w.Body.String() == "served") != (tt.code == 200) {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, tt.code)
			}
			if strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("tells the cause: %s", w.Body)
			}
			if tt.name != "nothing" && !slices.Equal(m.all, tt.count) {
				t.Errorf("counted %q, want %q", m.all, tt.count)
			}
		})
	}
}

// A 401 offers what a server takes, and every answer offers the same.
func TestChallenges(t *testing.T) {
	for _, more := range [][]string{nil, {`Basic realm="x"`}, {"Negotiate", `Basic realm="x"`}} {
		h := newDoor(t, func(c *door.Config) {
			c.Authenticator, c.Challenges = as{err: authn.Refuse("Test", authn.Other, "bad")}, more
		})
		for range 2 {
			if got, want := answer(h, request("GET", "/version")).Header()["Www-Authenticate"], append([]string{"Bearer"}, more...); !slices.Equal(got, want) {
				t.Errorf("offers %q, want %q", got, want)
			}
		}
	}
}

// denies is an authorizer of Kubernetes that denies everything.
type denies struct{ why string }

func (d denies) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionNoOpinion, d.why, nil
}

// A refusal has the same bytes as that of kube-apiserver's own filters.
func TestRefusesAsUpstream(t *testing.T) {
	targets := []string{
		"GET /api/v1/pods", "GET /api/v1/namespaces/x/pods", "GET /api/v1/namespaces/x/pods/p", "GET /api/v1/namespaces/x/pods/p/log",
		"GET /api/v1/nodes/n", "PUT /api/v1/nodes/n/status", "POST /api/v1/namespaces", "GET /api/v1/namespaces/x",
		"GET /api/v1/namespaces/x/pods?watch=true", "DELETE /api/v1/namespaces/x/secrets",
		"PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/admin", "GET /apis/apps/v1/namespaces/x/deployments/d/scale",
		"POST /apis/authentication.k8s.io/v1/tokenreviews", "POST /api/v1/namespaces/x/serviceaccounts/s/token",
		"GET /metrics", "POST /gatehouse/snapshot", "GET /", "GET /apis", "OPTIONS /api/v1/pods", "GET /a/%3Cb%3E&c",
	}
	codecs := codecs(t)
	resolver := &genericapirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	for _, who := range []string{"jane", "system:anonymous", `<b>&"x`} {
		for _, why := range []string{"", "RBAC: no <rule>"} {
			a := user(who)
			ours := newDoor(t, func(c *door.Config) { c.Authenticator, c.Authorizer = a, says{why: why} })
			unknown := newDoor(t, func(c *door.Config) { c.Authenticator = as{err: authn.Refuse("Test", authn.Other, "bad")} })
			inner := genericapifilters.WithAuthorization(http.NotFoundHandler(), authorizer.AuthorizerFunc(denies{why}.Authorize), codecs)
			forbidden := genericapifilters.WithRequestInfo(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(w, r.WithContext(genericapirequest.WithUser(r.Context(), a.res.Identity)))
			}), resolver)
			unauthorized := genericapifilters.WithRequestInfo(genericapifilters.Unauthorized(codecs), resolver)
			for _, target := range targets {
				for _, accept := range []string{"", "application/yaml", "application/vnd.kubernetes.protobuf, application/json"} {
					method, path, _ := strings.Cut(target, " ")
					r := func() *http.Request {
						r := request(method, path)
						if accept != "" {
							r.Header.Set("Accept", accept)
						}
						return r
					}
					compare(t, target+" "+accept, answer(ours, r()), answer(forbidden, r()))
					compare(t, target+" "+accept, answer(unknown, r()), answer(unauthorized, r()))
				}
			}
		}
	}
}

// compare holds our answer to upstream's. Ours may have more headers.
func compare(t *testing.T, what string, ours, theirs *httptest.ResponseRecorder) {
	t.Helper()
	if ours.Code != theirs.Code || ours.Body.String() != theirs.Body.String() {
		t.Errorf("%s: %d %q, upstream %d %q", what, ours.Code, ours.Body, theirs.Code, theirs.Body)
	}
	for name := range theirs.Header() {
		if ours.Header().Get(name) != theirs.Header().Get(name) {
			t.Errorf("%s: %s is %q, upstream %q", what, name, ours.Header().Get(name), theirs.Header().Get(name))
		}
	}
}

func TestConnectionClose(t *testing.T) {
	for _, tt := range []struct {
		name  string
		as    authn.Authenticator
		proto int
		want  string
	}{
		{"stranger over HTTP/2", user(identity.Anonymous, identity.GroupUnauthenticated), 2, "close"},
		{"unauthenticated under another name", user("bob", identity.GroupUnauthenticated), 2, "close"},
		{"stranger over HTTP/1.1", user(identity.Anonymous, identity.GroupUnauthenticated), 1, ""},
		{"known over HTTP/2", user("jane", identity.GroupAuthenticated), 2, ""},
		{"refused over HTTP/2", as{err: authn.Refuse("Test", authn.Other, "bad")}, 2, "close"},
		{"refused over HTTP/1.1", as{err: authn.Refuse("Test", authn.Other, "bad")}, 1, "close"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newDoor(t, func(c *door.Config) { c.Authenticator = tt.as })
			r := request("GET", "/version")
			r.ProtoMajor = tt.proto
			if got := answer(h, r).Header().Get("Connection"); got != tt.want {
				t.Errorf("Connection: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	var text strings.Builder
	h := newDoor(t, func(c *door.Config) {
		c.MaxReading = 1
		c.Log = slog.New(slog.NewTextHandler(&text, nil))
		c.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/abort" {
				panic(http.ErrAbortHandler)
			}
			panic("the handler's fault")
		})
	})
	for range 3 { // a place that was not given back would make it 429
		if w := answer(h, request("GET", "/version")); w.Code != 500 || !strings.Contains(w.Body.String(), "caused apiserver to panic") || strings.Contains(w.Body.String(), "fault") {
			t.Errorf("answered %d %q", w.Code, w.Body)
		}
	}
	if !strings.Contains(text.String(), "the handler's fault") {
		t.Errorf("the log does not say why: %s", text.String())
	}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("recovered %v, want ErrAbortHandler to pass", p)
			}
		}()
		answer(h, request("GET", "/abort"))
	}()
}
