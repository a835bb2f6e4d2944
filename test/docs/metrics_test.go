package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// A metric is a row of docs/metrics.md.
type metric struct {
	kind string
	// later says that it appears with the first thing that it counts.
	later bool
}

// TestMetrics compares docs/metrics.md with the metrics of a server that has
// done a little of everything: each is in the page, with its type, and what is
// in the page is there.
func TestMetrics(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	page := metricsOfPage(t)
	server := metricsOfServer(t)
	for name, kind := range server {
		row, ok := page[family(name)]
		switch {
		case !ok:
			t.Errorf("docs/metrics.md does not explain %s", name)
		case row.kind != "" && row.kind != kind:
			t.Errorf("docs/metrics.md says that %s is a %s, and it is a %s", name, row.kind, kind)
		}
	}
	seen := map[string]bool{}
	for name := range server {
		seen[family(name)] = true
	}
	for name, row := range page {
		if !row.later && !seen[name] {
			t.Errorf("docs/metrics.md explains %s, which the server does not show", name)
		}
	}
}

// family is the name that stands for many in the page, or the name itself.
func family(name string) string {
	for _, many := range []string{"go_", "process_"} {
		if strings.HasPrefix(name, many) {
			return many + "..."
		}
	}
	return name
}

func metricsOfPage(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tools.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]metric{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)`( \\*)? \\| ([a-z]*)").FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = metric{kind: m[3], later: m[2] != ""}
	}
	if len(out) < 10 {
		t.Fatalf("found %d metrics, so the page was not read", len(out))
	}
	return out
}

// nobodysIssuer is an AuthenticationConfiguration with an issuer that never
// answers.
const nobodysIssuer = `{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{
	"issuer": {"url": "https://127.0.0.1:1", "audiences": ["a"]}, "claimMappings": {"username": {"claim": "sub", "prefix": ""}}}]}`

// metricsOfServer returns the types of the metrics of a busy server by name.
func metricsOfServer(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := env.Start(t, "--audit-log-path", filepath.Join(dir, "audit.log"),
		"--audit-policy-file", file("policy.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"),
		"--authentication-config", file("authentication.yaml", nobodysIssuer))
	kubectl := tools.Kubectl(t, "1.37")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(kubectl, args...)
		cmd.Env = []string{"KUBECONFIG=" + s.Kubeconfig, "HOME=" + dir}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("create", "secret", "generic", "busy", "--from-literal=a=b")
	run("get", "secret", "busy")
	run("delete", "secret", "busy", "--wait=true")
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(run("get", "--raw", "/metrics"), -1) {
		out[m[1]] = m[2]
	}
	return out
}
