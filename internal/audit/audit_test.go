package audit_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/audit"
)

const policyHeader = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

// A desk is a trail that writes to a file, a recorder on it, and a way to read
// what was written.
type desk struct {
	*audit.Recorder
	t    testing.TB
	file string
}

// newDesk returns a desk with the given policy, changed by the given functions.
func newDesk(t testing.TB, policy string, change ...func(*audit.Config)) desk {
	t.Helper()
	c := audit.DefaultConfig()
	c.PolicyFile = writeFile(t, "policy.yaml", policyHeader+policy)
	c.Log.Path = filepath.Join(t.TempDir(), "audit", "events.log")
	for _, f := range change {
		f(&c)
	}
	trail, err := audit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := trail.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trail.Shutdown() })
	return desk{
		t: t, file: c.Log.Path,
		Recorder: &audit.Recorder{
			Trail:       trail,
			LongRunning: func(_ *http.Request, i *request.RequestInfo) bool { return i.Verb == "watch" },
			Annotations: func(context.Context) []authn.Annotation { return nil },
			Log:         slog.New(slog.DiscardHandler),
		},
	}
}

// events ends the trail and returns what it has written.
func (d desk) events() []auditv1.Event {
	d.t.Helper()
	if err := d.Trail.Shutdown(); err != nil {
		d.t.Fatal(err)
	}
	text, err := os.ReadFile(d.file)
	if err != nil {
		d.t.Fatal(err)
	}
	var events []auditv1.Event
	for line := range strings.Lines(string(text)) {
		var e auditv1.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			d.t.Fatalf("event %s: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// one returns the only event.
func (d desk) one() auditv1.Event {
	d.t.Helper()
	events := d.events()
	if len(events) != 1 {
		d.t.Fatalf("got %d events, want 1: %+v", len(events), events)
	}
	return events[0]
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// incoming returns a request as authentication hands it on: with its request
// info, and its caller if there is one.
func incoming(method, uri string, caller *identity.Identity) *http.Request {
	r := httptest.NewRequest(method, uri, nil)
	factory := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := factory.NewRequestInfo(r)
	if err != nil {
		panic(err)
	}
	ctx := request.WithRequestInfo(r.Context(), info)
	if caller != nil {
		ctx = request.WithUser(ctx, caller)
	}
	return r.WithContext(ctx)
}

func alice() *identity.Identity {
	return &identity.Identity{
		Name: "alice", UID: "42", Groups: []string{"dev"},
		Extra: map[string][]string{"team": {"blue"}},
		Credential: identity.Credential{
			Method: identity.ClientCertificate, Issuer: "X509SHA256=ca", ID: "X509SHA256=leaf",
		},
	}
}

func answer(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// serve sends r through WithID and h.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	audit.WithID(h).ServeHTTP(w, r)
	return w
}

func TestNewRefuses(t *testing.T) {
	good := writeFile(t, "good.yaml", policyHeader+"rules: [{level: Metadata}]\n")
	bad := func(text string) string { return writeFile(t, "bad.yaml", text) }
	log, hook := func(c *audit.Config) *audit.LogConfig {
		c.Log.Path = filepath.Join(t.TempDir(), "log")
		return &c.Log
	}, func(c *audit.Config) *audit.WebhookConfig {
		c.Webhook.ConfigFile = bad("{}")
		return &c.Webhook
	}
	for _, tt := range []struct {
		name   string
		change func(*audit.Config)
		want   string
	}{
		{"backend without policy", func(c *audit.Config) { log(c); c.PolicyFile = "" }, "--audit-policy-file is not set"},
		{"policy without backend", func(c *audit.Config) {}, "its events would go nowhere"},
		{"policy file missing", func(c *audit.Config) { log(c); c.PolicyFile = "/nonexistent" }, "--audit-policy-file: open /nonexistent"},
		{"policy is no policy", func(c *audit.Config) { log(c); c.PolicyFile = bad("hello") }, "--audit-policy-file"},
		{"policy without rules", func(c *audit.Config) { log(c); c.PolicyFile = bad(policyHeader) }, "at least one rule"},
		{"policy of old version", func(c *audit.Config) {
			log(c)
			c.PolicyFile = bad("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: Metadata}]\n")
		}, "audit.k8s.io/v1 Policy"},
		{"misspelt field", func(c *audit.Config) {
			log(c)
			c.PolicyFile = bad(policyHeader + "rules: [{level: None, verb: [get]}]\n")
		}, `unknown field "rules[0].verb"`},
		{"unknown level", func(c *audit.Config) {
			log(c)
			c.PolicyFile = bad(policyHeader + "rules: [{level: Everything}]\n")
		}, "Everything"},
		{"log mode", func(c *audit.Config) { log(c).Delivery.Mode = "fast" }, `--audit-log-mode "fast": must be one of batch, blocking, blocking-strict`},
		{"log format", func(c *audit.Config) { log(c).Format = "xml" }, `--audit-log-format "xml"`},
		{"log version", func(c *audit.Config) { log(c).Version = "audit.k8s.io/v1beta1" }, "--audit-log-version"},
		{"log maxage", func(c *audit.Config) { log(c).MaxAge = -1 }, "--audit-log-maxage -1: must not be negative"},
		{"log maxbackup", func(c *audit.Config) { log(c).MaxBackup = -1 }, "--audit-log-maxbackup -1"},
		{"log maxsize", func(c *audit.Config) { log(c).MaxSize = -1 }, "--audit-log-maxsize -1"},
		{"log path is a directory", func(c *audit.Config) { c.Log.Path = t.TempDir() }, "--audit-log-path: "},
		{"event size", func(c *audit.Config) { log(c).Delivery.TruncateMaxEventSize = 0 }, "--audit-log-truncate-max-event-size 0"},
		{"batch below event", func(c *audit.Config) { log(c).Delivery.TruncateMaxBatchSize = 1 }, "--audit-log-truncate-max-batch-size 1: must be at least --audit-log-truncate-max-event-size"},
		{"webhook buffer", func(c *audit.Config) { hook(c).Delivery.BatchBufferSize = 0 }, "--audit-webhook-batch-buffer-size 0"},
		{"webhook batch", func(c *audit.Config) { hook(c).Delivery.BatchMaxSize = 0 }, "--audit-webhook-batch-max-size 0"},
		{"webhook qps", func(c *audit.Config) { hook(c).Delivery.ThrottleQPS = 0 }, "--audit-webhook-batch-throttle-qps 0"},
		{"webhook burst", func(c *audit.Config) { hook(c).Delivery.ThrottleBurst = 0 }, "--audit-webhook-batch-throttle-burst 0"},
		{"webhook backoff", func(c *audit.Config) { hook(c).InitialBackoff = 0 }, "--audit-webhook-initial-backoff 0s"},
		{"webhook config", func(c *audit.Config) { hook(c) }, "--audit-webhook-config-file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := audit.DefaultConfig()
			c.PolicyFile = good
			tt.change(&c)
			_, err := audit.New(c)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New: %v, want %q", err, tt.want)
			}
		})
	}
}

func TestUnusedBackendIsNotChecked(t *testing.T) {
	newDesk(t, "rules: [{level: Metadata}]", func(c *audit.Config) { c.Webhook.Delivery.Mode = "fast" })
}

func TestLogFileIsPrivate(t *testing.T) {
	for _, size := range []int{0, 100} {
		d := newDesk(t, "rules: [{level: Metadata}]", func(c *audit.Config) { c.Log.MaxSize = size })
		serve(d.Record(answer(200)), incoming("GET", "/version", alice()))
		if len(d.events()) == 0 {
			t.Error("no event")
		}
		info, err := os.Stat(d.file)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("maxsize %d: mode %v, want 0600", size, got)
		}
	}
}

func TestWebhookGetsWhatIsBufferedAtShutdown(t *testing.T) {
	got := make(chan auditv1.EventList, 1)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var list auditv1.EventList
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
			t.Error(err)
		}
		got <- list
	}))
	defer service.Close()
	d := newDesk(t, "omitStages: [RequestReceived]\nrules: [{level: Metadata}]", func(c *audit.Config) {
		c.Log.Path = ""
		c.Webhook.ConfigFile = writeFile(t, "kubeconfig", `{"clusters": [{"name": "a", "cluster": {"server": "`+service.URL+`"}}],
			"contexts": [{"name": "a", "context": {"cluster": "a"}}], "current-context": "a"}`)
	})
	serve(d.Record(answer(200)), incoming("GET", "/version?access_token=s3cret", alice()))
	if err := d.Trail.Shutdown(); err != nil {
		t.Fatal(err)
	}
	list := <-got
	if len(list.Items) != 1 || list.Items[0].RequestURI != "/version?access_token=[redacted]" {
		t.Errorf("got %+v", list.Items)
	}
}
