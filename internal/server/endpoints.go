package server

import (
	"net/http"
	"strings"
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
	e.first[firstSegment(pattern[strings.Index(pattern, "/"):])] = true
}

// serves reports whether a request is for one of the endpoints.
func (e *endpoints) serves(r *http.Request) bool {
	if !e.first[firstSegment(r.URL.Path)] {
		return false
	}
	_, pattern := e.mux.Handler(r)
	return pattern != ""
}

// firstSegment returns what is between the first slash and the second.
func firstSegment(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return name
}
