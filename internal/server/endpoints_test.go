package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestEndpoints(t *testing.T) {
	e := newEndpoints()
	for _, pattern := range []string{"/livez", "/livez/", "GET /metrics", "POST /gatehouse/snapshot"} {
		e.handle(pattern, http.NotFoundHandler())
	}
	if err := e.handleIndex("/livez"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method, path string
		want         bool
	}{
		{"GET", "/livez", true},
		{"GET", "/livez/", true},
		{"GET", "/livez/ping", true},
		{"GET", "/livezz", false},
		{"GET", "/", true},
		{"GET", "/index.html", true},
		{"GET", "//", false},
		{"GET", "//livez", false},
		{"GET", "/index.html/x", false},
		{"GET", "", false},
		{"GET", "/metrics", true},
		{"POST", "/metrics", false},
		{"GET", "/metrics/x", false},
		{"POST", "/gatehouse/snapshot", true},
		{"GET", "/gatehouse/snapshot", false},
		{"POST", "/gatehouse", false},
		{"GET", "/api/v1/livez", false},
		{"GET", "/version", false},
		// Whoever was authorized for this path was not for the other.
		{"GET", "/x/../livez", false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, "/", nil)
		r.URL.Path = tt.path
		if got := e.serves(r); got != tt.want {
			t.Errorf("%s %s: %v, want %v", tt.method, tt.path, got, tt.want)
		}
	}
}
