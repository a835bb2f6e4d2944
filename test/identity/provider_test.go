package identity_test

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A provider is somebody else's OpenID Connect provider.
type provider struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	server *httptest.Server
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	i := &provider{t: t, key: newKey(t)}
	mux := http.NewServeMux()
	i.server = httptest.NewTLSServer(mux)
	t.Cleanup(i.server.Close)
	say := func(path string, what any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(what) })
	}
	raw, err := i.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := func(n int) string { return base64.RawURLEncoding.EncodeToString(raw[1+32*n:][:32]) }
	say("/.well-known/openid-configuration", map[string]any{"issuer": i.server.URL, "jwks_uri": i.server.URL + "/keys"})
	say("/keys", map[string]any{"keys": []map[string]string{
		{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k", "x": half(0), "y": half(1)},
	}})
	return i
}

// configuration is an AuthenticationConfiguration that trusts the issuer, and
// puts prefix before the names that it gives.
func (i *provider) configuration(prefix string) string {
	i.t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer":        map[string]any{"url": i.server.URL, "audiences": []string{"gatehouse"}, "certificateAuthority": string(ca)},
			"claimMappings": map[string]any{"username": map[string]any{"claim": "sub", "prefix": prefix}},
		}},
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// token is one of the issuer's, for the user sub.
func (i *provider) token(sub string) string {
	i.t.Helper()
	now := time.Now().Unix()
	return sign(i.t, i.key, map[string]any{"alg": "ES256", "kid": "k", "typ": "JWT"},
		map[string]any{"iss": i.server.URL, "aud": "gatehouse", "sub": sub, "iat": now, "nbf": now, "exp": now + 3600})
}
