package identity_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// everything is an audit policy that leaves nothing out.
const everything = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"RequestResponse"}]}`

// What proves an identity is nowhere to be read but where it was given: not in
// the log of the most talkative server, not in the fullest audit log, not in
// the metrics, what callers and operators are told of refusals, or the files of
// the store.
func TestSecrecy(t *testing.T) {
	ca := authority.New(t, "clients")
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":false}}`))
	}))
	t.Cleanup(hook.Close) // after the server, which still writes its last events
	dex := newProvider(t)
	w := start(t, map[string]string{
		"ca.pem": ca.PEM(), "policy.yaml": everything, "tokens.csv": "canary-static,joe,uid-7,system:masters\n",
		"users.csv": "canary-password,ann,uid-8\n", "hook.kubeconfig": hookKubeconfig(hook, "canary-webhook"),
		"audit.kubeconfig": hookKubeconfig(hook, "canary-audit-webhook"), "access.kubeconfig": hookKubeconfig(hook, "canary-access-webhook"),
		"hashed": hashedLine("canary-hashed-token-of-128-bits", "ci"), "users": "jane:" + horse + "\n", "issuers.yaml": dex.configuration("dex:"),
	}, "-v=10", "--authentication-token-webhook-config-file=DIR/hook.kubeconfig", "--authentication-token-webhook-version=v1",
		"--audit-webhook-config-file=DIR/audit.kubeconfig", "--basic-auth-file=DIR/users.csv", "--htpasswd-file=DIR/users",
		"--hashed-token-file=DIR/hashed", "--authentication-config=DIR/issuers.yaml", "--authorization-mode=RBAC,Webhook",
		"--authorization-webhook-config-file=DIR/access.kubeconfig", "--authorization-webhook-version=v1", "--enable-bootstrap-token-auth", "--audit-policy-file=DIR/policy.yaml", "--audit-log-path=DIR/audit.log")
	w.admin.heard = w.number // reviews that say no are explained too
	w.namespace("x")
	w.account("x", "sa")
	secrets := map[string]string{
		"static token": "canary-static", "password in the file": "canary-password",
		"token for the webhook": "canary-webhook", "token for the audit webhook": "canary-audit-webhook",
		"token for the access webhook": "canary-access-webhook", "hashed token": "canary-hashed-token-of-128-bits",
		"hash of a password": horse, "password of that hash": "correct horse", "token of another issuer": dex.token("jo"),
	}
	plant := func(name string) string {
		secrets[name] = "canary-" + strings.ReplaceAll(name, " ", "-")
		return secrets[name]
	}

	// Credentials that are accepted.
	w.as(credential{cert: ca.Sign(t, pkix.Name{CommonName: "jane"}, nil)}).whoami()
	w.as(credential{token: "canary-static"}).must("GET", "/api/v1/secrets", nil, nil)
	secrets["bound token"] = w.token("x", "sa", "", "")
	secrets["legacy token"] = w.legacyToken("x", "legacy", "sa")
	for _, name := range []string{"bound token", "legacy token"} {
		w.as(credential{token: secrets[name]}).whoami()
		w.admin.review(secrets[name])
		w.admin.review(flip(secrets[name]))
		w.as(credential{token: flip(secrets[name])}).whoami()
	}
	secrets["bootstrap token"] = w.bootstrapToken("abcdef", "canary0bootstrap")
	w.as(credential{token: secrets["bootstrap token"]}).whoami()
	w.as(credential{token: "abcdef.canary1bootstrap"}).whoami()
	secrets["secret of a bootstrap token"], secrets["wrong secret of a bootstrap token"] = "canary0bootstrap", "canary1bootstrap"
	w.admin.must("PATCH", inNamespace("kube-system", "secrets/bootstrap-token-abcdef"), `{"data":{"auth-extra-groups":"Y2FuYXJ5LWdyb3Vw"}}`, nil)
	w.as(credential{token: secrets["bootstrap token"]}).whoami()
	secrets["group of a bootstrap token"] = "canary-group"
	withPassword := func(name, password string) int {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(name, password)
		_, a := w.as(credential{header: r.Header}).whoami()
		return a.code
	}
	if code := withPassword("ann", "canary-password"); code != http.StatusCreated {
		t.Errorf("a right password: %d", code)
	}
	if code := withPassword("jane", "correct horse"); code != http.StatusCreated {
		t.Errorf("a right password for a hash: %d", code)
	}
	for _, name := range []string{"hashed token", "token of another issuer"} {
		if _, a := w.as(credential{token: secrets[name]}).whoami(); a.code != http.StatusCreated {
			t.Errorf("%s: %d", name, a.code)
		}
		w.admin.review(secrets[name])
	}
	w.as(credential{token: flip(secrets["token of another issuer"])}).whoami()
	// The webhook of access is asked, and its answer is no review of access.
	w.as(credential{token: secrets["hashed token"]}).ask("GET", "/api/v1/nodes", nil)
	// Credentials that are refused, in every place that people put them.
	w.as(credential{token: plant("bad token")}).whoami()
	w.admin.review(plant("reviewed token"))
	for name, scheme := range map[string]string{"odd scheme": "Token ", "no scheme": "", "basic": "Basic ", "tab": "Bearer\t"} {
		w.as(credential{header: http.Header{"Authorization": {scheme + plant(name)}}}).whoami()
	}
	withPassword("joe", plant("password of nobody"))
	withPassword("ann", plant("wrong password"))
	withPassword(plant("password in the wrong place"), "ann")
	w.admin.ask("GET", "/api/v1/namespaces?access_token="+url.QueryEscape(plant("token in the URL")), nil)
	w.as(credential{header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Protocol": {"base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(plant("websocket")))},
	}, http1: true}).ask("GET", "/api/v1/pods?watch=1", nil)
	keys := w.issueAll(secrets)
	// Secrets that are written, read, changed and gone.
	path := inNamespace("x", "secrets")
	w.admin.must("POST", path, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "s", Annotations: map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": `{"stringData":{"a":"` + plant("applied") + `"}}`,
		}},
		StringData: map[string]string{"a": plant("created")}, Data: map[string][]byte{"b": []byte(plant("data"))},
	}, nil)
	w.admin.must("PATCH", path+"/s", `{"stringData":{"a":"`+plant("patched")+`"}}`, nil)
	for _, verb := range []string{"GET", "DELETE"} {
		w.admin.must(verb, path+"/s", nil, nil)
		w.admin.must("GET", path, nil, nil)
	}
	w.admin.ask("POST", path, `{"metadata":{"name":"bad name"},"stringData":{"a":"`+plant("refused")+`"}}`)
	w.admin.ask("POST", path, `{"metadata":{"name":"s"},"stringData":{"a":["`+plant("of another type")+`"]}}`)
	w.admin.ask("POST", path, `{"metadata":{"name":"s"},"stringData":"`+plant("cut off"))
	explained := w.explainAll(secrets, plant)
	metrics := w.admin.ask("GET", "/metrics", nil)

	// The server's own keys. Those in the store, which sign tokens and tickets, are
	// encrypted there: what shows that is that nothing has the form of one.
	for _, file := range []string{"ca.key", "service-account.key", "serving.key", "encryption.yaml", "admin.kubeconfig"} {
		for i, part := range w.keys(file) {
			secrets[file+" "+string(rune('a'+i))] = part
		}
	}
	audit, err := os.ReadFile(w.file("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) < 55 {
		t.Errorf("only %d secrets are planted", len(secrets))
	}
	for place, text := range map[string]string{
		"log": w.Log(), "audit log": string(audit), "metrics": metrics.body, "explanations": explained,
		"answers to those who are refused": w.heard.String(), "files of the store": w.storeFiles(),
		"answers about keys": keys,
	} {
		if len(text) < 1000 {
			t.Errorf("the %s are empty: %s", place, text)
		}
		if strings.Contains(text, "PRIVATE KEY-----") {
			t.Errorf("the %s has a private key", place)
		}
		for name, secret := range secrets {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
				if strings.Contains(text, form) {
					t.Errorf("the %s has the %s", place, name)
				}
			}
			// A token's signature alone is as good as the token.
			if i := strings.LastIndexByte(secret, '.'); i > 0 && strings.Contains(text, secret[i+1:]) {
				t.Errorf("the %s has the signature of the %s", place, name)
			}
		}
	}
	// That all this was written down at all is seen by what is no secret.
	for _, want := range []string{`"resource":"tokenreviews"`, `"verb":"patch"`, `"a":"[redacted]"`, "access_token=[redacted]", "legacy"} {
		if !strings.Contains(string(audit), want) {
			t.Errorf("the audit log has no %s", want)
		}
	}
	if n := strings.Count(explained, `"review":{"kind":"TokenReview"`); n < 7 {
		t.Errorf("only %d reviews are explained", n)
	}
	if !strings.Contains(w.Log(), "authentication failed") {
		t.Error("the log tells of no refusal")
	}
}

// hookKubeconfig is how a webhook is reached with a token.
func hookKubeconfig(hook *httptest.Server, token string) string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	return env.Kubeconfig(hook.URL, string(ca), fmt.Sprintf(`{"token":%q}`, token))
}

// explainAll has every refusal so far explained, and credentials that nobody has
// presented, and returns what was told.
func (w *world) explainAll(secrets map[string]string, plant func(string) string) string {
	const path = "/apis/gatehouse.dev/v1alpha1/explanations"
	var told strings.Builder
	for _, id := range w.refusals() {
		told.WriteString(w.admin.ask("GET", path+"/"+id, nil).body)
	}
	ca := authority.New(w.t, "explained")
	certificate := ca.Sign(w.t, pkix.Name{CommonName: "jane"}, nil)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		w.t.Fatal(err)
	}
	secrets["key of a certificate to explain"] = base64.StdEncoding.EncodeToString(key)[40:]
	both := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	basic := http.Request{Header: http.Header{}}
	basic.SetBasicAuth("ann", plant("password to explain"))
	specs := []map[string]any{
		{"token": plant("token to explain")}, {"token": "canary-static", "asRequest": map[string]string{"method": "GET", "path": "/api"}},
		{"token": secrets["bound token"]}, {"token": flip(secrets["legacy token"])}, {"token": secrets["bootstrap token"]},
		{"certificate": both}, {"headers": basic.Header}, {"headers": map[string][]string{"Authorization": {plant("header to explain")}}},
		{"token": plant("token to explain with a bad path"), "asRequest": map[string]string{"method": "GET", "path": plant("path to explain")}},
		{plant("field to explain"): "x"},
	}
	for _, spec := range specs {
		body := map[string]any{"apiVersion": "gatehouse.dev/v1alpha1", "kind": "Explanation", "spec": spec}
		told.WriteString(w.admin.ask("POST", path, body).body)
	}
	told.WriteString(w.admin.ask("POST", path, `{"spec":{"token":"`+plant("token in a broken body")).body)
	return told.String()
}

// issueAll has tokens issued in every way, by a key of the server and by the next
// one, uses and spoils each, and returns what is told about the keys.
func (w *world) issueAll(secrets map[string]string) string {
	const path = "/gatehouse/keys"
	var told strings.Builder
	w.pod("x", "p", "sa", "")
	ask := func(name, kind, object string) {
		secrets[name] = w.token("x", "sa", kind, object)
		w.as(credential{token: secrets[name]}).whoami()
		w.as(credential{token: flip(secrets[name])}).whoami()
		w.admin.review(secrets[name])
		w.admin.review(flip(secrets[name]))
	}
	ask("token of a pod, as a workload has it", "Pod", "p")
	ask("token bound to a Secret", "Secret", "legacy")
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"elsewhere"}}}
	w.admin.must("POST", inNamespace("x", "serviceaccounts/sa/token"), request, request)
	secrets["token for elsewhere"] = request.Status.Token
	w.as(credential{token: secrets["token for elsewhere"]}).whoami()
	w.admin.review(secrets["token for elsewhere"])
	told.WriteString(w.admin.ask("POST", path+"/rotate", map[string]string{}).body)
	told.WriteString(w.admin.ask("GET", path, nil).body)
	told.WriteString(w.admin.ask("GET", "/openid/v1/jwks", nil).body)
	ask("token of the next key", "", "")
	w.admin.must("DELETE", inNamespace("x", "pods/p"), nil, nil)
	w.as(credential{token: secrets["token of a pod, as a workload has it"]}).whoami()
	told.WriteString(w.admin.ask("GET", "/apis/gatehouse.dev/v1alpha1/credentials", nil).body)
	return told.String()
}

// storeFiles returns all that etcd has written.
func (w *world) storeFiles() string {
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(w.DataDir, "etcd"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(bytes.TrimRight(text, "\x00"))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all.String()
}

// keys returns the long base64 lines of a file of the data folder.
func (w *world) keys(file string) []string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.DataDir, file))
	if err != nil {
		w.t.Fatal(err)
	}
	if file == "admin.kubeconfig" { // its certificate is no secret
		_, after, _ := strings.Cut(string(text), "client-key-data")
		text = []byte(after)
	}
	found := regexp.MustCompile(`[A-Za-z0-9+/]{40,}`).FindAllString(string(text), -1)
	if len(found) == 0 {
		w.t.Fatalf("no key in %s", file)
	}
	return found
}
