package api

import (
	"runtime"
	"runtime/debug"

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
