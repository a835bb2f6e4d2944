package outcall_test

import (
	"errors"
	"net/url"
	"path/filepath"
	"testing"

	"gatehouse.dev/gatehouse/internal/outcall"
)

// FuzzReadTarget reads any text as a kubeconfig. What is accepted is an address
// that can be called with TLS or on this machine, and only files below its own
// folder, or named by a whole path, are asked for.
func FuzzReadTarget(f *testing.F) {
	f.Add("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: https://a.example}}]\nusers: [{name: u, user: {token: t}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
	f.Add("clusters: [{name: c, cluster: {server: https://a.example:1/b, certificate-authority: ca.crt}}]\nusers: [{name: u, user: {tokenFile: t, client-certificate: a, client-key: b}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
	f.Add("clusters: [{name: c, cluster: {server: https://a.example, insecure-skip-tls-verify: true}}]\nusers: [{name: u, user: {username: a, password: b}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
	f.Add("{}")
	f.Add("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]")
	f.Fuzz(func(t *testing.T, text string) {
		target, err := outcall.ReadTarget("/etc/k8s/hook.kubeconfig", []byte(text), func(path string) ([]byte, error) {
			if !filepath.IsAbs(path) {
				t.Errorf("asks for %q", path)
			}
			return nil, errors.New("no such file")
		})
		if err != nil {
			return
		}
		if u, err := url.Parse(target.URL()); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			t.Errorf("accepted with the address %q, %v", target.URL(), err)
		}
	})
}
