package env_test

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// TestServer kills a server that has acknowledged a write, and finds the write
// when it is started again.
func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	s := env.Start(t)
	if u, err := url.Parse(s.Address); err != nil || u.Scheme != "https" || u.Port() == "" {
		t.Errorf("address is %q, want an https URL with a port", s.Address)
	}
	if got, want := s.CAFingerprint, fingerprint(t, filepath.Join(s.DataDir, "ca.crt")); got != want {
		t.Errorf("fingerprint is %s, want %s", got, want)
	}
	kubectl(t, s, "create", "configmap", "kept", "--from-literal=a=b")

	s.Kill()
	before := s.Address
	s.Restart()
	if s.Address != before {
		t.Errorf("address is %s, was %s", s.Address, before)
	}
	if got := kubectl(t, s, "get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		t.Errorf("what was stored is %q, want b", got)
	}

	s.Restart()
	if got := kubectl(t, s, "get", "configmap", "kept", "-o", "name"); got != "configmap/kept" {
		t.Errorf("got %q after a stop", got)
	}
	if strings.Count(s.Log(), `"stopped;`) != 1 {
		t.Errorf("the log does not tell of one stop:\n%s", s.Log())
	}
}

func kubectl(t *testing.T, s *env.Server, args ...string) string {
	t.Helper()
	cmd := exec.Command(tools.Kubectl(t, "1.37"), append([]string{"--kubeconfig", s.Kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("running kubectl %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// fingerprint is written as openssl does: openssl x509 -fingerprint -sha256
func fingerprint(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM block", path)
	}
	sum := sha256.Sum256(block.Bytes)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}
