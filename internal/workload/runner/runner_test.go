//go:build linux

package runner

import (
	"os/user"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestEnvironment(t *testing.T) {
	parent := []string{
		"PATH=/bin", "HOME=/root", "LC_ALL=C", "LANG=de", "TERM=xterm", "TZ=UTC",
		"KUBECONFIG=/root/admin", "KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_PORT=tcp://10.0.0.1",
		"GATEHOUSE_TOKEN=secret", "AWS_SECRET_ACCESS_KEY=secret", "SSH_AUTH_SOCK=/tmp/agent", "REGION=north", "LD_PRELOAD=x.so", "EMPTY=", "bad",
	}
	nobody := &user.User{Username: "nobody", HomeDir: "/nonexistent"}
	base := []string{"PATH=/bin", "HOME=/root", "LC_ALL=C", "LANG=de", "TERM=xterm", "TZ=UTC"}
	for _, tt := range []struct {
		name  string
		given []string
		as    *user.User
		want  []string
		err   string
	}{
		{name: "nothing given", want: base},
		{name: "a value", given: []string{"A=b=c"}, want: append(slices.Clone(base), "A=b=c")},
		{name: "the caller's", given: []string{"REGION"}, want: append(slices.Clone(base), "REGION=north")},
		{name: "the caller's, empty", given: []string{"EMPTY"}, want: append(slices.Clone(base), "EMPTY=")},
		{name: "one the caller has not", given: []string{"NOWHERE"}, want: base},
		{name: "in the place of one", given: []string{"TZ=CET"}, want: append(slices.Clone(base[:5]), "TZ=CET")},
		{name: "twice", given: []string{"A=1", "A=2"}, want: append(slices.Clone(base), "A=2")},
		{name: "another user", as: nobody, want: []string{"PATH=/bin", "HOME=/nonexistent", "LC_ALL=C", "LANG=de", "TERM=xterm", "TZ=UTC",
			"USER=nobody", "LOGNAME=nobody", "SHELL=/bin/sh"}},
		{name: "no name", given: []string{"=x"}, err: "has no name"},
		{name: "empty", given: []string{""}, err: "has no name"},
		{name: "kubeconfig", given: []string{"KUBECONFIG"}, err: "who the process is"},
		{name: "kubeconfig of its own", given: []string{"KUBECONFIG=/tmp/x"}, err: "who the process is"},
		{name: "another server", given: []string{"KUBERNETES_SERVICE_HOST=evil"}, err: "who the process is"},
		{name: "another port", given: []string{"KUBERNETES_SERVICE_PORT=1"}, err: "who the process is"},
		{name: "ours", given: []string{"GATEHOUSE_TOKEN"}, err: "who the process is"},
	} {
		got, err := Environment(parent, tt.given, tt.as)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestReachable(t *testing.T) {
	for _, tt := range []struct {
		config     rest.Config
		host, port string
		err        string
	}{
		{config: rest.Config{Host: "https://10.0.0.1:6443"}, host: "10.0.0.1", port: "6443"},
		{config: rest.Config{Host: "https://[::1]:6443/"}, host: "::1", port: "6443"},
		{config: rest.Config{Host: "https://id.example.org"}, host: "id.example.org", port: "443"},
		{config: rest.Config{Host: "id.example.org:8443"}, host: "id.example.org", port: "8443"},
		{config: rest.Config{Host: "https://a:1", TLSClientConfig: rest.TLSClientConfig{ServerName: "a"}}, host: "a", port: "1"},
		{config: rest.Config{Host: ""}, err: "no URL"},
		{config: rest.Config{Host: "https://:1"}, err: "no URL"},
		{config: rest.Config{Host: "https://a b"}, err: "no URL"},
		{config: rest.Config{Host: "http://a"}, err: "is not https"},
		{config: rest.Config{Host: "https://a/clusters/x"}, err: "has a path"},
		{config: rest.Config{Host: "https://a", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, err: "insecure-skip-tls-verify"},
		{config: rest.Config{Host: "https://10.0.0.1", TLSClientConfig: rest.TLSClientConfig{ServerName: "a"}}, err: "tls-server-name"},
	} {
		host, port, err := reachable(&tt.config)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: error %v, want one with %q", tt.config.Host, err, tt.err)
			}
			continue
		}
		if err != nil || host != tt.host || port != tt.port {
			t.Errorf("%s: %s %s, %v, want %s %s", tt.config.Host, host, port, err, tt.host, tt.port)
		}
	}
}
