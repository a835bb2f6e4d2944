package door_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/live"
	"gatehouse.dev/gatehouse/internal/metrics"
)

const policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// caller authenticates everybody as itself.
type caller struct{ *identity.Identity }

func (c caller) Authenticate(*http.Request) (*authn.Result, error) {
	return &authn.Result{Identity: c.Identity}, nil
}

// may allows what its user:verb:resource pairs say.
type may []string

func (m may) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	if slices.Contains(m, strings.Join([]string{a.User.Name, a.Verb, a.Resource}, ":")) {
		return authz.Answer{Verdict: authz.Allow, Why: authz.Text("told so")}, nil
	}
	return authz.Answer{}, nil
}

// A house is a door, and what came through it.
type house struct {
	http.Handler
	trail *audit.Trail
	log   string
	// journal is what was written down of refusals.
	journal journal

	header http.Header // of the last request that was let in, or nil
	user   *identity.Identity
}

func newHouse(t *testing.T, headers frontproxy.Headers, allowed ...string) *house {
	t.Helper()
	return newHouseWith(t, headers, func(*door.Config) {}, allowed...)
}

func newHouseWith(t *testing.T, headers frontproxy.Headers, change func(*door.Config), allowed ...string) *house {
	t.Helper()
	h := &house{log: filepath.Join(t.TempDir(), "audit.log")}
	config := audit.DefaultConfig()
	config.PolicyFile, config.Log.Path = filepath.Join(t.TempDir(), "policy.yaml"), h.log
	if err := os.WriteFile(config.PolicyFile, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.trail, err = audit.New(config); err != nil {
		t.Fatal(err)
	}
	if err := h.trail.Start(); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	counts := metrics.New("test")
	cfg := door.Config{
		Authenticator: caller{&identity.Identity{Name: "joe", Credential: identity.Credential{Method: identity.StaticToken, ID: "line 1"}}},
		Revocations:   revoked{}, Authorizer: may(allowed), Impersonation: impersonation.New(may(allowed), counts), ProxyHeaders: headers,
		Audit: h.trail, Codecs: serializer.NewCodecFactory(scheme), RequestTimeout: time.Minute,
		Hold: func(*http.Request) {}, Used: func(*identity.Credential, uint32) {}, Draining: t.Context(), Metrics: counts, Log: slog.New(slog.DiscardHandler), Journal: &h.journal,
		Live: live.New(live.Config{Log: slog.New(slog.DiscardHandler)}), Stale: func(time.Time) error { return nil },
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			user, _ := genericapirequest.UserFrom(r.Context())
			h.header, h.user = r.Header, user.(*identity.Identity)
		}),
	}
	change(&cfg)
	h.Handler = door.New(cfg)
	return h
}

// ask sends a request to read a ConfigMap.
func (h *house) ask(header http.Header) *http.Response {
	h.header, h.user = nil, nil
	r := httptest.NewRequest("GET", "/api/v1/namespaces/ns/configmaps/cm", nil)
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// event ends the trail and returns its last event.
func (h *house) event(t *testing.T) *auditv1.Event {
	t.Helper()
	if err := h.trail.Shutdown(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(h.log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	event := new(auditv1.Event)
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), event); err != nil {
		t.Fatal(err)
	}
	return event
}

func TestImpersonation(t *testing.T) {
	h := newHouse(t, frontproxy.Headers{}, "joe:impersonate-on:user-info:get:configmaps", "joe:impersonate:user-info:users",
		"joe:impersonate:user-info:groups", "jane:get:configmaps")
	res := h.ask(http.Header{"Impersonate-User": {"jane"}, "Impersonate-Group": {"a"}, "Accept": {"application/json"}})
	if res.StatusCode != http.StatusOK || h.user == nil {
		t.Fatalf("status %d", res.StatusCode)
	}
	if h.user.Name != "jane" || !slices.Equal(h.user.Groups, []string{"a", "system:authenticated"}) ||
		h.user.Impersonator.Name != "joe" || h.user.Credential.ID != "line 1" {
		t.Errorf("served as %+v", h.user)
	}
	if want := (http.Header{"Accept": {"application/json"}}); !reflect.DeepEqual(h.header, want) {
		t.Errorf("served with the headers %v", h.header)
	}
	e := h.event(t)
	if e.User.Username != "joe" || e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != "jane" ||
		e.AuthenticationMetadata == nil || e.AuthenticationMetadata.ImpersonationConstraint != "impersonate:user-info" ||
		e.Annotations[audit.CredentialIDAnnotation] != "line 1" || e.Annotations[audit.DecisionAnnotation] != "allow" {
		t.Errorf("event %+v", e)
	}
}

func TestOldImpersonation(t *testing.T) {
	h := newHouse(t, frontproxy.Headers{}, "joe:impersonate:users", "jane:get:configmaps")
	if res := h.ask(http.Header{"Impersonate-User": {"jane"}}); res.StatusCode != http.StatusOK || h.user.Name != "jane" {
		t.Fatalf("status %d", res.StatusCode)
	}
	if e := h.event(t); e.ImpersonatedUser.Username != "jane" || e.AuthenticationMetadata != nil {
		t.Errorf("event %+v", e)
	}
}

// Nobody is served as the caller who asked to be somebody else.
func TestImpersonationRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		allow  string // besides what joe may do as himself
		code   int32
		text   string
	}{
		{"not allowed", http.Header{"Impersonate-User": {"jim"}}, "", 403,
			`configmaps "cm" is forbidden: User "joe" cannot impersonate-on:user-info:get resource "configmaps" in API group "" in the namespace "ns"`},
		{"she may not", http.Header{"Impersonate-User": {"jane"}}, "joe:impersonate:users", 403, `User "jane" cannot get resource "configmaps"`},
		{"no user", http.Header{"Impersonate-Group": {"a"}}, "", 400, "without impersonating a user name"},
		{"empty user", http.Header{"Impersonate-User": {""}}, "", 400, "without impersonating a user name"},
		{"unknown header", http.Header{"Impersonate-Role": {"a"}}, "", 400, `the header "Impersonate-Role" is not known`},
		{"underscores", http.Header{"Impersonate_User": {"jane"}}, "joe:impersonate:users", 400, "is not known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t, frontproxy.Headers{}, "joe:get:configmaps", test.allow)
			var status metav1.Status
			if err := json.NewDecoder(h.ask(test.header).Body).Decode(&status); err != nil {
				t.Fatal(err)
			}
			if status.Code != test.code || !strings.Contains(status.Message, test.text) || h.user != nil {
				t.Errorf("served as %+v with %+v", h.user, status)
			}
			e := h.event(t)
			if e.User.Username != "joe" || e.ResponseStatus.Code != test.code {
				t.Errorf("event %+v", e)
			}
			if test.code == 400 && (len(h.journal.misread) != 1 || !strings.HasSuffix(h.journal.misread[0], " joe") ||
				h.journal.ladders[0][0].Method != impersonation.Method || e.Annotations[audit.RequestIDAnnotation] != "id-1") {
				t.Errorf("misread %q %+v, annotations %v", h.journal.misread, h.journal.ladders, e.Annotations)
			}
			if test.name == "not allowed" && !strings.Contains(h.journal.denied[0], `User "joe" cannot impersonate resource "users"`) {
				t.Errorf("the other way to be allowed is not in %q", h.journal.denied)
			}
			if test.code == 403 && (len(h.journal.denied) != 1 || e.Annotations[audit.RequestIDAnnotation] != "id-1") {
				t.Errorf("denied %q, annotations %v", h.journal.denied, e.Annotations)
			}
		})
	}
}

// Whatever authenticated the caller, no header behind the door says who he is,
// in any spelling, and none has a proxy behind us drop what we say.
func TestHeadersAreStripped(t *testing.T) {
	own := frontproxy.Headers{Username: []string{"Auth-User"}, UID: []string{"Auth-Uid"}, Groups: []string{"Auth-Group"}, ExtraPrefixes: []string{"Auth-Extra-"}}
	for _, test := range []struct {
		headers frontproxy.Headers
		names   []string
	}{
		{frontproxy.Headers{}, []string{"X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-A", "X-Remote-New"}},
		{own, []string{"Auth-User", "Auth-Uid", "Auth-Group", "Auth-Extra-A", "X-Remote-User", "X-Remote-Extra-A"}},
	} {
		h := newHouse(t, test.headers, "joe:get:configmaps")
		for _, name := range append(test.names, "Authorization") {
			for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.Replace(name, "-", "_", 1))} {
				sent := http.Header{"Accept": {"*/*"}, "Connection": {"Upgrade, " + spelling, spelling}}
				if spelling == name || name != "Authorization" {
					sent[spelling] = []string{"root"}
				}
				h.ask(sent)
				if want := (http.Header{"Accept": {"*/*"}, "Connection": {"Upgrade"}}); !reflect.DeepEqual(h.header, want) {
					t.Errorf("%s: %v", spelling, h.header)
				}
			}
		}
		h.ask(http.Header{"Connection": {"impersonate-User"}, "Sec-Websocket-Protocol": {"v5, base64url.bearer.authorization.k8s.io.Zm9v"}})
		if want := (http.Header{"Sec-Websocket-Protocol": {"v5"}}); !reflect.DeepEqual(h.header, want) {
			t.Errorf("left %v", h.header)
		}
	}
}
