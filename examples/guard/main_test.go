package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/authority"
)

func TestGuarded(t *testing.T) {
	clients, strangers := authority.New(t, "ca"), authority.New(t, "ca")
	dir := clients.Dir
	rules, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tokens.csv": "joes-t0ken,joe,7\nanns-t0ken,ann,8\n", "rules.yaml": string(rules)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server, err := guarded(t.Context(), dir, http.HandlerFunc(page))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(nil)
	s.Config, s.TLS = server, server.TLSConfig
	s.StartTLS()
	defer s.Close()

	for _, test := range []struct {
		name, path string
		by         *authority.Authority
		groups     []string
		token      string
		status     int
		body       string
	}{
		{"a certificate", "/pages/1", clients, []string{"dev"}, "", 200, "jane sees /pages/1"},
		{"a token", "/pages/1", nil, nil, "joes-t0ken", 200, "joe sees /pages/1"},
		{"a token with a certificate of nobody", "/pages/1", strangers, []string{"dev"}, "joes-t0ken", 200, "joe sees"},
		{"a certificate of no group", "/pages/1", clients, nil, "", 403, `User "jane" cannot get path`},
		{"a token of another", "/pages/1", nil, nil, "anns-t0ken", 403, `User "ann" cannot get path`},
		{"another path", "/", nil, nil, "joes-t0ken", 403, `User "joe" cannot get path "/"`},
		{"another path in disguise", "/pages/%2e%2e/", nil, nil, "joes-t0ken", 400, "simplest form"},
		{"a certificate of another CA", "/pages/1", strangers, []string{"dev"}, "", 401, "Unauthorized"},
		{"an unknown token", "/pages/1", nil, nil, "jacks-t0ken", 401, "Unauthorized"},
		{"nothing", "/pages/1", nil, nil, "", 401, "Unauthorized"},
	} {
		config := &tls.Config{InsecureSkipVerify: true} // the test started it
		if test.by != nil {
			cert, err := tls.LoadX509KeyPair(test.by.Issue(t, "jane", test.groups...))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{cert}
		}
		r, err := http.NewRequest("GET", s.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		res, err := (&http.Transport{TLSClientConfig: config, DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != test.status || !strings.Contains(string(body), test.body) {
			t.Errorf("%s: %d %s, want %d %s", test.name, res.StatusCode, body, test.status, test.body)
		}
	}
}

// Files that say something else than they seem to are refused at the start.
func TestBadFiles(t *testing.T) {
	dir := authority.New(t, "ca").Dir
	for _, step := range []struct{ name, text, want string }{
		{"tokens.csv", "alone\n", "tokens.csv"},
		{"tokens.csv", "joes-t0ken,joe,7\n", "rules.yaml"},
		{"rules.yaml", "kind: Pod\n", "rules.yaml: object 1"},
		{"ca.crt", "no certificate\n", "ca.crt"},
	} {
		if err := os.WriteFile(filepath.Join(dir, step.name), []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := guarded(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), step.want) {
			t.Errorf("%s: %v, want %q", step.name, err, step.want)
		}
	}
}

// TestLight holds the example to what it shows: none of what Gatehouse needs for
// itself comes with it.
func TestLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	has := func(prefix string) bool {
		for _, p := range packages {
			if p == prefix || strings.HasPrefix(p, prefix+"/") {
				return true
			}
		}
		return false
	}
	if !has("gatehouse.dev/gatehouse/authz/rbac") {
		t.Fatal("the list is not that of the example")
	}
	for _, heavy := range []string{
		"go.etcd.io", "go.etcd.io/etcd", "go.etcd.io/bbolt", "github.com/go-jose/go-jose", "k8s.io/apiserver", "k8s.io/client-go", "k8s.io/component-base",
		"github.com/google/cel-go", "github.com/prometheus/client_golang", "google.golang.org/grpc", "google.golang.org/protobuf", "go.uber.org/zap",
		"gatehouse.dev/gatehouse/internal/server", "gatehouse.dev/gatehouse/internal/jose", "gatehouse.dev/gatehouse/internal/etcd",
	} {
		if has(heavy) {
			t.Errorf("the example links %s", heavy)
		}
	}
}
