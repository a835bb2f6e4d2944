package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"
	"k8s.io/client-go/kubernetes/scheme"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/internal/audit"
)

// A visit is a request and what its handler does.
type visit struct {
	method, path, query          string
	agent, forwarded, real, peer string
	name, group, key, value      string
	code                         int
	message                      string
	// what are bits, one for each thing a handler may do.
	what uint16
}

const (
	impersonates = 1 << iota
	hasStatus
	hasObject
	annotates
	streams
	panics
	silent
	stranger
	decided
	late
	all = 1<<iota - 1
)

// received is in the future, so that no request is slow.
var received = time.Date(2126, 1, 2, 3, 4, 5, 678901234, time.FixedZone("east", 3600))

// request returns the request with its request info, or false if the library
// refuses it.
func (v *visit) request() (*http.Request, bool) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Method, r.URL, r.RemoteAddr = v.method, &url.URL{Path: v.path, RawQuery: v.query}, v.peer
	r.Header = http.Header{"User-Agent": {v.agent}, "X-Forwarded-For": {v.forwarded}, "X-Real-Ip": {v.real}}
	factory := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := factory.NewRequestInfo(r)
	if err != nil {
		return nil, false
	}
	ctx := request.WithReceivedTimestamp(request.WithRequestInfo(r.Context(), info), received)
	if v.what&stranger == 0 {
		ctx = request.WithUser(ctx, v.user())
	}
	return r.WithContext(ctx), true
}

func (v *visit) user() user.Info {
	return &user.DefaultInfo{
		Name: v.name, UID: v.value, Groups: []string{v.group, v.name},
		Extra: map[string][]string{v.key: {v.value}, "b": nil, v.group: {}},
	}
}

// ServeHTTP does with the library's functions what its handlers do.
func (v *visit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if v.what&impersonates != 0 {
		kubeaudit.LogImpersonatedUser(ctx, v.user(), v.value)
	}
	if v.what&annotates != 0 {
		kubeaudit.AddAuditAnnotations(ctx, v.key, v.value, "z", v.message)
	}
	if v.what&hasObject != 0 {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v.name, Namespace: v.group, UID: "u", ResourceVersion: "7"}}
		kubeaudit.LogRequestObject(ctx, o, schema.GroupVersion{Version: "v1"}, schema.GroupVersionResource{Group: "g", Version: "v2", Resource: "things"}, "sub", scheme.Codecs)
	}
	if v.what&hasStatus != 0 {
		kubeaudit.LogResponseObject(ctx, &metav1.Status{
			Status: "Failure", Message: v.message, Reason: metav1.StatusReason(v.name), Code: int32(v.code),
			Details: &metav1.StatusDetails{Name: v.name, Causes: []metav1.StatusCause{{Field: v.key}, {Message: v.message}}, RetryAfterSeconds: int32(v.code)},
		}, schema.GroupVersion{Version: "v1"}, scheme.Codecs)
	}
	if v.what&panics != 0 {
		panic("boom")
	}
	if v.what&silent == 0 {
		w.WriteHeader(200 + v.code%400)
		io.WriteString(w, v.message)
	}
	if v.what&late != 0 {
		kubeaudit.AddAuditAnnotation(ctx, "late", v.value)
		kubeaudit.LogResponseObject(ctx, &metav1.Status{Message: v.message, Code: 504}, schema.GroupVersion{Version: "v1"}, scheme.Codecs)
	}
}

func (v *visit) longRunning(*http.Request, *request.RequestInfo) bool { return v.what&streams != 0 }

func (v *visit) answer() authz.Answer {
	return authz.Answer{Verdict: authz.Allow, Why: authz.Text(v.message)}
}

// swallow calls f, which may panic.
func swallow(f func()) {
	defer func() { _ = recover() }()
	f()
}

// upstream returns the lines of the library: its filter, its event, its encoder
// and its backend.
func (v *visit) upstream() (string, bool) {
	r, ok := v.request()
	if !ok {
		return "", false
	}
	var out bytes.Buffer
	sink := pluginlog.NewBackend(&out, pluginlog.FormatJson, auditv1.SchemeGroupVersion)
	ctx := kubeaudit.WithAuditContext(r.Context())
	kubeaudit.WithAuditID(ctx, "an id")
	kubeaudit.AddAuditAnnotation(ctx, "credential", v.key)
	rules := policy.NewFakePolicyRuleEvaluator(auditinternal.LevelMetadata, nil)
	h := filters.WithAudit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.what&decided != 0 {
			kubeaudit.AddAuditAnnotations(r.Context(), audit.DecisionAnnotation, "allow", audit.ReasonAnnotation, v.message)
		}
		v.ServeHTTP(w, r)
	}), sink, rules, v.longRunning)
	swallow(func() { h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx)) })
	return out.String(), true
}

// ours returns the lines of a record that writes itself.
func (v *visit) ours(t *testing.T) string {
	t.Helper()
	r, _ := v.request()
	var out bytes.Buffer
	trail, err := audit.NewDirect(&out, policy.NewFakePolicyRuleEvaluator(auditinternal.LevelMetadata, nil))
	if err != nil {
		t.Fatal(err)
	}
	rec := &audit.Recorder{
		Trail: trail, LongRunning: v.longRunning, Log: slog.New(slog.DiscardHandler),
		Annotations: func(context.Context) []authn.Annotation { return []authn.Annotation{{Key: "credential", Value: v.key}} },
	}
	h := rec.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.what&decided != 0 {
			audit.Decision(r.Context(), v.answer(), nil)
		}
		v.ServeHTTP(w, r)
	}))
	w := httptest.NewRecorder()
	w.Header().Set("Audit-Id", "an id")
	swallow(func() { h.ServeHTTP(w, r) })
	return out.String()
}

// check compares the two, but for when the later stages were reached.
func (v *visit) check(t *testing.T) {
	t.Helper()
	want, ok := v.upstream()
	if !ok {
		return
	}
	if got := timeless(v.ours(t)); got != timeless(want) {
		t.Fatalf("%+v:\ngot  %swant %s", v, got, timeless(want))
	}
}

func timeless(lines string) string {
	stamp := regexp.MustCompile(`"stageTimestamp":"[^"]*"`)
	var out strings.Builder
	for line := range strings.Lines(lines) {
		if !strings.Contains(line, `"stage":"RequestReceived"`) {
			line = stamp.ReplaceAllString(line, `"stageTimestamp":"now"`)
		}
		out.WriteString(line)
	}
	return out.String()
}

// withheld reports whether our lines leave out what upstream's have.
func (v *visit) withheld() bool {
	return strings.Contains(v.path, "secrets") || audit.HideAccessToken("/?"+v.query) != "/?"+v.query
}

// A record's own lines are those of upstream's filter, for everything that a
// handler may do.
func TestLinesAreUpstreams(t *testing.T) {
	for what := range uint16(all + 1) {
		v := &visit{
			method: "POST", path: "/api/v1/namespaces/ns/pods", query: "a=<b>", agent: "kubectl/v1", peer: "192.0.2.1:77",
			name: "Grüße", group: "g\"1", key: "k", value: "v", code: 4, message: "why \"not\"", what: what,
		}
		v.check(t)
		v.path, v.query, v.peer = "/version", "", "[2001:db8::1]:443"
		v.check(t)
	}
	for _, peer := range []string{"", "192.0.2.1", "192.0.2.01:1", "[::ffff:192.0.2.1]:1", "[fe80::1%eth0]:1", "@", "localhost:1", "[::1]:99999"} {
		for _, forwarded := range []string{"", "192.0.2.9, x, 010.0.0.1", "192.0.2.1"} {
			for _, real := range []string{"", "192.0.2.9", "::1", "x"} {
				(&visit{method: "GET", path: "/", peer: peer, forwarded: forwarded, real: real}).check(t)
			}
		}
	}
	for _, agent := range []string{"", strings.Repeat("a", 1024), strings.Repeat("é", 513)} {
		(&visit{method: "GET", path: "//x/%2f?", query: "%zz;", agent: agent}).check(t)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("GET", "/api/v1/pods", "watch=1", "curl", "", "", "192.0.2.1:1", "alice", "dev", "k", "v", 200, "m", uint16(0))
	f.Add("PUT", "/apis/g/v1/namespaces/a/b/c/status", "", "\xff", "10.0.0.1", "::1", "", "", "", "", "\x00", 404, "<>&\u2028", uint16(all))
	f.Fuzz(func(t *testing.T, method, path, query, agent, forwarded, real, peer, name, group, key, value string, code int, message string, what uint16) {
		v := &visit{method, path, query, agent, forwarded, real, peer, name, group, key, value, code & 0xfff, message, what & all}
		if !v.withheld() && key != "credential" {
			v.check(t)
		}
	})
}

// A door's own annotation stays, whatever a handler calls by the same name.
func TestDoorsAnnotationStays(t *testing.T) {
	d := newDesk(t, "omitStages: [RequestReceived]\nrules: [{level: Metadata}]")
	serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		audit.Decision(r.Context(), authz.Answer{Verdict: authz.Deny, Why: authz.Text("why")}, nil)
		kubeaudit.AddAuditAnnotation(r.Context(), audit.DecisionAnnotation, "allow")
		kubeaudit.AddAuditAnnotation(r.Context(), "a", "added")
	})), incoming("GET", "/version", alice()))
	got := d.one().Annotations
	if got[audit.DecisionAnnotation] != "forbid" || got["a"] != "added" || got[audit.MethodAnnotation] != "X509" {
		t.Errorf("annotations %v", got)
	}
}

// Secrets stay out of lines as they stay out of events.
func TestLinesHaveNoSecrets(t *testing.T) {
	d := newDesk(t, "rules: [{level: Metadata}]")
	serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kubeaudit.LogResponseObject(r.Context(), &metav1.Status{
			Message: "cannot unmarshal s3cret", Reason: metav1.StatusReasonBadRequest, Code: 400,
		}, schema.GroupVersion{Version: "v1"}, scheme.Codecs)
		w.WriteHeader(400)
	})), incoming("POST", "/api/v1/namespaces/ns/secrets?access_token=s3cret", alice()))
	events := d.events()
	if len(events) != 2 || events[1].ResponseStatus.Message != "[redacted]" {
		t.Fatalf("events %+v", events)
	}
	for _, e := range events {
		if e.RequestURI != "/api/v1/namespaces/ns/secrets?access_token=[redacted]" {
			t.Errorf("URI %q", e.RequestURI)
		}
	}
}

// Handlers may add from several goroutines while a stream begins.
func TestManyAddToOneRecord(t *testing.T) {
	d := newDesk(t, "rules: [{level: Metadata}]")
	serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var work sync.WaitGroup
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
			work.Go(func() { kubeaudit.AddAuditAnnotation(r.Context(), key, "added") })
		}
		work.Go(func() { w.WriteHeader(200) })
		work.Wait()
	})), incoming("GET", "/api/v1/pods?watch=1", alice()))
	events := d.events()
	if len(events) != 3 || len(events[2].Annotations) != 12 {
		t.Errorf("events %+v", events)
	}
}

// An answer that goes on when its request is over writes nothing more.
func TestAnswerAfterTheEnd(t *testing.T) {
	d := newDesk(t, "rules: [{level: Metadata}]")
	var kept http.ResponseWriter
	serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { kept = w })), incoming("GET", "/api/v1/pods?watch=1", alice()))
	kept.WriteHeader(500)
	var stages []string
	for _, e := range d.events() {
		stages = append(stages, string(e.Stage))
	}
	if got := strings.Join(stages, " "); got != "RequestReceived ResponseStarted ResponseComplete" {
		t.Errorf("stages %s", got)
	}
}

// A refusal has one line, with the answer's Status as upstream has it.
func TestRefusalWithStatus(t *testing.T) {
	d := newDesk(t, "rules: [{level: Metadata}]")
	r := incoming("GET", "/api/v1/pods", nil)
	r.Header.Set("Authorization", "Bearer x")
	serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Refuse(w, r, errors.Join(errors.New("expired"), invalidated()), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kubeaudit.LogResponseObject(r.Context(), &metav1.Status{Message: "Unauthorized", Code: 401}, schema.GroupVersion{Version: "v1"}, scheme.Codecs)
			w.WriteHeader(401)
		}))
	}), r)
	if e := d.one(); e.ResponseStatus.Message != "Unauthorized" || e.ResponseStatus.Code != 401 || e.Annotations[audit.FailureAnnotation] != `expired\nServiceAccount: marked` ||
		e.Annotations["authentication.k8s.io/legacy-token-invalidated"] != "old/ns" {
		t.Errorf("event %+v", e)
	}
}
