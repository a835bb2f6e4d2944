package outcall_test

import (
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/outcall"

	"gatehouse.dev/gatehouse/test/vectors"
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

// Every text of the JSON test suite where a kubeconfig has extensions. They may
// be anything of YAML, which is more than JSON, and change nothing.
func TestKubeconfigsReadJSON(t *testing.T) {
	const kubeconfig = `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"https://a.example"}}],"users":[{"name":"u","user":{"token":"t"}}],` +
		`"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x","extensions":[{"name":"e","extension":%}]}`
	read := 0
	for name, text := range vectors.JSON(t).Parsing {
		target, err := outcall.ReadTarget("/etc/k8s/hook.kubeconfig", []byte(strings.Replace(kubeconfig, "%", string(text), 1)), nil)
		if err == nil && target.URL() != "https://a.example/" {
			t.Errorf("%s: %.100q gives the address %s", name, text, target.URL())
		}
		if err == nil {
			read++
		}
	}
	if read < 80 {
		t.Errorf("%d kubeconfigs were read", read)
	}
}
