package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/health"
)

// endpoints are the paths of a server that are not the API's. Nearly every
// request is for the API, and costs one look-up here: the first segment of its
// path is no endpoint's.
type endpoints struct {
	mux   *http.ServeMux
	first map[string]bool
}

func newEndpoints() *endpoints {
	return &endpoints{mux: http.NewServeMux(), first: map[string]bool{}}
}

// handle adds an endpoint. The pattern is one of http.ServeMux without a host.
func (e *endpoints) handle(pattern string, h http.Handler) {
	e.mux.Handle(pattern, h)
	path := strings.TrimSuffix(pattern[strings.Index(pattern, "/"):], "{$}")
	e.first[firstSegment(path)] = true
}

// handleHealth adds the endpoints of health, and returns their paths.
func (e *endpoints) handleHealth(all []*health.Endpoint) []string {
	var paths []string
	for _, each := range all {
		e.handle(each.Path, each)
		e.handle(each.Path+"/", each)
		paths = append(paths, each.Path)
		for _, c := range each.Checks {
			paths = append(paths, each.Path+"/"+c.Name)
		}
	}
	return paths
}

// handleIndex adds the list of what can be asked for, which kube-apiserver has
// at these two paths (k8s.io/apiserver pkg/server/routes/index.go).
func (e *endpoints) handleIndex(paths ...string) error {
	slices.Sort(paths)
	text, err := json.MarshalIndent(metav1.RootPaths{Paths: slices.Compact(paths)}, "", "  ")
	if err != nil {
		return err
	}
	index := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(text) // fails only if the caller is gone
	})
	e.handle("/{$}", index)
	e.handle("/index.html", index)
	return nil
}

// serves reports whether a request is for one of the endpoints.
func (e *endpoints) serves(r *http.Request) bool {
	if !e.first[firstSegment(r.URL.Path)] || r.URL.Path == "" || strings.HasPrefix(r.URL.Path, "//") {
		return false // no endpoint, or what the mux would send elsewhere
	}
	_, pattern := e.mux.Handler(r)
	return pattern != ""
}

// firstSegment returns what is between the first slash and the second.
func firstSegment(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return name
}
