package door_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/live"
)

const stream = "/api/v1/namespaces/x/configmaps?watch=true"

// A lock has one credential, which counts for as long as it is not changed.
type lock struct {
	rests authn.Generation
	gone  atomic.Bool
	seen  atomic.Value // the credential that was shown last
}

func (l *lock) Authenticate(r *http.Request) (*authn.Result, error) {
	l.seen.Store(r.Header.Get("Authorization") + " " + r.Header.Get("X-Remote-User"))
	rests := l.rests.Stamp()
	if l.gone.Load() {
		return nil, authn.Refuse(identity.StaticToken, authn.Unknown, "the line is gone")
	}
	return &authn.Result{
		Identity: &identity.Identity{Name: "jane", Credential: identity.Credential{Method: identity.StaticToken}},
		Rests:    []authn.Stamp{rests},
	}, nil
}

// A house of streams is a door on the network whose handler says goodbye, or
// does not.
func streams(t *testing.T, rude bool, change func(*door.Config)) (*httptest.Server, *live.Registry) {
	t.Helper()
	registry := live.New(live.Config{Patience: time.Second, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go registry.Run(ctx)
	s := httptest.NewServer(newDoor(t, func(c *door.Config) {
		c.Live = registry
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := live.From(r.Context())
			if q == nil {
				_, _ = w.Write([]byte("no stream"))
				return
			}
			_, _ = w.Write([]byte("begun\n"))
			_ = http.NewResponseController(w).Flush()
			if !rude {
				<-q.Ended()
				_, _ = w.Write([]byte(q.Ending().Status().Message))
				return
			}
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
		change(c)
	}))
	t.Cleanup(s.Close)
	return s, registry
}

// recorded returns a trail that records everything in a file, and its path.
func recorded(t *testing.T) (*audit.Trail, string) {
	t.Helper()
	config := audit.DefaultConfig()
	config.PolicyFile, config.Log.Path = filepath.Join(t.TempDir(), "policy.yaml"), filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(config.PolicyFile, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	trail, err := audit.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := trail.Start(); err != nil {
		t.Fatal(err)
	}
	return trail, config.Log.Path
}

// A stream is asked about with what it came with, though the handler never sees
// that, and its event says why it was ended.
func TestStream(t *testing.T) {
	l, book := &lock{}, &journal{}
	trail, log := recorded(t)
	s, registry := streams(t, false, func(c *door.Config) {
		c.Authenticator, c.Audit, c.Journal, c.Authorizer = l, trail, book, says{verdict: authz.Allow}
	})
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+stream, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer t0ken")
	r.Header.Set("X-Remote-User", "joe")
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	l.seen.Store("")
	l.gone.Store(true)
	l.rests.Bump()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Errorf("the body: %v", err)
	}
	if !strings.HasSuffix(body.String(), "begun\nthe credential that this request was let in with is not accepted any more") {
		t.Errorf("body %q", body.String())
	}
	if got := l.seen.Load(); got != "Bearer t0ken joe" {
		t.Errorf("asked again with %q", got)
	}
	for registry.Stats().Open > 0 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	if err := trail.Shutdown(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var event struct{ Annotations map[string]string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &event); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if got := event.Annotations[audit.EndedAnnotation]; got != "withdrawn: StaticToken: the line is gone" {
		t.Errorf("the event says %q", got)
	}
	if event.Annotations[audit.RequestIDAnnotation] == "" {
		t.Error("the event has no request ID")
	}
}

// Who does not go is cut off, also while he takes nothing of what is written.
func TestStreamIsCut(t *testing.T) {
	s, registry := streams(t, true, func(*door.Config) {})
	for _, h2 := range []bool{false, true} {
		server := s
		if h2 {
			server = httptest.NewUnstartedServer(s.Config.Handler)
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
		}
		resp, err := server.Client().Get(server.URL + stream)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor == 2 != h2 {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		registry.End(live.Ending{Kind: live.Revoked, Err: errors.New("revoked")})
		deadline := time.Now().Add(20 * time.Second)
		for registry.Stats().Open > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if registry.Stats().Open > 0 {
			t.Error("it is still there")
		}
	}
}

// What is not a stream does not join.
func TestNoStream(t *testing.T) {
	s, registry := streams(t, false, func(*door.Config) {})
	for _, path := range []string{"/version", "/api/v1/namespaces/x/configmaps", "/api/v1/namespaces/x/configmaps/y", "/metrics?watch=true"} {
		resp, err := s.Client().Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body)
		resp.Body.Close()
		if body.String() != "no stream" || registry.Stats().Open != 0 {
			t.Errorf("%s: %q, %d open", path, body.String(), registry.Stats().Open)
		}
	}
}

// A process that does not know who has been revoked serves nobody, and says how
// it is.
func TestStale(t *testing.T) {
	var stale atomic.Bool
	m, book := &counts{}, &journal{}
	asked := &lock{}
	trail, log := recorded(t)
	s, registry := streams(t, false, func(c *door.Config) {
		c.Authenticator, c.Metrics, c.Journal, c.Audit = asked, m, book, trail
		c.Stale = func(time.Time) error {
			if stale.Load() {
				return authn.Refuse("Freshness", authn.Unavailable, "no proof")
			}
			return nil
		}
	})
	for _, tt := range []struct {
		path  string
		stale bool
		code  int
	}{
		{"/api/v1/namespaces", false, 200},
		{"/api/v1/namespaces", true, 503},
		{"/version", true, 503},
		{"/metrics", true, 503},
		{"/readyz/etcd", true, 503},
		{stream, true, 503},
		{"/readyz", true, 200},
		{"/livez", true, 200},
		{"/healthz", true, 200},
		{"/version", false, 200},
	} {
		stale.Store(tt.stale)
		resp, err := s.Client().Get(s.URL + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.code {
			t.Errorf("%s, stale %v: %d", tt.path, tt.stale, resp.StatusCode)
		}
		if tt.code != 503 {
			continue
		}
		if resp.Header.Get("Retry-After") != "1" || resp.Header.Get(door.RequestIDHeader) == "" || !strings.Contains(body.String(), "does not know what has been revoked") ||
			strings.Contains(body.String(), "no proof") {
			t.Errorf("%s: %v %s", tt.path, resp.Header, body.String())
		}
	}
	if registry.Stats().Open != 0 || len(book.refused) != 5 || book.ladders[0][0].Reason != "no proof" {
		t.Errorf("%d open, journal %v", registry.Stats().Open, book.ladders)
	}
	if n := strings.Count(strings.Join(m.all, "\n"), "refused stale"); n != 5 {
		t.Errorf("counted %d", n)
	}
	s.Close()
	if err := trail.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(log); err != nil || strings.Count(string(text), `"authentication.gatehouse.dev/failure":"Freshness: no proof"`) != 5 {
		t.Errorf("%v %s", err, text)
	}
}

// A stream that comes in while all others are ended is ended as well.
func TestStaleStream(t *testing.T) {
	var asked atomic.Int32
	s, _ := streams(t, false, func(c *door.Config) {
		c.Stale = func(time.Time) error {
			if asked.Add(1) > 1 {
				return errors.New("no proof")
			}
			return nil
		}
	})
	resp, err := s.Client().Get(s.URL + stream)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil || !strings.Contains(body.String(), "cannot reach its store") {
		t.Errorf("%v %s", err, body.String())
	}
}
