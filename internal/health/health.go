// Package health answers whether the server lives and is ready.
//
// A [Check] that fails makes its endpoint fail. One that only has something to
// say, such as that a file on disk is bad and the last good one stays in force,
// is a [Note]: it is shown with ?verbose and fails nothing, because taking a
// server that works out of service does not mend the file.
//
// The endpoints and their text are those of kube-apiserver (k8s.io/apiserver
// pkg/server/healthz). The reason of a failure is not told to the caller, who
// may be anybody; it is logged.
package health

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// A Check is one condition of health. Names are single path segments.
type Check struct {
	Name string
	// Failing returns what is wrong, or nil.
	Failing func(*http.Request) error
}

// A Note is something an operator should know. Text returns it, or "". It must
// not tell a secret, nor what a stranger should not learn.
type Note struct {
	Name string
	Text func() string
}

// An Endpoint is /livez, /readyz or /healthz.
type Endpoint struct {
	// Path begins with a slash and has no other.
	Path   string
	Checks []Check
	Notes  []Note
	Log    *slog.Logger
}

// ServeHTTP serves the endpoint, and each of its checks below it.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	rest, ok := strings.CutPrefix(r.URL.Path, e.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if name := strings.Trim(rest, "/"); name != "" {
		e.one(w, r, name)
		return
	}
	e.all(w, r)
}

func (e *Endpoint) one(w http.ResponseWriter, r *http.Request, name string) {
	i := slices.IndexFunc(e.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	if err := e.Checks[i].Failing(r); err != nil {
		e.Log.WarnContext(r.Context(), "health check failed", "endpoint", e.Path, "check", name, "err", err)
		http.Error(w, "internal server error: "+name+" failed: reason withheld", http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}

func (e *Endpoint) all(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	excluded := query["exclude"]
	var text bytes.Buffer
	failed := false
	for _, c := range e.Checks {
		if i := slices.Index(excluded, c.Name); i >= 0 {
			excluded = slices.Delete(slices.Clone(excluded), i, i+1)
			fmt.Fprintf(&text, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := c.Failing(r); err != nil {
			failed = true
			e.Log.WarnContext(r.Context(), "health check failed", "endpoint", e.Path, "check", c.Name, "err", err)
			fmt.Fprintf(&text, "[-]%s failed: reason withheld\n", c.Name)
			continue
		}
		fmt.Fprintf(&text, "[+]%s ok\n", c.Name)
	}
	for _, n := range e.Notes {
		if s := n.Text(); s != "" {
			fmt.Fprintf(&text, "[!]%s %s\n", n.Name, s)
		}
	}
	if len(excluded) > 0 {
		fmt.Fprintf(&text, "warn: some health checks cannot be excluded: no matches for %s\n", quoted(excluded))
	}
	name := strings.TrimPrefix(e.Path, "/")
	switch _, verbose := query["verbose"]; {
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", text.Bytes(), name)
	case verbose:
		fmt.Fprintf(w, "%s%s check passed\n", text.Bytes(), name)
	default:
		fmt.Fprint(w, "ok")
	}
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ",")
}
