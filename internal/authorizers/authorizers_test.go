package authorizers_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authorization/cel"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/authorizers"
	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/test/vectors"
)

// A world is a folder with a webhook that allows jane, denies joe and knows
// nobody else, under a path that names it.
type world struct {
	dir    string
	server *httptest.Server

	mu    sync.Mutex
	asked []string // the path and the user of each question
	code  int      // what is answered instead, if it is not 0
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	ca, err := pki.OpenAuthority(w.dir, "ca", "hook")
	if err != nil {
		t.Fatal(err)
	}
	serving, err := pki.OpenServing(ca, w.dir, "serving", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewUnstartedServer(w)
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{*serving.Certificate()}}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.kubeconfig(t, "one", "/one")
	return w
}

func (w *world) kubeconfig(t *testing.T, name, path string) string {
	t.Helper()
	return w.write(t, name+".kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it}}],
		clusters: [{name: it, cluster: {server: %q, certificate-authority: ca.crt}}]}`, w.server.URL+path))
}

func (w *world) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	w.asked = append(w.asked, r.URL.Path+" "+review.Spec.User)
	code := w.code
	w.mu.Unlock()
	if code != 0 {
		rw.WriteHeader(code)
		return
	}
	review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: review.Spec.User == "jane", Denied: review.Spec.User == "joe", Reason: "says " + r.URL.Path}
	_ = json.NewEncoder(rw).Encode(review)
}

func (w *world) questions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

// record is where everything that is counted goes.
type record struct {
	cel.NoopMatcherMetrics
	mu    sync.Mutex
	lines []string
}

func (r *record) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.lines, "; ")
	r.lines = nil
	return text
}

func (r *record) Decided(kind, name string) (allowed, denied func()) {
	return func() { r.note("%s %s allows", kind, name) }, func() { r.note("%s %s denies", kind, name) }
}

func (r *record) Called(name string) func(string, time.Duration) {
	return func(result string, _ time.Duration) { r.note("%s: %s", name, result) }
}
func (r *record) FailedOpen(name, result string)  { r.note("%s fails open: %s", name, result) }
func (r *record) Gone(kind, name string)          { r.note("%s %s is gone", kind, name) }
func (r *record) Configured(_ []byte, again bool) { r.note("configured %v", again) }
func (r *record) Refused()                        { r.note("refused") }
func (r *record) RecordAuthorizationMatchConditionExclusion(_ context.Context, kind, name string) {
	r.note("%s %s is excluded", kind, name)
}

func (w *world) open(t *testing.T, cfg authorizers.Config, counts *record) (*authorizers.Live, error) {
	t.Helper()
	return authorizers.Open(cfg, authorizers.Own{Node: authz.AlwaysDeny().(authorizers.Member), RBAC: authz.AlwaysDeny().(authorizers.Member)}, authorizers.Calls{
		Life: t.Context(), Peer: func(context.Context) netip.Addr { return netip.Addr{} },
		Show: func(string, *outcall.Client) {}, Gone: func(name string) { counts.note("%s is called no more", name) },
		Called: func(string) func(string, time.Duration) { return func(string, time.Duration) {} },
	}, counts, slog.New(slog.DiscardHandler))
}

// hook describes a webhook, with more of its settings.
func (w *world) hook(name, kubeconfig, more string) string {
	return fmt.Sprintf(`- type: Webhook
  name: %s
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
%s`, name, filepath.Join(w.dir, kubeconfig+".kubeconfig"), more)
}

const (
	head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n"
	rbac = "- {type: RBAC, name: rbac}\n"
)

func get(user string) *authz.Attributes {
	return &authz.Attributes{User: &identity.Identity{Name: user}, IsResource: true, Verb: "get", Resource: "pods", Namespace: "default"}
}

func TestCheck(t *testing.T) {
	w := newWorld(t)
	w.write(t, "bad.kubeconfig", "{}")
	w.write(t, "plain.kubeconfig", strings.Replace(string(must(os.ReadFile(w.kubeconfig(t, "two", "/two")))), "https:", "http:", 1))
	condition := func(expression string) string {
		return "    matchConditionSubjectAccessReviewVersion: v1\n    matchConditions: [{expression: " + expression + "}]\n"
	}
	many := "    matchConditionSubjectAccessReviewVersion: v1\n    matchConditions:\n"
	for i := range 65 {
		many += fmt.Sprintf("    - {expression: \"request.user != 'u%d'\"}\n", i)
	}
	for _, test := range []struct{ name, text, problem string }{
		{"RBAC", head + rbac, ""},
		{"webhook and RBAC", head + w.hook("one", "one", "") + rbac, ""},
		{"two webhooks", head + w.hook("one", "one", "") + w.hook("two", "two", "") + rbac, ""},
		{"conditions", head + w.hook("one", "one", condition(`"request.resourceAttributes.namespace == 'a' && has(request.groups)"`)), ""},
		{"v1beta1", strings.Replace(head, "/v1", "/v1beta1", 1) + rbac, ""},
		{"all settings", head + w.hook("one", "one", "    authorizedTTL: 1m\n    unauthorizedTTL: 1s\n    cacheAuthorizedRequests: false\n    cacheUnauthorizedRequests: false\n"), ""},

		{"empty", "", "is empty"},
		{"too long", head + rbac + "#" + strings.Repeat("x", 1<<20), "longer than 1 MiB"},
		{"another kind", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n", "expected AuthorizationConfiguration"},
		{"unknown field", head + "- {type: RBAC, name: rbac, nam: x}\n", "unknown field"},
		{"twice", head + rbac + "authorizers: []\n", "already set"},
		{"none", head, "at least one authorization mode"},
		{"unknown type", head + "- {type: Magic, name: magic}\n", `Unsupported value: "Magic"`},
		{"ABAC", head + "- {type: ABAC, name: abac}\n", `Unsupported value: "ABAC"`},
		{"RBAC twice", head + rbac + rbac, "Duplicate value"},
		{"another name for RBAC", head + "- {type: RBAC, name: roles}\n", "the name of an authorizer of type RBAC is rbac"},
		{"one name twice", head + w.hook("one", "one", "") + w.hook("one", "two", ""), "Duplicate value"},
		{"no name", head + w.hook("", "one", ""), "name: Required value"},
		{"a bad name", head + w.hook("One", "one", ""), "authorizer name is invalid"},
		{"no webhook", head + "- {type: Webhook, name: a}\n", "webhook: Required value"},
		{"webhook of RBAC", head + "- {type: RBAC, name: rbac, webhook: {timeout: 3s}}\n", "may only be specified when type=Webhook"},
		{"no timeout", head + strings.Replace(w.hook("one", "one", ""), "    timeout: 3s\n", "", 1), "timeout: Required value"},
		{"long timeout", head + strings.Replace(w.hook("one", "one", ""), "3s", "31s", 1), "must be > 0s and <= 30s"},
		{"no failure policy", head + strings.Replace(w.hook("one", "one", ""), "    failurePolicy: Deny\n", "", 1), "failurePolicy: Required value"},
		{"fails open wide", head + strings.Replace(w.hook("one", "one", ""), "Deny", "Allow", 1), `failurePolicy: Unsupported value: "Allow"`},
		{"no version", head + strings.Replace(w.hook("one", "one", ""), "    subjectAccessReviewVersion: v1\n", "", 1), "subjectAccessReviewVersion: Required value"},
		{"another version", head + strings.Replace(w.hook("one", "one", ""), "Version: v1", "Version: v2", 1), "subjectAccessReviewVersion: Unsupported value"},
		{"conditions without version", head + w.hook("one", "one", "    matchConditions: [{expression: 'true'}]\n"), "required if match conditions are specified"},
		{"a condition that is none", head + w.hook("one", "one", condition("'request.user'")), "must evaluate to bool"},
		{"a condition about nothing", head + w.hook("one", "one", condition("'request.usr == \"a\"'")), "undefined field 'usr'"},
		{"an empty condition", head + w.hook("one", "one", condition("''")), "expression: Required value"},
		{"too many conditions", head + w.hook("one", "one", many), "must have at most 64"},
		{"in a cluster", head + strings.Replace(w.hook("one", "one", ""), "KubeConfigFile, kubeConfigFile: "+w.dir+"/one.kubeconfig", "InClusterConfig", 1), "this server runs in no cluster"},
		{"no kubeconfig", head + w.hook("one", "none", ""), "no such file"},
		{"a relative path", head + strings.Replace(w.hook("one", "one", ""), w.dir+"/", "", 1), "must be an absolute path"},
		{"a bad kubeconfig", head + w.hook("one", "bad", ""), "authorizers[0].connectionInfo.kubeConfigFile: "},
		{"a webhook without TLS", head + w.hook("one", "plain", ""), "not with https"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := authorizers.Config{Path: w.write(t, "authorization.yaml", test.text)}
			_, err := authorizers.Check(cfg)
			if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
				t.Errorf("error %v, want one with %q", err, test.problem)
			}
			if _, openErr := w.open(t, cfg, new(record)); fmt.Sprint(openErr) != fmt.Sprint(err) {
				t.Errorf("Check says %v, Open says %v", err, openErr)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestFlags(t *testing.T) {
	w := newWorld(t)
	hook := authorizers.Flags{Modes: []string{"Webhook", "RBAC"}, KubeconfigFile: filepath.Join(w.dir, "one.kubeconfig"), Version: "v1", AuthorizedTTL: time.Minute, UnauthorizedTTL: time.Minute}
	counts := new(record)
	l, err := w.open(t, authorizers.Config{Flags: hook}, counts)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		user    string
		verdict authz.Verdict
		reason  string
		counted string
	}{
		{"jane", authz.Allow, "says /one", "default: success; Webhook default allows"},
		{"jane", authz.Allow, "says /one", "Webhook default allows"},
		{"joe", authz.Deny, "says /one", "default: success; Webhook default denies"},
		{"ann", authz.NoOpinion, "default: says /one\nrbac: Everything is forbidden.", "default: success"},
	} {
		answer, err := l.Authorize(t.Context(), get(step.user))
		if answer.Verdict != step.verdict || answer.Reason() != step.reason || err != nil {
			t.Errorf("%s: %v %q, %v", step.user, answer.Verdict, answer.Reason(), err)
		}
		if got := counts.take(); got != step.counted {
			t.Errorf("%s: counted %q, want %q", step.user, got, step.counted)
		}
	}
	rules, err := l.RulesFor(t.Context(), &identity.Identity{Name: "jane"}, "default")
	if !rules.Incomplete || err == nil || !strings.Contains(err.Error(), "webhook authorizer does not support") {
		t.Errorf("rules %+v, %v", rules, err)
	}
	w.mu.Lock()
	w.code = http.StatusForbidden
	w.mu.Unlock()
	// By flags, a webhook that fails has no opinion, and the error is kept.
	answer, err := l.Authorize(t.Context(), get("new"))
	if answer.Verdict != authz.NoOpinion || err == nil || counts.take() != "default: error; default fails open: error" {
		t.Errorf("of a webhook that fails: %v, %v", answer, err)
	}
	if l.Followed() != "authorization-webhook-config-file" {
		t.Errorf("followed is %q", l.Followed())
	}
	for _, bad := range []authorizers.Flags{{Modes: []string{"Webhook"}}, {Modes: []string{"ABAC"}}, {Modes: []string{"Webhook"}, KubeconfigFile: filepath.Join(w.dir, "ca.crt")}} {
		if _, err := w.open(t, authorizers.Config{Flags: bad}, counts); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestConditionsAndFailures(t *testing.T) {
	w := newWorld(t)
	text := head + w.hook("one", "one", `    matchConditionSubjectAccessReviewVersion: v1
    matchConditions:
    - expression: request.user != 'ann'
    - expression: request.resourceAttributes.namespace == 'default'
`) + "- {type: AlwaysAllow, name: alwaysallow}\n"
	counts := new(record)
	l, err := w.open(t, authorizers.Config{Path: w.write(t, "authorization.yaml", text)}, counts)
	if err != nil {
		t.Fatal(err)
	}
	if got := counts.take(); got != "configured false" {
		t.Errorf("counted %q", got)
	}
	other := get("jane")
	other.Namespace = "other"
	path := &authz.Attributes{User: &identity.Identity{Name: "jane"}, Verb: "get", Path: "/"}
	for _, step := range []struct {
		a       *authz.Attributes
		verdict authz.Verdict
		err     string
		counted string
	}{
		{get("jane"), authz.Allow, "", "one: success; Webhook one allows"},
		{get("ann"), authz.Allow, "", "Webhook one is excluded; AlwaysAllow alwaysallow allows"},
		{other, authz.Allow, "", "Webhook one is excluded; AlwaysAllow alwaysallow allows"},
		// The second condition cannot be evaluated, and failurePolicy is Deny.
		{path, authz.Deny, "no such key", "Webhook one denies"},
	} {
		answer, err := l.Authorize(t.Context(), step.a)
		if answer.Verdict != step.verdict || (err == nil) != (step.err == "") || err != nil && !strings.Contains(err.Error(), step.err) {
			t.Errorf("%+v: %v, %v", step.a, answer, err)
		}
		if got := counts.take(); got != step.counted {
			t.Errorf("%+v: counted %q, want %q", step.a, got, step.counted)
		}
	}
	w.mu.Lock()
	w.code = http.StatusBadRequest
	w.mu.Unlock()
	if answer, err := l.Authorize(t.Context(), get("new")); answer.Verdict != authz.Deny || err == nil {
		t.Errorf("of a webhook that fails: %v, %v", answer, err)
	}
}

// TestReload changes the file, and what it leads to, while the server runs.
func TestReload(t *testing.T) {
	w := newWorld(t)
	w.kubeconfig(t, "two", "/two")
	counts := new(record)
	path := w.write(t, "authorization.yaml", head+w.hook("one", "one", "")+rbac)
	l, err := w.open(t, authorizers.Config{Path: path}, counts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	steps := []struct {
		name    string
		change  func()
		reason  string // of jane
		problem string
	}{
		{"nothing", func() {}, "says /one", ""},
		{"another webhook", func() { w.write(t, "authorization.yaml", head+w.hook("two", "two", "")+rbac) }, "says /two", ""},
		{"another kubeconfig", func() { w.kubeconfig(t, "two", "/three") }, "says /three", ""},
		{"a bad kubeconfig", func() { w.write(t, "two.kubeconfig", "{}") }, "says /three", "current-context"},
		{"mended", func() { w.kubeconfig(t, "two", "/four") }, "says /four", ""},
		{"no RBAC", func() { w.write(t, "authorization.yaml", head+w.hook("two", "two", "")) }, "says /four", "RBAC cannot be taken away"},
		{"one more", func() {
			w.write(t, "authorization.yaml", head+w.hook("two", "two", "")+rbac+"- {type: AlwaysAllow, name: alwaysallow}\n")
		}, "says /four", "AlwaysAllow cannot be added"},
		{"a bad file", func() { w.write(t, "authorization.yaml", "x") }, "says /four", "version/kind"},
		{"both", func() { w.write(t, "authorization.yaml", head+w.hook("one", "one", "")+w.hook("two", "two", "")+rbac) }, "says /one", ""},
	}
	for _, step := range steps {
		step.change()
		var reason, problem string
		for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			answer, err := l.Authorize(t.Context(), get("jane"))
			if answer.Verdict != authz.Allow || err != nil {
				t.Fatalf("%s: jane has the answer %v, %v: no request may fall between two configurations", step.name, answer, err)
			}
			reason, problem = answer.Reason(), ""
			if p := l.Status().Problem; p != nil {
				problem = p.Error()
			}
			if reason == step.reason && (problem == "") == (step.problem == "") && strings.Contains(problem, step.problem) {
				break
			}
		}
		if reason != step.reason || (problem == "") != (step.problem == "") || !strings.Contains(problem, step.problem) {
			t.Fatalf("%s: jane's answer %q, problem %q, want %q, %q", step.name, reason, problem, step.reason, step.problem)
		}
	}
	counted := counts.take()
	for text, n := range map[string]int{"configured true": 4, "refused": 4, "Webhook one is gone": 1, "one is called no more": 1} {
		if got := strings.Count(counted, text); got != n {
			t.Errorf("%q was counted %d times, want %d", text, got, n)
		}
	}
	// What the webhook said is forgotten with the configuration, so each of the
	// five that took effect has asked about jane once.
	if asked := w.questions(); len(asked) != 5 {
		t.Errorf("asked %q", asked)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + rbac))
	f.Add([]byte(head + "- {type: Webhook, name: a, webhook: {timeout: 3s, connectionInfo: {type: InClusterConfig}}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := authorizers.Parse(text, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		if err == nil && len(doc.Types()) == 0 {
			t.Errorf("a configuration without authorizers is accepted: %q", text)
		}
	})
}

// Every text of the JSON test suite in a configuration, in which nothing is
// allowed that is not known.
func TestConfigurationsReadJSON(t *testing.T) {
	for _, document := range []string{
		"%", `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthorizationConfiguration","authorizers":[{"type":"RBAC","name":"a"}],"more":%}`,
		`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthorizationConfiguration","authorizers":%}`,
	} {
		taken := vectors.JSON(t).Check(t, document, false, func(text []byte) error {
			_, err := authorizers.Parse(text, func(string) ([]byte, error) { return nil, os.ErrNotExist })
			return err
		})
		if taken > 0 {
			t.Errorf("%s: %d texts are taken", document, taken)
		}
	}
}
