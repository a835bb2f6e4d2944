package identity_test

import (
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// A source is a file that the server follows.
type source struct {
	// name is what /readyz, the metrics and the flag call it, and file where it
	// is.
	name, file string
	// after is another good content of it.
	after string
	// seen is what can be seen of the content that is in force: seenBefore or
	// seenAfter.
	seen                  func() string
	seenBefore, seenAfter string
}

// What is wrong in a bad file, and may be a secret.
const badContent = "n0nsense-canary [\n"

// Every file that is followed takes effect when it changes, and when it is bad,
// the last good one stays, which the log, /readyz and a metric tell until it is
// mended.
func TestEveryFileReload(t *testing.T) {
	hook := httptest.NewTLSServer(http.HandlerFunc(answerReview))
	t.Cleanup(hook.Close)
	ca, otherCA := authority.New(t, "clients"), authority.New(t, "others")
	proxies, otherProxies := authority.New(t, "proxies"), authority.New(t, "other proxies")
	dex, verify, more := newProvider(t), authority.NewKey(t), authority.NewKey(t)
	authorization := func(types string) string {
		return `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthorizationConfiguration","authorizers":[` + types + `]}`
	}
	const byRole, byHook = `{"type":"RBAC","name":"rbac"}`, `,{"type":"Webhook","name":"hook","webhook":{
		"timeout":"3s","subjectAccessReviewVersion":"v1","matchConditionSubjectAccessReviewVersion":"v1","failurePolicy":"NoOpinion",
		"authorizedTTL":"1s","unauthorizedTTL":"1s","connectionInfo":{"type":"KubeConfigFile","kubeConfigFile":"DIR/access.kubeconfig"}}}`
	files := map[string]string{
		"ca.pem": ca.PEM(), "proxies.pem": proxies.PEM(), "root.pem": ca.PEM(),
		"tokens.csv": "t0ken,joe,1,one\n", "hashed": hashedLine("hash3d-token-of-128-random-bits", "one"),
		"users.csv": "passw0rd,ann,2,one\n", "users.htpasswd": "jane:" + horse + "\n", "groups": "one: jane\n",
		"verify.pem": publicPEM(t, verify), "sign.key": keyPEM(t, verify),
		"authentication.yaml": dex.configuration("one:"), "authorization.yaml": authorization(byRole),
		"hook.kubeconfig": hookKubeconfig(hook, "one"), "access.kubeconfig": hookKubeconfig(hook, "one"),
	}
	w := start(t, files, "--hashed-token-file=DIR/hashed", "--basic-auth-file=DIR/users.csv", "--htpasswd-file=DIR/users.htpasswd",
		"--htpasswd-groups-file=DIR/groups", "--requestheader-client-ca-file=DIR/proxies.pem", "--requestheader-username-headers=X-Remote-User",
		"--service-account-key-file=DIR/verify.pem", "--service-account-signing-key-file=DIR/sign.key", "--root-ca-file=DIR/root.pem",
		"--authentication-config=DIR/authentication.yaml", "--authorization-config=DIR/authorization.yaml",
		"--authentication-token-webhook-config-file=DIR/hook.kubeconfig", "--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=0s")
	token := w.as(credential{token: "t0ken"})
	group := func(c credential) func() string {
		who := w.as(c)
		return func() string {
			if got, a := who.whoami(); a.code == http.StatusCreated && len(got.Groups) > 0 {
				return got.Groups[0]
			}
			return "nobody"
		}
	}
	known := func(c credential) func() string {
		who := w.as(c)
		return func() string { got, _ := who.whoami(); return got.Username }
	}
	// The certificates of our own CA never change.
	shown := []string{"own-client-ca"}
	for _, s := range []source{
		{"token-auth-file", "tokens.csv", "t0ken,joe,1,two\n", group(credential{token: "t0ken"}), "one", "two"},
		{"hashed-token-file", "hashed", hashedLine("hash3d-token-of-128-random-bits", "two"), group(credential{token: "hash3d-token-of-128-random-bits"}), "one", "two"},
		{"basic-auth-file", "users.csv", "passw0rd,ann,2,two\n", group(credential{header: basicAuth("ann", "passw0rd")}), "one", "two"},
		{"htpasswd-groups-file", "groups", "two: jane\n", group(credential{header: basicAuth("jane", "correct horse")}), "one", "two"},
		{"htpasswd-file", "users.htpasswd", "joan:" + horse + "\n", known(credential{header: basicAuth("jane", "correct horse")}), "jane", ""},
		{"client-ca-file", "ca.pem", otherCA.PEM(), known(credential{cert: ca.Sign(t, pkix.Name{CommonName: "jane"}, nil)}), "jane", ""},
		{"requestheader-client-ca-file", "proxies.pem", otherProxies.PEM(), known(credential{
			cert: proxies.Sign(t, pkix.Name{CommonName: "proxy"}, nil), header: http.Header{"X-Remote-User": {"jill"}},
		}), "jill", ""},
		{"service-account-key-file", "verify.pem", publicPEM(t, verify) + publicPEM(t, more), func() string {
			return fmt.Sprint(strings.Contains(w.Log(), keyID(t, more)))
		}, "false", "true"},
		{"root-ca-file", "root.pem", otherCA.PEM(), func() string {
			var cm corev1.ConfigMap
			if a := w.admin.ask("GET", inNamespace("default", "configmaps/kube-root-ca.crt"), nil); json.Unmarshal([]byte(a.body), &cm) != nil {
				return ""
			}
			return cm.Data["ca.crt"]
		}, ca.PEM(), otherCA.PEM()},
		{"authentication-config", "authentication.yaml", dex.configuration("two:"), known(credential{token: dex.token("jo")}), "one:jo", "two:jo"},
		{"authorization-config", "authorization.yaml", authorization(byRole + strings.ReplaceAll(byHook, "DIR", w.dir)), func() string {
			return fmt.Sprint(token.ask("GET", "/api/v1/secrets", nil).code)
		}, "403", "200"},
		{"authentication-token-webhook-config-file", "hook.kubeconfig", hookKubeconfig(hook, "two"), group(credential{token: "for-the-hook"}), "one", "two"},
	} {
		shown = append(shown, s.name)
		t.Run(s.name, func(t *testing.T) { w.reloads(t, s) })
	}
	for _, name := range w.followed() {
		if !slices.Contains(shown, name) {
			t.Errorf("%s is followed, and nothing shows that a change of it takes effect", name)
		}
	}
}

// So does that of the CA of the issuer that flags describe instead of a file.
func TestIssuerCAReload(t *testing.T) {
	dex := newProvider(t)
	w := start(t, map[string]string{"issuer.pem": authority.New(t, "of somebody else").PEM()},
		"--oidc-issuer-url="+dex.Issuer, "--oidc-client-id=gatehouse", "--oidc-username-prefix=-",
		"--oidc-signing-algs=ES256", "--oidc-ca-file=DIR/issuer.pem")
	jo := w.as(credential{token: dex.token("jo")})
	w.reloads(t, source{"oidc-ca-file", "issuer.pem", dex.ca(), func() string { got, _ := jo.whoami(); return got.Username }, "", "jo"})
}

// reloads shows that a bad file changes nothing and is told of, and a good one
// takes effect.
func (w *world) reloads(t *testing.T, s source) {
	t.Helper()
	if got := s.seen(); got != s.seenBefore || w.note(s.name) || w.stale(s.name) {
		t.Fatalf("at first: %q, want %q", got, s.seenBefore)
	}
	w.write(s.file, badContent)
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note(s.name) })
	if !w.stale(s.name) {
		t.Error("the metric does not tell of it")
	}
	if got := s.seen(); got != s.seenBefore {
		t.Errorf("while the file is bad: %q, want %q", got, s.seenBefore)
	}
	if log := w.Log(); strings.Contains(log, "n0nsense-canary") {
		t.Error("the log has what is in the bad file")
	}
	w.write(s.file, s.after)
	env.Eventually(w.t, "taking the change", func() bool { return s.seen() == s.seenAfter })
	env.Eventually(w.t, "telling no more", func() bool { return !w.note(s.name) && !w.stale(s.name) })
}

// followed returns the names of the files that the server follows.
func (w *world) followed() []string {
	var names []string
	for _, m := range regexp.MustCompile(`gatehouse_file_stale\{file="([^"]+)"\}`).FindAllStringSubmatch(w.admin.ask("GET", "/metrics", nil).body, -1) {
		names = append(names, m[1])
	}
	return names
}

// hashedLine is a line of --hashed-token-file.
func hashedLine(token, group string) string {
	return fmt.Sprintf("ci sha256:%x user=ci group=%s\n", sha256.Sum256([]byte(token)), group)
}

func basicAuth(name, password string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(name, password)
	return r.Header
}

// answerReview is a webhook that allows everything, and knows whoever shows it the token for-the-hook,
// as a member of the group that its own caller has as a token.
func answerReview(w http.ResponseWriter, r *http.Request) {
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	if review.Kind == "SubjectAccessReview" {
		_, _ = w.Write([]byte(`{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","status":{"allowed":true}}`))
		return
	}
	if review.Spec.Token == "for-the-hook" {
		review.Status.Authenticated = true
		review.Status.User = authenticationv1.UserInfo{Username: "hal", Groups: []string{strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}}
	}
	_ = json.NewEncoder(w).Encode(review)
}
