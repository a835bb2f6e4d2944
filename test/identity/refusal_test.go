package identity_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/test/authority"
)

// unauthorized is every 401 of kube-apiserver.
const unauthorized = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}` + "\n"

// expect401 holds an answer to upstream's 401, byte by byte.
func expect401(t *testing.T, a answer) {
	t.Helper()
	if a.code != http.StatusUnauthorized || a.body != unauthorized {
		t.Errorf("answered %d %q, want 401", a.code, a.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-cache, private", "WWW-Authenticate": "Bearer",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.header.Get("Audit-Id") == "" {
		t.Error("no Audit-Id")
	}
}

// ownKey is the key that a server without key files signs tokens with.
func (w *world) ownKey() *ecdsa.PrivateKey {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.DataDir, "service-account.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		w.t.Fatal("the key is not PEM")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// A credential that is expired, foreign, tampered with or unknown is refused,
// and never makes an anonymous caller of its owner: those may read /version.
func TestUnauthorized(t *testing.T) {
	ca, foreign := authority.New(t, "clients"), authority.New(t, "clients")
	w := start(t, map[string]string{"ca.pem": ca.PEM(), "tokens.csv": "joes-t0ken,joe,uid-7,\"dev,ops\"\n"},
		"--enable-bootstrap-token-auth")
	w.namespace("x")
	w.account("x", "sa")
	good, legacy := w.token("x", "sa", "", ""), w.legacyToken("x", "legacy", "sa")
	jane := pkix.Name{CommonName: "jane"}

	key := w.ownKey()
	header := map[string]any{"alg": "ES256", "kid": keyID(t, key)}
	forge := func(k *ecdsa.PrivateKey, header map[string]any, change func(map[string]any)) string {
		c := claims(t, good)
		change(c)
		return sign(t, k, header, c)
	}
	w.bootstrapToken("abcdef", "0123456789abcdef")
	nothing := func(map[string]any) {}
	hour := int64(time.Hour / time.Second)
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	parts := strings.Split(good, ".")
	legacyParts := strings.Split(legacy, ".")

	// That the forger knows his trade is seen by a token that is accepted.
	if _, a := w.as(credential{token: forge(key, header, nothing)}).whoami(); a.code != http.StatusCreated {
		t.Fatalf("a token with the server's key: %d %s", a.code, a.body)
	}
	tests := []struct {
		name string
		credential
		// METHOD KIND: WHAT of the last refusal in its explanation; "" where that
		// depends on whether the token cleaner was there first.
		why string
	}{
		{"expired certificate", credential{cert: ca.Sign(t, jane, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, "X509 expired: not after"},
		{"certificate of tomorrow", credential{cert: ca.Sign(t, jane, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Minute) })}, "X509 not-yet-valid: not before"},
		{"certificate of a foreign CA of the same name", credential{cert: foreign.Sign(t, jane, nil)}, "X509 untrusted: issuer"},
		{"certificate for servers", credential{cert: ca.Sign(t, jane, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, "X509 unsuitable: extended key usage"},
		{"certificate without a name", credential{cert: ca.Sign(t, pkix.Name{Organization: []string{"system:masters"}}, nil)}, "X509 nobody: common name (CN)"},
		{"certificate with two UIDs", credential{cert: ca.Sign(t, pkix.Name{CommonName: "eve", ExtraNames: []pkix.AttributeTypeAndValue{kubernetesUID("a"), kubernetesUID("b")}}, nil)}, "X509 malformed: UID"},

		{"unknown token", credential{token: "nobodys-t0ken"}, "Bearer unknown: "},
		{"longer token", credential{token: "joes-t0kenx"}, "Bearer unknown: "},
		{"shorter token", credential{token: "joes-t0ke"}, "Bearer unknown: "},
		{"token in another case", credential{token: "JOES-T0KEN"}, "Bearer unknown: "},

		{"expired token", credential{token: forge(key, header, func(c map[string]any) {
			now := time.Now().Unix()
			c["iat"], c["nbf"], c["exp"] = now-2*hour, now-2*hour, now-hour
		})}, "ServiceAccount expired: expiry (exp)"},
		{"token of tomorrow", credential{token: forge(key, header, set("nbf", time.Now().Unix()+hour))}, "ServiceAccount not-yet-valid: not before (nbf)"},
		{"token of a foreign key", credential{token: forge(authority.NewKey(t), header, nothing)}, "ServiceAccount bad-proof: signature"},
		{"token of a foreign key without kid", credential{token: forge(authority.NewKey(t), map[string]any{"alg": "ES256"}, nothing)}, "ServiceAccount bad-proof: signature"},
		{"token of another issuer", credential{token: forge(key, header, set("iss", "https://elsewhere.example.org"))}, "Bearer unknown: "},
		{"token for another audience", credential{token: forge(key, header, set("aud", []string{"elsewhere"}))}, "ServiceAccount audience: audience (aud)"},
		{"token of no account", credential{token: forge(key, header, set("kubernetes.io", map[string]any{
			"namespace": "x", "serviceaccount": map[string]any{"name": "other", "uid": "u"},
		}))}, "ServiceAccount revoked: serviceaccounts x/other"},
		{"token without signature", credential{token: parts[0] + "." + parts[1] + "."}, "Bearer unknown: "},
		{"token with alg none", credential{token: strings.TrimRight(forge(key, map[string]any{"alg": "none"}, nothing), "=")}, "Bearer unknown: "},
		{"tampered payload", credential{token: parts[0] + "." + flip(parts[1]) + "." + parts[2]}, "Bearer unknown: "},
		{"tampered header", credential{token: flip(parts[0]) + "." + parts[1] + "." + parts[2]}, "Bearer unknown: "},
		{"tampered signature", credential{token: parts[0] + "." + parts[1] + "." + flip(parts[2])}, "ServiceAccount bad-proof: signature"},
		{"payload of another token", credential{token: parts[0] + "." + legacyParts[1] + "." + parts[2]}, "LegacyServiceAccount bad-proof: signature"},
		{"tampered legacy token", credential{token: legacyParts[0] + "." + legacyParts[1] + "." + flip(legacyParts[2])}, "LegacyServiceAccount bad-proof: signature"},
		{"bootstrap token of no Secret", credential{token: "nobody.0123456789abcdef"}, "Bearer unknown: "},
		{"bootstrap token of another secret", credential{token: "abcdef.0123456789abcdee"}, "BootstrapToken bad-proof: token-secret"},
		{"bootstrap token in another case", credential{token: "ABCDEF.0123456789ABCDEF"}, "Bearer unknown: "},
		{"bootstrap token that has expired", credential{token: w.badBootstrapToken("expire", "expiration", "2006-01-02T15:04:05Z")}, ""},
		{"bootstrap token that only signs", credential{token: w.badBootstrapToken("signer", "usage-bootstrap-authentication", "no")}, "BootstrapToken unsuitable: usage-bootstrap-authentication"},
		{"bootstrap token of a master", credential{token: w.badBootstrapToken("master", "auth-extra-groups", "system:masters")}, "BootstrapToken unsuitable: auth-extra-groups"},
		{"bad certificate and bad token", credential{cert: foreign.Sign(t, jane, nil), token: "nobodys-t0ken"}, "Bearer unknown: "},
	}
	for name, value := range map[string][]string{
		"no header value": {""}, "scheme alone": {"Bearer"}, "scheme and space": {"Bearer "}, "two spaces": {"Bearer  joes-t0ken"},
		"tab": {"Bearer\tjoes-t0ken"}, "token alone": {"joes-t0ken"}, "junk": {"Bearer joes-t0ken junk"},
		"basic": {"Basic am9lOnNlY3JldA=="}, "negotiate": {"Negotiate abc"},
		"two headers": {"Bearer joes-t0ken", "Bearer joes-t0ken"}, "huge": {"Bearer " + strings.Repeat("x", 64<<10)},
	} {
		tests = append(tests, struct {
			name string
			credential
			why string
		}{name, credential{header: http.Header{"Authorization": value}}, "Bearer malformed: "})
	}
	// First all once, because only so many of one peer are kept.
	for _, tt := range tests {
		a := w.as(tt.credential).ask("GET", "/version", nil)
		w.wantExplained(tt.name, a.header.Get("Gatehouse-Request-Id"), tt.why)
		if tt.token != "" && tt.cert == nil {
			_, id, _ := strings.Cut(w.admin.review(tt.token).Error, "gatehouse explain ")
			w.wantExplained("TokenReview: "+tt.name, strings.TrimSuffix(id, ")"), tt.why)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, http1 := range []bool{false, true} {
				c := tt.credential
				c.http1 = http1
				who := w.as(c)
				for range 2 {
					expect401(t, who.ask("GET", "/version", nil))
				}
			}
			if tt.token == "" {
				return
			}
			if got := w.admin.review(tt.token); got.Authenticated || got.User.Username != "" || got.Error == "" || strings.Contains(got.Error, tt.token) {
				t.Errorf("TokenReview: %+v", got)
			}
		})
	}
}

// wantExplained wants a refusal to be explained by its true cause: what the last
// authenticator that refused it has compared last.
func (w *world) wantExplained(name, id, want string) {
	w.t.Helper()
	var found explain.Explanation
	w.admin.must("GET", "/apis/gatehouse.dev/v1alpha1/explanations/"+id, nil, &found)
	if len(found.Status.Requests) != 1 {
		w.t.Errorf("%s: the ID %q finds %+v", name, id, found.Status)
		return
	}
	got := "nothing"
	for _, rung := range found.Status.Requests[0].Ladder {
		if rung.Found != string(authn.Refused) {
			continue
		}
		got = rung.Method + " " + rung.Kind + ": "
		if i := len(rung.Checks) - 1; i >= 0 {
			got += rung.Checks[i].What
		}
		if rung.Reason == "" || rung.Mend == "" {
			w.t.Errorf("%s: nothing says why, or what would mend it: %+v", name, rung)
		}
	}
	if got != want && (want != "" || got == "nothing") {
		w.t.Errorf("%s is explained by %q, want %q", name, got, want)
	}
}

// flip changes one character in the middle.
func flip(s string) string {
	i, c := len(s)/2, byte('A')
	if s[i] == c {
		c = 'B'
	}
	return s[:i] + string(c) + s[i+1:]
}

// Who shows several credentials is who the first good one says.
func TestPrecedence(t *testing.T) {
	ca, foreign := authority.New(t, "clients"), authority.New(t, "others")
	w := start(t, map[string]string{"ca.pem": ca.PEM(), "tokens.csv": "joes-t0ken,joe,uid-7\n"})
	jane, bad := ca.Sign(t, pkix.Name{CommonName: "jane"}, nil), foreign.Sign(t, pkix.Name{CommonName: "jane"}, nil)
	old := ca.Sign(t, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	for _, tt := range []struct {
		name string
		credential
		want string // "" if refused
	}{
		{"certificate and token", credential{cert: jane, token: "joes-t0ken"}, "jane"},
		{"certificate and bad token", credential{cert: jane, token: "nobodys-t0ken"}, "jane"},
		{"foreign certificate and token", credential{cert: bad, token: "joes-t0ken"}, "joe"},
		{"expired certificate and token", credential{cert: old, token: "joes-t0ken"}, "joe"},
		{"expired certificate and bad token", credential{cert: old, token: "nobodys-t0ken"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, a := w.as(tt.credential).whoami()
			if tt.want == "" {
				expect401(t, a)
			} else if got.Username != tt.want {
				t.Errorf("is %q (%d), want %s", got.Username, a.code, tt.want)
			}
		})
	}
}

// Headers of authenticating proxies make nobody of anybody, however they are
// written, and who asks to be somebody else without leave is never served as
// himself.
func TestIdentityHeaders(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7\n"})
	for _, name := range []string{
		"X-Remote-User", "x-remote-user", "X_Remote_User", "x_remote_user", "X-Remote_User", "X-REMOTE-GROUP", "X_Remote_Group",
		"X-Remote-Uid", "X-Remote-Extra-Scopes", "x_remote_extra_scopes",
	} {
		for _, http1 := range []bool{false, true} {
			header := http.Header{name: {"system:admin", "system:masters"}, "Connection": {}}
			if got, a := w.as(credential{token: "joes-t0ken", header: header, http1: http1}).whoami(); got.Username != "joe" || len(got.Groups) != 1 || got.Extra != nil {
				t.Errorf("%s with a token: %d %+v", name, a.code, got)
			}
			a := w.as(credential{header: header, http1: http1}).ask("GET", "/api/v1/secrets", nil)
			if a.code != http.StatusForbidden || !strings.Contains(a.body, `User \"system:anonymous\" cannot list`) {
				t.Errorf("%s alone: %d %s", name, a.code, a.body)
			}
		}
	}
	for name, want := range map[string]int{
		"Impersonate-User": http.StatusForbidden, "impersonate-user": http.StatusForbidden,
		"Impersonate_User": http.StatusBadRequest, "IMPERSONATE-GROUP": http.StatusBadRequest, "impersonate_group": http.StatusBadRequest,
		"Impersonate-Uid": http.StatusBadRequest, "Impersonate-Extra-Scopes": http.StatusBadRequest, "Impersonate-Role": http.StatusBadRequest,
	} {
		for _, http1 := range []bool{false, true} {
			who := w.as(credential{token: "joes-t0ken", header: http.Header{name: {"system:admin"}}, http1: http1})
			if a := who.ask("GET", "/version", nil); a.code != want {
				t.Errorf("%s: %d %s, want %d", name, a.code, a.body, want)
			}
		}
	}
}

// A known caller without the right to it, and an unknown one, hear the words of
// kube-apiserver, to the byte.
func TestForbidden(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7,dev\nodds-t0ken,\"<b>&\"\"x\",uid-8\n"})
	who := map[string]*caller{"joe": w.as(credential{token: "joes-t0ken"}), "odd": w.as(credential{token: "odds-t0ken"}), "nobody": w.as(credential{})}
	status := func(message, details string) string {
		return `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"` + message + `","reason":"Forbidden","details":` + details + `,"code":403}` + "\n"
	}
	for _, tt := range []struct{ name, who, method, path, want string }{
		{"in a namespace", "joe", "GET", "/api/v1/namespaces/x/secrets",
			status(`secrets is forbidden: User \"joe\" cannot list resource \"secrets\" in API group \"\" in the namespace \"x\"`, `{"kind":"secrets"}`)},
		{"one object", "joe", "DELETE", "/api/v1/namespaces/x/secrets/s",
			status(`secrets \"s\" is forbidden: User \"joe\" cannot delete resource \"secrets\" in API group \"\" in the namespace \"x\"`, `{"name":"s","kind":"secrets"}`)},
		{"subresource", "joe", "POST", "/api/v1/namespaces/x/serviceaccounts/sa/token",
			status(`serviceaccounts \"sa\" is forbidden: User \"joe\" cannot create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"x\"`, `{"name":"sa","kind":"serviceaccounts"}`)},
		{"cluster scope", "joe", "GET", "/api/v1/nodes",
			status(`nodes is forbidden: User \"joe\" cannot list resource \"nodes\" in API group \"\" at the cluster scope`, `{"kind":"nodes"}`)},
		{"group", "joe", "PATCH", rbac + "clusterroles/admin",
			status(`clusterroles.rbac.authorization.k8s.io \"admin\" is forbidden: User \"joe\" cannot patch resource \"clusterroles\" in API group \"rbac.authorization.k8s.io\" at the cluster scope`, `{"name":"admin","group":"rbac.authorization.k8s.io","kind":"clusterroles"}`)},
		{"watch", "joe", "GET", "/api/v1/namespaces/x/pods?watch=1",
			status(`pods is forbidden: User \"joe\" cannot watch resource \"pods\" in API group \"\" in the namespace \"x\"`, `{"kind":"pods"}`)},
		{"path", "joe", "GET", "/metrics",
			status(`forbidden: User \"joe\" cannot get path \"/metrics\"`, `{}`)},
		{"what is not there", "joe", "GET", "/apis/no/v1/nothings",
			status(`nothings.no is forbidden: User \"joe\" cannot list resource \"nothings\" in API group \"no\" at the cluster scope`, `{"group":"no","kind":"nothings"}`)},
		{"nobody", "nobody", "GET", "/api/v1/pods",
			status(`pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope`, `{"kind":"pods"}`)},
		{"nobody asks who it is", "nobody", "POST", selfReviews,
			status(`selfsubjectreviews.authentication.k8s.io is forbidden: User \"system:anonymous\" cannot create resource \"selfsubjectreviews\" in API group \"authentication.k8s.io\" at the cluster scope`, `{"group":"authentication.k8s.io","kind":"selfsubjectreviews"}`)},
		{"odd name", "odd", "GET", "/api/v1/nodes",
			status(`nodes is forbidden: User \"\u0026lt;b\u0026gt;\u0026amp;\\\"x\" cannot list resource \"nodes\" in API group \"\" at the cluster scope`, `{"kind":"nodes"}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := who[tt.who].ask(tt.method, tt.path, nil)
			if a.code != http.StatusForbidden || a.body != tt.want {
				t.Errorf("answered %d %s\nwant %s", a.code, a.body, tt.want)
			}
			if a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("headers %v", a.header)
			}
		})
	}
}

// Over HTTP/2 a stranger gets a connection for each request, and whoever is
// known keeps theirs.
func TestStrangersConnections(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7\n"})
	const requests = 10
	for _, tt := range []struct {
		name string
		credential
		keeps bool
	}{
		{"known", credential{token: "joes-t0ken"}, true},
		{"known over HTTP/1.1", credential{token: "joes-t0ken", http1: true}, true},
		{"stranger over HTTP/1.1", credential{http1: true}, true},
		{"stranger", credential{}, false},
		{"refused", credential{token: "nobodys-t0ken"}, false},
		{"refused over HTTP/1.1", credential{token: "nobodys-t0ken", http1: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who := w.as(tt.credential)
			for range requests {
				who.ask("GET", "/version", nil)
			}
			// A request may be under way before the farewell of the one before.
			if n := int(who.dials.Load()); tt.keeps && n != 1 || !tt.keeps && n <= requests/2 {
				t.Errorf("%d connections for %d requests", n, requests)
			}
		})
	}
}

// Where nobody is admitted without a credential, that holds for every path.
func TestAnonymousOff(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7\n"}, "--anonymous-auth=false")
	for _, path := range []string{"/livez", "/readyz", "/healthz", "/version", "/", "/api/v1/pods", "/openid/v1/jwks"} {
		expect401(t, w.as(credential{}).ask("GET", path, nil))
	}
	if a := w.as(credential{token: "joes-t0ken"}).ask("GET", "/livez", nil); a.code != http.StatusOK {
		t.Errorf("with a token: %d %s", a.code, a.body)
	}
}
