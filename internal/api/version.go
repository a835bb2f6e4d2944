package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"

	apimachineryversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/component-base/compatibility"
)

// kubernetesVersion is the version of Kubernetes whose API this is.
const kubernetesVersion = "1.37"

// serverVersion reports the version of Kubernetes that clients may expect, with
// our own as build metadata. What a client reads must be a semantic version of
// Kubernetes: kubectl and client libraries parse it and choose by it.
type serverVersion struct {
	compatibility.EffectiveVersion
	info apimachineryversion.Info
}

func (v serverVersion) Info() *apimachineryversion.Info { return &v.info }

func newServerVersion(release string) serverVersion {
	info := apimachineryversion.Info{
		Major: "1", Minor: "37",
		GitVersion:   "v1.37.2+gatehouse-" + release,
		GitTreeState: "clean",
		GoVersion:    runtime.Version(),
		Compiler:     runtime.Compiler,
		Platform:     runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.GitCommit = s.Value
			case "vcs.time":
				info.BuildDate = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					info.GitTreeState = "dirty"
				}
			}
		}
	}
	return serverVersion{compatibility.NewEffectiveVersionFromString(kubernetesVersion, "", ""), info}
}

// answerVersion returns next with GET /version answered before it. Every client
// begins with it, and some that look whether the server is there ask for nothing
// else; the library finds its way to it, and puts it into JSON, each time anew.
// A request that is not just what they send is left to next.
func answerVersion(info *apimachineryversion.Info, next http.Handler) (http.Handler, error) {
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the version: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		usual := r.Method == http.MethodGet && r.URL.Path == "/version" && r.Header.Get("Content-Type") == ""
		if !usual || !takesJSON(r.Header.Get("Accept")) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(text) // fails only if the caller is gone
	}), nil
}

// takesJSON reports whether a caller says that it takes JSON or anything, or
// says nothing.
func takesJSON(accept string) bool {
	if accept == "" {
		return true
	}
	for part := range strings.SplitSeq(accept, ",") {
		name, _, _ := strings.Cut(part, ";")
		if name = strings.TrimSpace(name); name == "application/json" || name == "*/*" {
			return true
		}
	}
	return false
}
