package conformance_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/oidc"
)

// serve lets a provider answer on a port with TLS, and returns the file with
// its certificate.
func serve(t *testing.T) (p *oidc.Provider, caFile string) {
	t.Helper()
	p = oidc.New(t, "")
	server := httptest.NewTLSServer(p)
	t.Cleanup(server.Close)
	p.Lock()
	p.Issuer = server.URL
	p.Unlock()
	caFile = filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p, caFile
}

// whoami returns the user that a server takes the bearer of token for, or the
// status of its refusal.
func whoami(t *testing.T, s *env.Server, token string) string {
	t.Helper()
	client := &http.Client{
		Timeout: 30 * time.Second,
		// Who the server is, is not what is tested here.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	req, err := http.NewRequest(http.MethodPost, s.Address+"/apis/authentication.k8s.io/v1/selfsubjectreviews",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusCreated {
		if bytes.Contains(body, []byte(token)) {
			t.Error("the answer repeats the token")
		}
		return res.Status
	}
	var review struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	if err := json.Unmarshal(body, &review); err != nil {
		t.Fatal(err)
	}
	return review.Status.UserInfo.Username + " " + strings.Join(review.Status.UserInfo.Groups, ",")
}

// becomes repeats ask until it answers want.
func becomes(t *testing.T, want string, ask func() string) {
	t.Helper()
	var got string
	for range 300 {
		if got = ask(); got == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("got %s, want %s", got, want)
}

func TestOpenIDConnect(t *testing.T) {
	p, caFile := serve(t)
	s := env.Start(t, "--oidc-issuer-url", p.Issuer, "--oidc-client-id", "kubernetes", "--oidc-ca-file", caFile,
		"--oidc-username-prefix", "o:", "--oidc-groups-claim", "groups", "--oidc-groups-prefix", "g:", "--oidc-signing-algs", "ES256")
	good := p.Token(t, "kubernetes", map[string]any{"groups": []string{"dev"}})
	becomes(t, "o:jane g:dev,system:authenticated", func() string { return whoami(t, s, good) })
	for name, bad := range map[string]string{
		"another audience": p.Token(t, "other", nil),
		"expired":          p.Token(t, "kubernetes", map[string]any{"exp": 1}),
		"another key":      oidc.New(t, p.Issuer).Token(t, "kubernetes", nil),
		"another issuer":   p.Token(t, "kubernetes", map[string]any{"iss": "https://other.example.org"}),
	} {
		if got := whoami(t, s, bad); got != "401 Unauthorized" {
			t.Errorf("%s: %s", name, got)
		}
		if strings.Contains(s.Log(), bad[strings.LastIndexByte(bad, '.'):]) {
			t.Errorf("%s: the log holds the token", name)
		}
	}
	// A key that is new works at once.
	p.Lock()
	p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256"))
	p.Unlock()
	if got := whoami(t, s, p.Token(t, "kubernetes", nil)); got != "o:jane system:authenticated" {
		t.Errorf("a token of a new key: %s", got)
	}
}

func TestAuthenticationConfigurationIsFollowed(t *testing.T) {
	p, caFile := serve(t)
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	configuration := func(prefix string) []byte {
		text, err := json.Marshal(map[string]any{
			"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
			"jwt": []any{map[string]any{
				"issuer":        map[string]any{"url": p.Issuer, "audiences": []string{"kubernetes"}, "certificateAuthority": string(ca)},
				"claimMappings": map[string]any{"username": map[string]any{"expression": "'" + prefix + "' + claims.sub"}},
			}},
			"anonymous": map[string]any{"enabled": true, "conditions": []any{map[string]any{"path": "/livez"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	path := filepath.Join(t.TempDir(), "authentication.json")
	write := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(configuration("a:"))
	s := env.Start(t, "--authentication-config", path)
	token := p.Token(t, "kubernetes", nil)
	becomes(t, "a:jane system:authenticated", func() string { return whoami(t, s, token) })
	write([]byte("nonsense"))
	write(configuration("b:"))
	becomes(t, "b:jane system:authenticated", func() string { return whoami(t, s, token) })
	write([]byte(`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration"}`))
	time.Sleep(time.Second)
	// It would change what anonymous may do, so it is refused.
	if got := whoami(t, s, token); got != "b:jane system:authenticated" {
		t.Errorf("after a file that is refused: %s", got)
	}
}
