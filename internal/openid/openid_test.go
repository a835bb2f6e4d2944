package openid_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/openid"
)

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name, issuer, keys string
		want               string // the refusal, if any
	}{
		{"host", "https://api.example.org", "", ""},
		{"path", "https://api.example.org/clusters/one", "", ""},
		{"port", "https://api.example.org:6443", "", ""},
		{"keys elsewhere", "https://api.example.org", "https://keys.example.org/jwks?v=1", ""},
		{"no URL", "gatehouse", "", "must use https scheme"},
		{"plain", "http://api.example.org", "", "must use https scheme"},
		{"other scheme", "urn:gatehouse", "", "must use https scheme"},
		{"not parsed", "https://api.example.org:x", "", "must use https scheme"},
		{"query", "https://api.example.org?a=b", "", "may not include a query"},
		{"fragment", "https://api.example.org#a", "", "may not include a fragment"},
		{"empty", "", "", "must use https scheme"},
		{"plain keys", "https://api.example.org", "http://keys.example.org", "key set must be an https URL"},
		{"keys without host", "https://api.example.org", "https:///keys", "key set must be an https URL"},
		{"keys not parsed", "https://api.example.org", "https://%zz", "key set must be an https URL"},
	} {
		_, err := openid.New(tt.issuer, tt.keys, "https://10.0.0.1:6443", nil)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestDocuments wants the bytes and headers of a kube-apiserver.
func TestDocuments(t *testing.T) {
	keys, err := openid.Keys{Set: []byte(`{"keys":[]}`), Algorithms: []string{"ES256", "RS256"}, MaxAge: openid.MaxAge}, error(nil)
	issuer, err2 := openid.New("https://api.example.org", "", "https://10.0.0.1:6443", func() (openid.Keys, error) { return keys, err })
	if err2 != nil {
		t.Fatal(err2)
	}
	ask := func(h http.HandlerFunc) (int, string, string, string) {
		w := httptest.NewRecorder()
		h(w, httptest.NewRequest("GET", "/", nil))
		return w.Code, w.Header().Get("Content-Type"), w.Header().Get("Cache-Control"), w.Body.String()
	}
	code, kind, cache, body := ask(issuer.ServeConfiguration)
	const want = `{"issuer":"https://api.example.org","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256","RS256"]}`
	if code != 200 || kind != "application/json" || cache != "public, max-age=3600" || body != want {
		t.Errorf("configuration: %d, %q, %q, %s", code, kind, cache, body)
	}
	keys.MaxAge = 90*time.Second + 900*time.Millisecond
	code, kind, cache, body = ask(issuer.ServeKeys)
	if code != 200 || kind != "application/jwk-set+json" || cache != "public, max-age=90" || body != `{"keys":[]}` {
		t.Errorf("keys: %d, %q, %q, %s", code, kind, cache, body)
	}
	keys.MaxAge = -time.Second
	if _, _, cache, _ = ask(issuer.ServeKeys); cache != "public, max-age=0" {
		t.Errorf("keys that are old: %q", cache)
	}
	err = errors.New("secret reason")
	for _, h := range []http.HandlerFunc{issuer.ServeConfiguration, issuer.ServeKeys} {
		code, _, cache, body = ask(h)
		if code != 503 || cache != "" || strings.Contains(body, "secret") {
			t.Errorf("without keys: %d, %q, %s", code, cache, body)
		}
	}
}
