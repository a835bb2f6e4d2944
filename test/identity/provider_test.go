package identity_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"testing"

	"gatehouse.dev/gatehouse/test/oidc"
)

// A provider is somebody else's OpenID Connect provider.
type provider struct {
	t *testing.T
	*oidc.Provider
	server *httptest.Server
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, Provider: oidc.New(t, "")}
	p.server = httptest.NewTLSServer(p)
	t.Cleanup(p.server.Close)
	p.Issuer = p.server.URL
	return p
}

// configuration is an AuthenticationConfiguration that trusts the issuer, and
// puts prefix before the names that it gives.
func (p *provider) configuration(prefix string) string {
	p.t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer":        map[string]any{"url": p.Issuer, "audiences": []string{"gatehouse"}, "certificateAuthority": p.ca()},
			"claimMappings": map[string]any{"username": map[string]any{"claim": "sub", "prefix": prefix}},
		}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// ca is the certificate that the issuer shows, as a PEM text.
func (p *provider) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}))
}

// token is one of the issuer's, for the user sub.
func (p *provider) token(sub string) string {
	return p.Token(p.t, "gatehouse", map[string]any{"sub": sub})
}
