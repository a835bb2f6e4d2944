package audit_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	kubeaudit "k8s.io/apiserver/pkg/audit"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/audit"
)

const everything = "omitStages: [RequestReceived]\nrules: [{level: RequestResponse}]"

func TestRecord(t *testing.T) {
	d := newDesk(t, "rules: [{level: Metadata}]")
	d.Annotations = func(context.Context) []authn.Annotation {
		return []authn.Annotation{{Key: "authentication.k8s.io/stale-token", Value: "yes"}}
	}
	h := d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		audit.Decision(r.Context(), authz.Answer{Verdict: authz.Allow, Why: authz.Text("because")}, nil)
		w.WriteHeader(http.StatusTeapot)
	}))
	w := serve(h, incoming("GET", "/api/v1/namespaces/ns/secrets/s", alice()))
	events := d.events()
	if len(events) != 2 || events[0].Stage != "RequestReceived" || events[1].Stage != "ResponseComplete" {
		t.Fatalf("got %+v, want RequestReceived and ResponseComplete", events)
	}
	e := events[1]
	if string(e.AuditID) == "" || string(e.AuditID) != w.Header().Get("Audit-ID") {
		t.Errorf("audit ID %q, header %q", e.AuditID, w.Header().Get("Audit-ID"))
	}
	if e.User.Username != "alice" || e.User.UID != "42" || e.User.Groups[0] != "dev" || e.User.Extra["team"][0] != "blue" {
		t.Errorf("user %+v", e.User)
	}
	if e.ObjectRef == nil || e.ObjectRef.Resource != "secrets" || e.ObjectRef.Name != "s" || e.ObjectRef.Namespace != "ns" {
		t.Errorf("object %+v", e.ObjectRef)
	}
	if e.ResponseStatus == nil || e.ResponseStatus.Code != http.StatusTeapot {
		t.Errorf("status %+v", e.ResponseStatus)
	}
	want := map[string]string{
		"authentication.gatehouse.dev/method":        "X509",
		"authentication.gatehouse.dev/issuer":        "X509SHA256=ca",
		"authentication.gatehouse.dev/credential-id": "X509SHA256=leaf",
		"authentication.k8s.io/stale-token":          "yes",
		"authorization.k8s.io/decision":              "allow",
		"authorization.k8s.io/reason":                "because",
	}
	if fmt.Sprint(e.Annotations) != fmt.Sprint(want) {
		t.Errorf("annotations %v, want %v", e.Annotations, want)
	}
}

func TestDecision(t *testing.T) {
	why := authz.Text("why")
	for _, tt := range []struct {
		name             string
		answer           authz.Answer
		err              error
		decision, reason string
	}{
		{"allow", authz.Answer{Verdict: authz.Allow, Why: why}, nil, "allow", "why"},
		{"allow in spite of error", authz.Answer{Verdict: authz.Allow, Why: why}, errors.New("x"), "allow", "why"},
		{"deny", authz.Answer{Verdict: authz.Deny, Why: why}, nil, "forbid", "why"},
		{"no opinion", authz.Answer{}, nil, "forbid", ""},
		{"error", authz.Answer{Why: why}, errors.New("secret plan"), "", "internal error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, everything)
			serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				audit.Decision(r.Context(), tt.answer, tt.err)
			})), incoming("GET", "/version", alice()))
			got := d.one().Annotations
			if got[audit.DecisionAnnotation] != tt.decision || got[audit.ReasonAnnotation] != tt.reason {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A reason panics if it is rendered.
type costly struct{}

func (costly) String() string { panic("rendered") }

func TestUnrecorded(t *testing.T) {
	d := newDesk(t, "rules: [{level: None, users: [alice]}, {level: Metadata}]")
	reached := false
	h := d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached = true
		ctx := r.Context()
		audit.Decision(ctx, authz.Answer{Verdict: authz.Allow, Why: costly{}}, nil)
		// These are what the generic handlers call. None may panic.
		kubeaudit.AddAuditAnnotation(ctx, "k", "v")
		kubeaudit.LogRequestPatch(ctx, []byte("{}"))
		kubeaudit.LogImpersonatedUser(ctx, alice(), "")
		if kubeaudit.AuditContextFrom(ctx).Enabled() {
			t.Error("audit context is enabled")
		}
	}))
	serve(h, incoming("PATCH", "/api/v1/namespaces/ns/secrets/s", alice()))
	if !reached {
		t.Error("request was not served")
	}
	if events := d.events(); len(events) != 0 {
		t.Errorf("got %+v, want none", events)
	}
}

func TestNoPolicyRecordsNothing(t *testing.T) {
	trail, err := audit.New(audit.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := trail.Start(); err != nil {
		t.Fatal(err)
	}
	rec := &audit.Recorder{Trail: trail}
	if w := serve(rec.Record(answer(204)), incoming("GET", "/version", alice())); w.Code != 204 {
		t.Errorf("code %d, want 204", w.Code)
	}
	w := httptest.NewRecorder()
	rec.Refuse(w, incoming("GET", "/version", nil), errors.New("x"), answer(401))
	if w.Code != 401 {
		t.Errorf("code %d, want 401", w.Code)
	}
	for range 2 {
		if err := trail.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}

func TestRefuse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request func(*http.Request)
		err     error
		message string
		failure string
	}{
		{"bearer", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") },
			errors.New("token expired"), "Authentication failed, attempted: bearer", "token expired"},
		{"bearer without token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer") },
			nil, "Authentication failed, no credentials provided", ""},
		{"all at once", func(r *http.Request) {
			r.SetBasicAuth("u", "s3cret")
			r.URL.RawQuery = "access_token=s3cret"
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
		}, nil, "Authentication failed, attempted: basic, access_token, x509", ""},
		{"legacy token marked invalid", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") },
			errors.Join(errors.New("no password"), invalidated()), "Authentication failed, attempted: bearer", `no password\nServiceAccount: marked`},
		{"log forging", func(*http.Request) {}, errors.New("a\nb\x1b[31m\xff\u2028c"),
			"Authentication failed, no credentials provided", `a\nb\x1b[31m\xff\u2028c`},
		{"endless", func(*http.Request) {}, errors.New(strings.Repeat("é", 5000)),
			"Authentication failed, no credentials provided", strings.Repeat("é", 512) + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, "rules: [{level: RequestResponse}]")
			r := incoming("GET", "/api/v1/pods", nil)
			tt.request(r)
			w := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				d.Refuse(w, r, tt.err, answer(http.StatusUnauthorized))
			}), r)
			e := d.one()
			if w.Code != 401 || e.ResponseStatus.Code != 401 || e.Stage != auditv1.StageResponseStarted {
				t.Errorf("code %d, event %+v", w.Code, e)
			}
			if e.User.Username != "" || e.ResponseStatus.Message != tt.message {
				t.Errorf("user %q, message %q, want %q", e.User.Username, e.ResponseStatus.Message, tt.message)
			}
			if got := e.Annotations[audit.FailureAnnotation]; got != tt.failure {
				t.Errorf("failure %q, want %q", got, tt.failure)
			}
			wantMarked := ""
			if strings.HasPrefix(tt.name, "legacy") {
				wantMarked = "old/ns"
			}
			if got := e.Annotations["authentication.k8s.io/legacy-token-invalidated"]; got != wantMarked {
				t.Errorf("the annotation of the refusal is %q, want %q", got, wantMarked)
			}
			if strings.Contains(fmt.Sprint(e), "s3cret") {
				t.Errorf("secret in %+v", e)
			}
		})
	}
}

// invalidated is a refusal that has something for the event.
func invalidated() error {
	return &authn.Refusal{Method: identity.ServiceAccount, Reason: "marked", Annotations: []authn.Annotation{
		{Key: "authentication.k8s.io/legacy-token-invalidated", Value: "old/ns"},
	}}
}

func TestAuditID(t *testing.T) {
	for _, tt := range []struct {
		name, id string
		kept     bool
	}{
		{"uuid", "7f9c24e8-3b12-4d6f-9f1a-2c0b5e6d7a81", true},
		{"64 characters", strings.Repeat("a", 64), true},
		{"trace", "trace:01.2_3", true},
		{"empty", "", false},
		{"65 characters", strings.Repeat("a", 65), false},
		{"space", "a b", false},
		{"quote", `a"b`, false},
		{"control", "a\x1b[31m", false},
		{"not ASCII", "ä", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, everything)
			r := incoming("GET", "/version", alice())
			r.Header.Set("Audit-ID", tt.id)
			got := serve(d.Record(answer(200)), r).Header().Get("Audit-ID")
			if (got == tt.id) != tt.kept || got == "" {
				t.Errorf("got %q, kept must be %v", got, tt.kept)
			}
			if e := d.one(); string(e.AuditID) != got {
				t.Errorf("event has %q, answer %q", e.AuditID, got)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	for _, tt := range []struct {
		mode string
		code int
	}{
		{audit.ModeBlocking, 200},
		{audit.ModeBlockingStrict, 500},
		{audit.ModeBatch, 200},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			d := newDesk(t, "rules: [{level: Metadata}]", func(c *audit.Config) {
				c.Log.Path, c.Log.MaxSize, c.Log.Delivery.Mode = "/dev/full", 0, tt.mode
			})
			reached := false
			w := serve(d.Record(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })),
				incoming("GET", "/version", alice()))
			if w.Code != tt.code || reached != (tt.code == 200) {
				t.Errorf("code %d, served %v, want code %d", w.Code, reached, tt.code)
			}
		})
	}
}

func TestNoRequestInfo(t *testing.T) {
	d := newDesk(t, everything)
	w := serve(d.Record(answer(200)), httptest.NewRequest("GET", "/version?access_token=s3cret", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "s3cret") {
		t.Errorf("code %d, body %q", w.Code, w.Body)
	}
}

func TestPanic(t *testing.T) {
	d := newDesk(t, everything)
	func() {
		defer func() {
			if p := recover(); p != "boom\n" {
				t.Errorf("recovered %v, want the handler's panic", p)
			}
		}()
		serve(d.Record(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom\n") })),
			incoming("GET", "/version", alice()))
	}()
	e := d.one()
	if e.Stage != "Panic" || e.ResponseStatus.Code != 500 || e.ResponseStatus.Message != `APIServer panic'd: boom\n` {
		t.Errorf("event %+v", e)
	}
}

// The answer of a watch has to reach the caller while the handler still runs.
func TestStream(t *testing.T) {
	d := newDesk(t, everything)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		audit.WithID(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("first"))
			w.(http.Flusher).Flush()
			<-release
		}))).ServeHTTP(w, incoming("GET", "/api/v1/pods?watch=true", alice()))
	}))
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	answer.Body.Close()
	server.Close()
	var stages []string
	for _, e := range d.events() {
		stages = append(stages, string(e.Stage))
	}
	if got := strings.Join(stages, " "); got != "ResponseStarted ResponseComplete" {
		t.Errorf("stages %q", got)
	}
}

func TestHijack(t *testing.T) {
	d := newDesk(t, everything)
	// Close of the server does not wait for a connection that was taken over.
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
			conn.Close()
		})).ServeHTTP(w, incoming("GET", "/api/v1/namespaces/ns/pods/p/exec", alice()))
	}))
	defer server.Close()
	if answer, err := server.Client().Get(server.URL); err != nil || answer.StatusCode != 101 {
		t.Errorf("answer %v, %v", answer, err)
	}
	<-done
	if e := d.one(); e.ResponseStatus.Code != 101 {
		t.Errorf("status %+v, want 101", e.ResponseStatus)
	}
}

func TestSilentHandler(t *testing.T) {
	d := newDesk(t, everything)
	serve(d.Record(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), incoming("GET", "/version", alice()))
	if e := d.one(); e.ResponseStatus.Message != "Connection closed early" || e.ResponseStatus.Code != 200 {
		t.Errorf("status %+v", e.ResponseStatus)
	}
}
