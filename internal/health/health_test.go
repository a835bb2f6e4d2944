package health_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/health"
)

func TestEndpoint(t *testing.T) {
	bad := errors.New("secret reason")
	endpoint := &health.Endpoint{
		Path: "/readyz",
		Checks: []health.Check{
			{Name: "ping", Failing: func(*http.Request) error { return nil }},
			{Name: "etcd", Failing: func(*http.Request) error { return bad }},
		},
		Notes: []health.Note{
			{Name: "token-auth-file", Text: func() string { return "serving the last good version" }},
			{Name: "quiet", Text: func() string { return "" }},
		},
		Log: slog.New(slog.DiscardHandler),
	}
	for _, tt := range []struct {
		name, target string
		code         int
		want         []string
		not          []string
	}{
		{"failing", "/readyz", 500, []string{"[+]ping ok", "[-]etcd failed: reason withheld", "readyz check failed"}, []string{"secret"}},
		{"excluded", "/readyz?exclude=etcd", 200, []string{"ok"}, []string{"[+]"}},
		{"excluded verbosely", "/readyz?verbose&exclude=etcd", 200,
			[]string{"[+]etcd excluded: ok", "[!]token-auth-file serving the last good version", "readyz check passed"}, []string{"quiet"}},
		{"unknown exclusion", "/readyz?verbose&exclude=etcd&exclude=x", 200, []string{`no matches for "x"`}, nil},
		{"one good", "/readyz/ping", 200, []string{"ok"}, nil},
		{"one bad", "/readyz/etcd", 500, []string{"reason withheld"}, []string{"secret"}},
		{"one unknown", "/readyz/nothing", 404, nil, nil},
		{"another path", "/livez", 404, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			endpoint.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.target, nil))
			if w.Code != tt.code {
				t.Errorf("code = %d, want %d", w.Code, tt.code)
			}
			for _, s := range tt.want {
				if !strings.Contains(w.Body.String(), s) {
					t.Errorf("body lacks %q:\n%s", s, w.Body)
				}
			}
			for _, s := range tt.not {
				if strings.Contains(w.Body.String(), s) {
					t.Errorf("body has %q:\n%s", s, w.Body)
				}
			}
		})
	}
}
