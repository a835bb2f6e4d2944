package identity_test

import (
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/tools"
)

// explained is how a refusal has to be explained.
type explained struct {
	name string
	credential
	code int
	// method is of the rung that names the cause, and check is what is wrong
	// there, as "WHAT: GOT, want WANT".
	method, check string
	// denied are what the caller may not do, each as the text form has it: any of
	// them would have done.
	denied []string
	text   []string // all of them in the text form
	// command has the command asked, too, which takes a while to start.
	command bool
}

// What the other tables refuse, and what only a server as a whole can refuse, is
// explained to the operator by its true cause: asked for by the audit ID, through
// the API and by the command.
func TestExplained(t *testing.T) {
	w, issuers := startExplained(t)
	proxies, strangers := issuers.proxies, authority.New(t, "proxies")
	claim := http.Header{"X-Remote-User": {"jane"}}
	front := func(name string, header http.Header) credential {
		return credential{cert: proxies.Sign(t, pkix.Name{CommonName: name}, nil), header: header}
	}
	acting := func(header ...string) credential {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Add(header[i], header[i+1])
		}
		return credential{token: "joes-t0ken", header: h}
	}
	claims := func(with map[string]any) credential {
		all := map[string]any{"sub": "jo", "team": "a", "groups": []string{"dev"}, "site": "y", "hd": "example.org"}
		for name, value := range with {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
		return credential{token: issuers.good.Token(t, "gatehouse", all)}
	}
	const served, rule = "one of [\"/livez\"]", "claims.hd == 'example.org'"
	for _, tt := range []explained{
		{name: "proxy of another CA", credential: credential{cert: strangers.Sign(t, pkix.Name{CommonName: "front"}, nil), header: claim}, code: 401,
			method: "FrontProxy", check: "issuer: CN=proxies (key ID", text: []string{"proxies.pem", "put its CA into that file"}},
		{name: "proxy of another name", credential: front("back", claim), code: 401,
			method: "FrontProxy", check: `common name (CN): back, want one of ["front"]`, text: []string{"--requestheader-allowed-names"}, command: true},
		{name: "proxy that names two", credential: front("front", http.Header{"X-Remote-User": {"jane", "root"}}), code: 401,
			method: "FrontProxy", check: "headers: X-Remote-User is given 2 times", text: []string{"set each of its headers once"}},
		{name: "headers without a certificate", credential: credential{header: claim}, code: 401,
			method: "FrontProxy", check: "client certificate: none, want one of a CA in ", text: []string{"the header X-Remote-User does not count", "proxies.pem"}},

		{name: "impersonation without permission", credential: acting("Impersonate-User", "jim"), code: 403,
			denied: []string{"impersonate-on:user-info:list nodes in the whole cluster", "impersonate users jim in the whole cluster"},
			text:   []string{"would allow it but for the resourceName"}, command: true},
		{name: "impersonation of a group, by the old model", credential: acting("Impersonate-User", "jane", "Impersonate-Group", "dev"), code: 403,
			denied: []string{"impersonate-on:user-info:list nodes in the whole cluster", "impersonate groups dev in the whole cluster"}},
		{name: "impersonation of a user, by the constrained model", credential: credential{token: "anns-t0ken", header: http.Header{"Impersonate-User": {"jim"}}}, code: 403,
			denied: []string{"impersonate:user-info users.authentication.k8s.io jim in the whole cluster", "impersonate users jim in the whole cluster"},
			text:   []string{"would allow it but for the resourceName"}},
		{name: "impersonation of the masters", credential: credential{token: "anns-t0ken", header: http.Header{"Impersonate-User": {"jane"}, "Impersonate-Group": {"system:masters"}}}, code: 403,
			denied: []string{"impersonate:user-info groups.authentication.k8s.io system:masters in the whole cluster", "impersonate users jane in the whole cluster"},
			text:   []string{"impersonating the system:masters group is not allowed"}},
		{name: "impersonation of a service account", credential: acting("Impersonate-User", "system:serviceaccount:x:sa"), code: 403,
			denied: []string{"impersonate-on:serviceaccount:list nodes in the whole cluster", "impersonate serviceaccounts sa in namespace x"}},
		{name: "impersonated, who may not", credential: acting("Impersonate-User", "jane"), code: 403,
			denied: []string{"list nodes in the whole cluster"}, text: []string{"the caller is jane", "impersonated by  joe"}},
		{name: "unknown header of impersonation", credential: acting("Impersonate-User", "jane", "Impersonate-Role", "admin"), code: 400,
			method: "Impersonation", check: `header Impersonate-Role: one that is not known, want one of ["Impersonate-User"`, text: []string{"the caller is joe"}, command: true},
		{name: "impersonation of nobody", credential: acting("Impersonate-Group", "dev"), code: 400,
			method: "Impersonation", check: "header Impersonate-User: no value, want the name of a user"},

		{name: "claim rule", credential: claims(map[string]any{"hd": "elsewhere.org"}), code: 401, method: "JWT",
			check: "validation rule (only of example.org): false, want " + rule, text: []string{`claims.hd `, `"elsewhere.org"`, "change claimMappings and the validation rules"}},
		{name: "claim rule without its claim", credential: claims(map[string]any{"hd": nil}), code: 401, method: "JWT",
			check: "claim validation rule: expression '" + rule + "' resulted in error: no such key: hd, want " + rule, text: []string{"claims.hd ", "absent"}},
		{name: "user rule", credential: claims(map[string]any{"team": "root"}), code: 401, method: "JWT",
			check: "validation rule (no root): false, want !user.username.startsWith('root:')", text: []string{"user.username ", "root:jo"}},
		{name: "mapping without its claim", credential: claims(map[string]any{"team": nil}), code: 401, method: "JWT",
			check: "claimMappings.username: error evaluating username claim expression: ", text: []string{"no such key: team", "claims.team ", "absent", "want claims.team + ':' + claims.sub"}},
		{name: "mapping of another type", credential: claims(map[string]any{"groups": 7}), code: 401, method: "JWT",
			check: "claimMappings.groups: error evaluating group claim expression: ", text: []string{"claims.groups ", "want claims.groups"}},
		{name: "mapping of extra", credential: claims(map[string]any{"site": nil}), code: 401, method: "JWT",
			check: "claimMappings.extra: expression 'claims.site' resulted in error: no such key: site, want claims.site", text: []string{"claims.site ", "absent"}},
		{name: "reserved name", credential: claims(map[string]any{"team": "system"}), code: 401, method: "JWT",
			check: `claims: the user name "system:jo" is reserved`, text: []string{"--jwt-reserved-name"}},

		{name: "issuer that is down", credential: credential{token: issuers.silent.token("jo")}, code: 401, method: "JWT",
			check: "keys of the issuer: there are no keys of " + issuers.silent.Issuer, text: []string{"/.well-known/openid-configuration answered 503", "correct its url"}},
		{name: "issuer with other things than keys", credential: credential{token: issuers.garbled.token("jo")}, code: 401, method: "JWT",
			check: "keys of the issuer: there are no keys of " + issuers.garbled.Issuer, text: []string{"no JSON web key set"}},
		{name: "issuer that calls itself another", credential: credential{token: issuers.other.token("jo")}, code: 401, method: "JWT",
			check: "keys of the issuer: there are no keys of " + issuers.other.Issuer, text: []string{`it is about the issuer "https://elsewhere.example.org"`}},

		{name: "nobody, elsewhere", code: 401, method: "Anonymous", check: "path: /api/v1/nodes, want " + served, text: []string{"anonymous.conditions"}},
	} {
		t.Run(tt.name, func(t *testing.T) { w.checkExplained(t, &tt) })
	}
}

// checkExplained sends the request, and asks why it was refused.
func (w *world) checkExplained(t *testing.T, tt *explained) {
	a := w.as(tt.credential).ask("GET", "/api/v1/nodes", nil)
	if a.code != tt.code || a.header.Get("Gatehouse-Request-Id") == "" {
		t.Fatalf("answered %d with the ID %q: %s", a.code, a.header.Get("Gatehouse-Request-Id"), a.body)
	}
	var found explain.Explanation
	answer := w.admin.ask("GET", "/apis/gatehouse.dev/v1alpha1/explanations/"+a.header.Get("Audit-Id"), nil)
	if err := json.Unmarshal([]byte(answer.body), &found); err != nil || len(found.Status.Requests) != 1 {
		t.Fatalf("explained by %d %s", answer.code, answer.body)
	}
	r := found.Status.Requests[0]
	if r.Code != tt.code || r.ID != a.header.Get("Gatehouse-Request-Id") {
		t.Errorf("it is about %s with %d", r.ID, r.Code)
	}
	if tt.method != "" {
		checkRung(t, r.Ladder, tt)
	}
	var denied []string
	if r.Authorization != nil {
		denied = append(denied, r.Authorization.Asked.String())
		for _, other := range r.Authorization.Instead {
			denied = append(denied, other.Asked.String())
		}
	}
	if got, want := strings.Join(denied, "\n"), strings.Join(tt.denied, "\n"); got != want {
		t.Errorf("denied:\n%s\nwant:\n%s", got, want)
	}
	var text strings.Builder
	if err := new(explain.Page).Write(&text, &found); err != nil {
		t.Fatal(err)
	}
	for _, want := range append(append([]string{r.ID}, tt.denied...), tt.text...) {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text says nothing of %q:\n%s", want, &text)
		}
	}
	if tt.command {
		said, err := exec.Command(tools.Gatehouse(t), "explain", a.header.Get("Audit-Id"), "--kubeconfig", w.Kubeconfig).Output()
		if err != nil || string(said) != text.String() {
			t.Errorf("the command says %s (%v), want %s", said, err, &text)
		}
	}
	for _, told := range []string{answer.body, text.String()} {
		if tt.token != "" && (strings.Contains(told, tt.token) || strings.Contains(told, tt.token[strings.LastIndexByte(tt.token, '.')+1:])) {
			t.Error("the explanation has the token")
		}
	}
}

// checkRung wants the cause on the rung of its method, with what would mend it.
func checkRung(t *testing.T, ladder []explain.Rung, tt *explained) {
	for _, rung := range ladder {
		if rung.Method != tt.method || len(rung.Checks) == 0 {
			continue
		}
		last := rung.Checks[len(rung.Checks)-1]
		got := last.What + ": " + last.Got
		if last.Want != "" {
			got += ", want " + last.Want
		}
		if last.OK || !strings.HasPrefix(got, tt.check) || rung.Reason == "" || rung.Mend == "" {
			t.Errorf("%s says %q, want %q (mend %q)", rung.Method, got, tt.check, rung.Mend)
		}
		return
	}
	t.Errorf("no rung of %s compares anything: %+v", tt.method, ladder)
}

// explainedIssuers are who vouches for whom in TestExplained.
type explainedIssuers struct {
	proxies                      *authority.Authority
	good, silent, garbled, other *provider
}

// startExplained starts a server that has something to refuse of every kind.
func startExplained(t *testing.T) (*world, *explainedIssuers) {
	x := &explainedIssuers{authority.New(t, "proxies"), newProvider(t), newProvider(t), newProvider(t), newProvider(t)}
	x.silent.Down = true
	says := func(path, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, path) {
				return false
			}
			_, _ = rw.Write([]byte(text))
			return true
		}
	}
	x.garbled.Answer = says("/keys", "<html>")
	x.other.Answer = says("/openid-configuration", `{"issuer":"https://elsewhere.example.org","jwks_uri":"https://elsewhere.example.org/keys"}`)
	w := start(t, map[string]string{
		"proxies.pem": x.proxies.PEM(), "ca.pem": authority.New(t, "clients").PEM(),
		"tokens.csv": "joes-t0ken,joe,uid-7\nanns-t0ken,ann,uid-8\n", "issuers.yaml": x.configuration(t),
	}, append([]string{"--authentication-config=DIR/issuers.yaml"}, proxied...)...)
	role := func(name, user string, rules ...map[string]any) {
		w.admin.must("POST", rbac+"clusterroles", map[string]any{"metadata": map[string]any{"name": name}, "rules": rules}, nil)
		w.admin.must("POST", rbac+"clusterrolebindings", map[string]any{
			"metadata": map[string]any{"name": name}, "roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
			"subjects": []any{map[string]any{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}},
		}, nil)
	}
	rule := func(group, resource, verb string, names ...string) map[string]any {
		return map[string]any{"apiGroups": []string{group}, "resources": []string{resource}, "verbs": []string{verb}, "resourceNames": names}
	}
	role("old", "joe", rule("", "users", "impersonate", "jane"))
	role("constrained", "ann", rule("authentication.k8s.io", "users", "impersonate:user-info", "jane"), rule("", "nodes", "impersonate-on:user-info:list"))
	return w, x
}

// configuration is an AuthenticationConfiguration with all of them, of which the
// good one has rules of every kind, and one path for everybody.
func (x *explainedIssuers) configuration(t *testing.T) string {
	entry := func(p *provider, mappings, more map[string]any) map[string]any {
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
		one := map[string]any{
			"issuer":        map[string]any{"url": p.Issuer, "audiences": []string{"gatehouse"}, "certificateAuthority": string(ca)},
			"claimMappings": mappings,
		}
		for name, value := range more {
			one[name] = value
		}
		return one
	}
	plain := map[string]any{"username": map[string]any{"claim": "sub", "prefix": "x:"}}
	good := entry(x.good, map[string]any{
		"username": map[string]any{"expression": "claims.team + ':' + claims.sub"},
		"groups":   map[string]any{"expression": "claims.groups"},
		"extra":    []any{map[string]any{"key": "example.org/site", "valueExpression": "claims.site"}},
	}, map[string]any{
		"claimValidationRules": []any{map[string]any{"expression": "claims.hd == 'example.org'", "message": "only of example.org"}},
		"userValidationRules":  []any{map[string]any{"expression": "!user.username.startsWith('root:')", "message": "no root"}},
	})
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"anonymous": map[string]any{"enabled": true, "conditions": []any{map[string]any{"path": "/livez"}}},
		"jwt":       []any{good, entry(x.silent, plain, nil), entry(x.garbled, plain, nil), entry(x.other, plain, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
