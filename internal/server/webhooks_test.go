package server_test

import (
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

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/server"
)

// A hook is a webhook with TLS. It says that the token user-NAME is of NAME, has
// too much to do for busy-..., and does not answer about hang-... before release is
// closed.
type hook struct {
	server  *httptest.Server
	dir     string
	release chan struct{}
	hanging chan string // gets the token of each call that hangs

	mu    sync.Mutex
	asked map[string]int
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{dir: t.TempDir(), release: make(chan struct{}), hanging: make(chan string, 10_000), asked: map[string]int{}}
	ca, err := pki.OpenAuthority(h.dir, "ca", "hook")
	if err != nil {
		t.Fatal(err)
	}
	serving, err := pki.OpenServing(ca, h.dir, "serving", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewUnstartedServer(h)
	h.server.TLS = &tls.Config{Certificates: []tls.Certificate{*serving.Certificate()}}
	h.server.EnableHTTP2 = true
	h.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.server.StartTLS()
	t.Cleanup(h.server.Close)
	return h
}

// kubeconfig writes the file that leads to the webhook at path.
func (h *hook) kubeconfig(t *testing.T, path string) string {
	t.Helper()
	file := filepath.Join(h.dir, "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it}}],
		clusters: [{name: it, cluster: {server: %q, certificate-authority: ca.crt}}]}`, h.server.URL+path)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	token := review.Spec.Token
	h.mu.Lock()
	h.asked[token]++
	h.mu.Unlock()
	if strings.HasPrefix(token, "busy") {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if strings.HasPrefix(token, "hang") {
		h.hanging <- token
		select {
		case <-h.release:
		case <-r.Context().Done():
		}
	}
	if name, ok := strings.CutPrefix(token, "user-"); ok {
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: strings.TrimPrefix(r.URL.Path, "/") + name}}
	}
	_ = json.NewEncoder(w).Encode(review)
}

// whoAmI asks the server by what name it knows the sender of a token.
func whoAmI(t *testing.T, s *server.Server, token string) (code int, name string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", strings.NewReader(`{}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r.WithContext(authn.WithConn(r.Context(), &authn.Conn{Peer: netip.MustParseAddr("192.0.2.1")})))
	var review authenticationv1.SelfSubjectReview
	_ = json.Unmarshal(w.Body.Bytes(), &review) // a refusal has no name
	return w.Code, review.Status.UserInfo.Username
}

func withHook(t *testing.T, h *hook) *config.Configuration {
	t.Helper()
	cfg := configure(t.TempDir())
	tokens := filepath.Join(h.dir, "tokens.csv")
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "static-%d,static,1\n", i)
	}
	if err := os.WriteFile(tokens, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Authentication.TokenFile = tokens
	cfg.Authentication.Webhook.ConfigFile = h.kubeconfig(t, "/")
	if err := cfg.Validate(); err != nil && !strings.Contains(err.Error(), "port") {
		t.Fatal(err)
	}
	return cfg
}

func TestTokenWebhook(t *testing.T) {
	h := newHook(t)
	s, _ := serve(t, withHook(t, h))
	for _, test := range []struct {
		token string
		code  int
		name  string
	}{
		{"user-jane", 201, "jane"},
		{"user-jane", 201, "jane"},
		{"static-1", 201, "static"},
		{"user-system:masters", 401, ""},
		{"user-", 401, ""},
		{"unknown", 401, ""},
		{"unknown", 401, ""},
	} {
		if code, name := whoAmI(t, s, test.token); code != test.code || name != test.name {
			t.Errorf("%s: %d %q, want %d %q", test.token, code, name, test.code, test.name)
		}
	}
	h.mu.Lock()
	for token, n := range h.asked {
		if n != 1 || strings.HasPrefix(token, "static") {
			t.Errorf("the webhook was asked %d times about %q", n, token)
		}
	}
	h.mu.Unlock()
	// Another webhook takes effect, and what the first has said is forgotten.
	h.kubeconfig(t, "/other-")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if code, name := whoAmI(t, s, "user-jane"); code != 201 || name == "other-jane" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a changed kubeconfig does not take effect")
		}
	}
	// One that is bad does not.
	if err := os.WriteFile(filepath.Join(h.dir, "kubeconfig"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, name := whoAmI(t, s, "user-jane"); code != 201 || name != "other-jane" {
		t.Errorf("%d %q while the file is bad", code, name)
	}
}

// What a webhook has no time for, nobody has looked at. It is asked on about other
// tokens.
func TestBusyTokenWebhook(t *testing.T) {
	h := newHook(t)
	s, _ := serve(t, withHook(t, h))
	var work sync.WaitGroup
	for i := range 10 {
		work.Go(func() {
			if code, _ := whoAmI(t, s, fmt.Sprintf("busy-%d", i)); code != 503 {
				t.Errorf("busy-%d: %d", i, code)
			}
		})
	}
	work.Wait()
	if code, name := whoAmI(t, s, "user-jane"); code != 201 || name != "jane" {
		t.Errorf("another token: %d %q", code, name)
	}
}

// TestHangingTokenWebhook fills the webhook with calls that hang, and has every
// one of 100 static tokens come in meanwhile, at first sight.
func TestHangingTokenWebhook(t *testing.T) {
	h := newHook(t)
	s, _ := serve(t, withHook(t, h))
	var work sync.WaitGroup
	for i := range 1000 {
		work.Go(func() {
			if code, _ := whoAmI(t, s, fmt.Sprintf("hang-%d", i)); code != 401 {
				t.Errorf("hang-%d: %d", i, code)
			}
		})
	}
	for range outcall.MaxCalls {
		<-h.hanging
	}
	for i := range 100 {
		if code, name := whoAmI(t, s, fmt.Sprintf("static-%d", i)); code != 201 || name != "static" {
			t.Errorf("static-%d: %d %q", i, code, name)
		}
	}
	h.mu.Lock()
	if len(h.asked) != outcall.MaxCalls {
		t.Errorf("the webhook is asked about %d tokens at a time, want %d", len(h.asked), outcall.MaxCalls)
	}
	h.mu.Unlock()
	close(h.release)
	work.Wait()
	for token, n := range h.asked {
		if n != 1 {
			t.Errorf("the webhook was asked %d times about %s", n, token)
		}
	}
}

// TestAuthorizationConfig has a webhook that allows jane what no role does, and
// then one that denies her everything.
func TestAuthorizationConfig(t *testing.T) {
	h := newHook(t)
	h.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		jane := review.Spec.User == "jane"
		review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: jane && r.URL.Path == "/allow", Denied: jane && r.URL.Path == "/deny", Reason: "the hook says so"}
		_ = json.NewEncoder(w).Encode(review)
	})
	kubeconfig := h.kubeconfig(t, "/allow")
	file := filepath.Join(h.dir, "authorization.yaml")
	text := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: RBAC, name: rbac}
- type: Webhook
  name: hook
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    failurePolicy: NoOpinion
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %q}
`, kubeconfig)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := configure(t.TempDir())
	cfg.Authorization.ConfigFile = file
	cfg.Authentication.TokenFile = filepath.Join(h.dir, "tokens.csv")
	if err := os.WriteFile(cfg.Authentication.TokenFile, []byte("jane,jane,1\njoe,joe,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := serve(t, cfg)
	list := func(token string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/namespaces/default/configmaps", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, body := list("jane"); code != 200 {
		t.Errorf("jane: %d %s", code, body)
	}
	if code, body := list("joe"); code != 403 || !strings.Contains(body, `in the namespace \"default\": hook: the hook says so`) {
		t.Errorf("joe: %d %s", code, body)
	}
	h.kubeconfig(t, "/deny")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		code, body := list("jane")
		if code == 403 && strings.Contains(body, `in the namespace \"default\": the hook says so`) {
			break
		}
		if code != 200 || time.Now().After(deadline) {
			t.Fatalf("jane: %d %s", code, body)
		}
	}
}
