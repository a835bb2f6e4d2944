package identity_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/internal/jose"
	"gatehouse.dev/gatehouse/test/env"
)

// TestDiscovery verifies a token as a stranger does: by what the discovery
// documents say, and by another library.
func TestDiscovery(t *testing.T) {
	w := start(t, nil, "--service-account-issuer=https://tokens.example.org", "--external-hostname=gatehouse.example.org:443")
	w.account("default", "app")
	token := w.token("default", "app", "", "")

	const configuration, keys = "/.well-known/openid-configuration", "/openid/v1/jwks"
	for _, path := range []string{configuration, keys} {
		if a := w.as(credential{}).ask("GET", path, nil); a.code != 403 {
			t.Errorf("anonymous GET %s: %d, want 403", path, a.code)
		}
		if a := w.admin.ask("POST", path, nil); a.code != 405 && a.code != 404 {
			t.Errorf("POST %s: %d", path, a.code)
		}
	}
	app := w.as(credential{token: token})
	a := app.ask("GET", configuration, nil)
	const want = `{"issuer":"https://tokens.example.org","jwks_uri":"https://gatehouse.example.org:443/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}`
	if a.code != 200 || a.body != want || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("configuration: %d, %v, %s", a.code, a.header, a.body)
	}
	a = app.ask("GET", keys, nil)
	if a.code != 200 || a.header.Get("Content-Type") != "application/jwk-set+json" || a.header.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("keys: %d, %v", a.code, a.header)
	}
	set, passed, err := jose.ParseSet([]byte(a.body))
	if err != nil || len(passed) > 0 || len(set) != 1 {
		t.Fatalf("key set %s: %v, %v", a.body, passed, err)
	}
	if _, err := jwt.Parse(token, func(read *jwt.Token) (any, error) {
		if read.Header["kid"] != set[0].ID {
			t.Errorf("the token's header is %v, the key %s", read.Header, set[0].ID)
		}
		return set[0].Public, nil
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer("https://tokens.example.org")); err != nil {
		t.Errorf("a stranger refuses the token: %v", err)
	}
	var index struct{ Paths []string }
	if err := json.Unmarshal([]byte(w.admin.ask("GET", "/", nil).body), &index); err != nil ||
		!slices.Contains(index.Paths, configuration) || !slices.Contains(index.Paths, keys) {
		t.Errorf("the index has not the documents: %v, %v", index.Paths, err)
	}
}

// TestNoDiscovery says that an issuer that nobody could find has no documents.
func TestNoDiscovery(t *testing.T) {
	w := start(t, nil, "--service-account-issuer=gatehouse")
	if a := w.admin.ask("GET", "/openid/v1/jwks", nil); a.code != 404 {
		t.Errorf("key set of an issuer that is no URL: %d", a.code)
	}
}

// TestLegacyTokenUse says that the use of a token in a Secret is written down
// and counted, and that one marked invalid is refused.
func TestLegacyTokenUse(t *testing.T) {
	w := start(t, map[string]string{"policy.yaml": everything}, "--audit-policy-file=DIR/policy.yaml", "--audit-log-path=DIR/audit.log")
	w.account("default", "app")
	app := w.as(credential{token: w.legacyToken("default", "old", "app")})
	if a := app.ask("GET", "/api", nil); a.code != 200 {
		t.Fatalf("GET /api: %d", a.code)
	}
	var secret corev1.Secret
	env.Eventually(w.t, "writing down the use", func() bool {
		w.admin.must("GET", inNamespace("default", "secrets/old"), nil, &secret)
		return secret.Labels["kubernetes.io/legacy-token-last-used"] == time.Now().UTC().Format("2006-01-02")
	})
	metrics := w.admin.ask("GET", "/metrics", nil).body
	for _, name := range []string{"serviceaccount_legacy_tokens_total", "serviceaccount_legacy_manual_token_uses_total"} {
		if !strings.Contains(metrics, "\n"+name+" ") || strings.Contains(metrics, "\n"+name+" 0\n") {
			t.Errorf("%s does not count the use", name)
		}
	}
	env.Eventually(w.t, "beginning to track", func() bool {
		return w.admin.ask("GET", inNamespace("kube-system", "configmaps/kube-apiserver-legacy-service-account-token-tracking"), nil).code == 200
	})
	w.admin.must("PATCH", inNamespace("default", "secrets/old"), `{"metadata":{"labels":{"kubernetes.io/legacy-token-invalid-since":"2020-01-01"}}}`, nil)
	if a := app.ask("GET", "/api", nil); a.code != 401 {
		t.Errorf("a token that is marked invalid: %d, want 401", a.code)
	}
	env.Eventually(w.t, "the audit event of the refusal", func() bool {
		return strings.Contains(env.Read(w.t, w.file("audit.log")), `"authentication.k8s.io/legacy-token-invalidated":"old/default"`)
	})
}
