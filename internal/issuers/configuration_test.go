package issuers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/issuers"
)

// document is a configuration with one issuer, of which parts are replaced.
func document(replace ...string) string {
	text := `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://issuer.example.org
    audiences: [gatehouse]
  claimMappings:
    username: {claim: sub, prefix: "o:"}
`
	return strings.NewReplacer(replace...).Replace(text)
}

func with(lines string) string { return document() + lines }

func TestParse(t *testing.T) {
	issuer := func(n int) string {
		return fmt.Sprintf("\n- issuer: {url: 'https://%d.example.org', audiences: [a]}\n  claimMappings: {username: {claim: sub, prefix: ''}}", n)
	}
	many := func(n int) string {
		text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:"
		for i := range n {
			text += issuer(i)
		}
		return text
	}
	const username = `username: {claim: sub, prefix: "o:"}`
	tests := []struct{ name, text, want string }{
		{"plain", document(), ""},
		{"v1beta1", document("k8s.io/v1", "k8s.io/v1beta1"), ""},
		{"v1alpha1", document("k8s.io/v1", "k8s.io/v1alpha1"), ""},
		{"JSON", `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration"}`, ""},
		{"no issuer", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: []", ""},
		{"64 issuers", many(64), ""},
		{"discovery URL", document("audiences:", "discoveryURL: https://a/d\n    audiences:"), ""},
		{"audiences", document("[gatehouse]", "[a, b]\n    audienceMatchPolicy: MatchAny"), ""},
		{"expression", document(username, `username: {expression: 'claims.sub + "@x"'}`), ""},
		{"verified address", document(username, `username: {expression: 'claims.email_verified ? claims.email : ""'}`), ""},
		{"rules", with("  claimValidationRules: [{claim: hd, requiredValue: x}, {expression: 'claims.a == 1', message: odd}]\n" +
			"  userValidationRules: [{expression: \"!user.username.startsWith('system:')\"}]"), ""},
		{"anonymous", with("anonymous: {enabled: true, conditions: [{path: /healthz}]}"), ""},

		{"empty", "", "is empty"},
		{"no kind", "jwt: []", "Object 'Kind' is missing"},
		{"another kind", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []", "expected AuthenticationConfiguration"},
		{"unknown version", document("k8s.io/v1", "k8s.io/v2"), "no kind"},
		{"unknown field", document("prefix:", "prefx:"), `unknown field "jwt[0].claimMappings.username.prefx"`},
		{"field twice", with("jwt: []"), "already"},
		{"not YAML", "a: [", "yaml"},
		{"too long", document() + strings.Repeat("#", 1<<20), "1 MiB"},
		{"65 issuers", many(65), "jwt: Too many"},
		{"one issuer twice", many(1) + issuer(0), "jwt[1].issuer.url: Duplicate value"},
		{"without TLS", document("https:", "http:"), "jwt[0].issuer.url: Invalid value"},
		{"password", document("issuer.example", "u:p@issuer.example"), "must not contain a username or password"},
		{"query", document("example.org", "example.org?a=b"), "must not contain a query"},
		{"of the server itself", document("issuer.example.org", "own.example.org"), "disallowed issuers"},
		{"no audience", document("[gatehouse]", "[]"), "jwt[0].issuer.audiences: Required"},
		{"audiences without policy", document("[gatehouse]", "[a, b]"), "audienceMatchPolicy must be MatchAny"},
		{"discovery URL as the issuer", document("audiences:", "discoveryURL: https://issuer.example.org/\n    audiences:"), "discoveryURL must be different"},
		{"bad CA", document("audiences:", "certificateAuthority: x\n    audiences:"), "jwt[0].issuer.certificateAuthority"},
		{"egress selector", document("audiences:", "egressSelectorType: cluster\n    audiences:"), "jwt[0].issuer.egressSelectorType: Forbidden"},
		{"no user name", document(username, "groups: {claim: g, prefix: ''}"), "jwt[0].claimMappings.username: Required"},
		{"no prefix", document(username, "username: {claim: sub}"), "jwt[0].claimMappings.username.prefix: Required"},
		{"claim and expression", document(username, "username: {claim: sub, prefix: '', expression: claims.sub}"), "jwt[0].claimMappings.username"},
		{"bad expression", document(username, "username: {expression: 'claims.'}"), "compilation failed"},
		{"other variable", document(username, "username: {expression: 'user.username'}"), "undeclared reference"},
		{"unverified address", document(username, "username: {expression: claims.email}"), "email_verified"},
		{"rule that is no verdict", with("  userValidationRules: [{expression: user.username}]"), "must evaluate to bool"},
		{"rule twice", with("  claimValidationRules: [{expression: 'true'}, {expression: 'true'}]"), "Duplicate value"},
		{"reserved extra", document(username, username+"\n    extra: [{key: a.kubernetes.io/b, valueExpression: claims.sub}]"), "kubernetes.io"},
		{"anonymous conditions for nobody", with("anonymous: {enabled: false, conditions: [{path: /a}]}"), "anonymous.conditions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := issuers.Parse([]byte(tt.text), []string{"https://own.example.org"})
			switch {
			case err == nil && tt.want != "":
				t.Errorf("accepted, want %q", tt.want)
			case err != nil && tt.want == "":
				t.Errorf("refused: %v", err)
			case err != nil && !strings.Contains(err.Error(), tt.want):
				t.Errorf("refused: %v, want %q", err, tt.want)
			}
		})
	}
}

// All that is wrong is told at once.
func TestParseTellsAll(t *testing.T) {
	_, err := issuers.Parse([]byte(document("https:", "http:", "[gatehouse]", "[]", "claim: sub", "claim: ''")), nil)
	problems, ok := err.(issuers.Problems)
	if !ok || len(problems) != 3 {
		t.Errorf("got %T %v, want three problems", err, err)
	}
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authentication.yaml")
	if err := os.WriteFile(path, []byte(with("anonymous: {enabled: true, conditions: [{path: /livez}]}")), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := issuers.Check(issuers.Config{Path: path})
	if err != nil || a == nil || !a.Enabled || len(a.Paths) != 1 {
		t.Errorf("got %v, %v", a, err)
	}
	good := issuers.Flags{IssuerURL: "https://a", ClientID: "b", UsernameClaim: "sub", SigningAlgs: []string{"EdDSA"}, RequiredClaims: []string{"a=b=c"}}
	tests := []struct {
		name   string
		change func(*issuers.Config, *issuers.Flags)
		want   string
	}{
		{"flags", func(*issuers.Config, *issuers.Flags) {}, ""},
		{"reserved name", func(c *issuers.Config, _ *issuers.Flags) { c.Reserved = []string{"https://a system:b c"} }, ""},
		{"claim source", func(c *issuers.Config, _ *issuers.Flags) { c.ClaimSources = []string{"https://a:8443"} }, ""},
		{"no TLS", func(_ *issuers.Config, f *issuers.Flags) { f.IssuerURL = "http://a" }, "must be https"},
		{"no client", func(_ *issuers.Config, f *issuers.Flags) { f.ClientID = "" }, "audiences[0]: Required"},
		{"own issuer", func(c *issuers.Config, _ *issuers.Flags) { c.Own = []string{"https://a"} }, "disallowed"},
		{"none", func(_ *issuers.Config, f *issuers.Flags) { f.SigningAlgs = []string{"none"} }, "unsupported signing alg"},
		{"symmetric", func(_ *issuers.Config, f *issuers.Flags) { f.SigningAlgs = []string{"HS256"} }, "unsupported signing alg"},
		{"missing CA", func(_ *issuers.Config, f *issuers.Flags) { f.CAFile = path + "x" }, "no such file"},
		{"CA that is none", func(_ *issuers.Config, f *issuers.Flags) { f.CAFile = path }, "no certificate in PEM form"},
		{"required claim without value", func(_ *issuers.Config, f *issuers.Flags) { f.RequiredClaims = []string{"a"} }, "CLAIM=VALUE"},
		{"name that is not reserved", func(c *issuers.Config, _ *issuers.Flags) { c.Reserved = []string{"https://a admin"} }, "not of the form"},
		{"name without issuer", func(c *issuers.Config, _ *issuers.Flags) { c.Reserved = []string{"system:a"} }, "not of the form"},
		{"claim source with a path", func(c *issuers.Config, _ *issuers.Flags) { c.ClaimSources = []string{"https://a/b"} }, "no origin"},
		{"claim source without TLS", func(c *issuers.Config, _ *issuers.Flags) { c.ClaimSources = []string{"http://a"} }, "no origin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			flags, cfg := good, issuers.Config{}
			cfg.Flags = &flags
			tt.change(&cfg, &flags)
			_, err := issuers.Check(cfg)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document()))
	f.Add([]byte(with("anonymous: {enabled: true}")))
	f.Add([]byte(document(`{claim: sub, prefix: "o:"}`, `{expression: 'claims.sub.split("@")[0]'}`)))
	f.Add([]byte(`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := issuers.Parse(text, nil)
		if (doc == nil) == (err == nil) {
			t.Errorf("got %v and %v", doc, err)
		}
	})
}
