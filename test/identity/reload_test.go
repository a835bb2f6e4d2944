package identity_test

import (
	"crypto/x509/pkix"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// note is what /readyz?verbose says of a file that is not in force.
func (w *world) note(file string) bool {
	w.t.Helper()
	a := w.as(credential{}).ask("GET", "/readyz?verbose", nil)
	if a.code != http.StatusOK {
		w.t.Errorf("readyz: %d %s", a.code, a.body)
	}
	return strings.Contains(a.body, "[!]"+file+" is bad on disk")
}

// stale is whether the metric says so.
func (w *world) stale(file string) bool {
	w.t.Helper()
	a := w.admin.ask("GET", "/metrics", nil)
	for _, value := range []string{"0", "1"} {
		if strings.Contains(a.body, `gatehouse_file_stale{file="`+file+`"} `+value+"\n") {
			return value == "1"
		}
	}
	w.t.Fatalf("no gatehouse_file_stale for %s in %s", file, a.body)
	return false
}

func TestTokenFileReload(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7\nanns-t0ken,ann,uid-8\n"})
	joe, ann := w.as(credential{token: "joes-t0ken"}), w.as(credential{token: "anns-t0ken"})
	for _, who := range []*caller{joe, ann} {
		if _, a := who.whoami(); a.code != http.StatusCreated {
			t.Fatalf("at first: %d", a.code)
		}
	}
	if w.note("token-auth-file") || w.stale("token-auth-file") {
		t.Error("a good file is told of")
	}

	w.write("tokens.csv", "joes-t0ken,joe,uid-7\nbad-l1ne\n")
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note("token-auth-file") })
	if !w.stale("token-auth-file") {
		t.Error("the metric does not tell of a bad file")
	}
	if log := w.Log(); !strings.Contains(log, "token file is bad; the last good one stays in force") || !strings.Contains(log, "record 2") || strings.Contains(log, "bad-l1ne") {
		t.Error("the log does not say what is wrong, or says too much")
	}
	for _, who := range []*caller{joe, ann} {
		if _, a := who.whoami(); a.code != http.StatusCreated || !a.warm {
			t.Errorf("while the file is bad: %d", a.code)
		}
	}

	w.write("tokens.csv", "bobs-t0ken,bob,uid-9\njoes-t0ken,joe,uid-7,dev\n")
	bob := w.as(credential{token: "bobs-t0ken"})
	env.Eventually(w.t, "taking a new token", func() bool { _, a := bob.whoami(); return a.code == http.StatusCreated })
	if _, a := ann.whoami(); a.code != http.StatusUnauthorized || !a.warm {
		t.Errorf("a token that was removed: %d", a.code)
	}
	if got, _ := joe.whoami(); len(got.Groups) != 2 || got.Groups[0] != "dev" {
		t.Errorf("a token whose groups have changed: %+v", got)
	}
	env.Eventually(w.t, "telling no more of a mended file", func() bool { return !w.note("token-auth-file") && !w.stale("token-auth-file") })
}

// The certificates of a CA end when it is taken out of the file, on connections
// that are open too.
func TestClientCAReload(t *testing.T) {
	first, second := authority.New(t, "first"), authority.New(t, "second")
	w := start(t, map[string]string{"ca.pem": first.PEM()})
	jane := w.as(credential{cert: first.Sign(t, pkix.Name{CommonName: "jane"}, nil)})
	joe := credential{cert: second.Sign(t, pkix.Name{CommonName: "joe"}, nil)}
	if _, a := jane.whoami(); a.code != http.StatusCreated {
		t.Fatalf("at first: %d", a.code)
	}
	expect401(t, w.as(joe).ask("GET", "/version", nil))

	w.write("ca.pem", "no certificate")
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note("client-ca-file") })
	if !w.stale("client-ca-file") || w.stale("own-client-ca") {
		t.Error("the metrics do not tell which file is bad")
	}
	if _, a := jane.whoami(); a.code != http.StatusCreated || !a.warm {
		t.Errorf("while the file is bad: %d", a.code)
	}

	w.write("ca.pem", first.PEM()+second.PEM())
	env.Eventually(w.t, "taking another CA", func() bool { _, a := w.as(joe).whoami(); return a.code == http.StatusCreated })
	if _, a := jane.whoami(); a.code != http.StatusCreated || !a.warm {
		t.Errorf("with both: %d", a.code)
	}
	w.write("ca.pem", second.PEM())
	var last answer
	env.Eventually(w.t, "refusing the CA that is gone", func() bool { _, last = jane.whoami(); return last.code != http.StatusCreated })
	if expect401(t, last); !last.warm || jane.dials.Load() != 1 {
		t.Error("it was refused on another connection")
	}
	if a := w.admin.ask("GET", "/api/v1/namespaces", nil); a.code != http.StatusOK {
		t.Errorf("our own CA: %d", a.code)
	}
}

// A key that signs no more verifies on, until it is taken out of the files. All
// that without a restart, and with the last good keys in force meanwhile.
func TestKeyRotation(t *testing.T) {
	old, next := authority.NewKey(t), authority.NewKey(t)
	w := start(t, map[string]string{"sign.key": keyPEM(t, old), "verify.pem": publicPEM(t, old)},
		"--service-account-signing-key-file=DIR/sign.key", "--service-account-key-file=DIR/verify.pem")
	w.namespace("x")
	w.account("x", "sa")
	before, legacy := w.token("x", "sa", "", ""), w.legacyToken("x", "legacy", "sa")
	code := func(token string) int {
		_, a := w.as(credential{token: token}).whoami()
		return a.code
	}
	kid := func(token string) string { return header(t, token)["kid"].(string) }
	const file = "service-account-key-file"

	w.write("verify.pem", publicPEM(t, next)+publicPEM(t, old))
	env.Eventually(w.t, "reading a key that verifies", func() bool { return strings.Contains(w.Log(), keyID(t, next)) })
	if got := kid(w.token("x", "sa", "", "")); got != keyID(t, old) {
		t.Errorf("a key that only verifies signed: %s", got)
	}
	w.write("sign.key", keyPEM(t, next))
	env.Eventually(w.t, "signing with the new key", func() bool { return kid(w.token("x", "sa", "", "")) == keyID(t, next) })
	after := w.token("x", "sa", "", "")
	for name, token := range map[string]string{"old": before, "legacy": legacy, "new": after} {
		if got := code(token); got != http.StatusCreated {
			t.Errorf("with both keys the %s token: %d", name, got)
		}
	}

	w.write("verify.pem", publicPEM(t, next)+"-----BEGIN PUBLIC KEY-----\n")
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note(file) })
	if !w.stale(file) || !strings.Contains(w.Log(), "a service account key file is bad; the last good keys stay in force") {
		t.Error("the metric or the log does not tell of a bad file")
	}
	for name, token := range map[string]string{"old": before, "legacy": legacy, "new": after} {
		if got := code(token); got != http.StatusCreated {
			t.Errorf("while a file is bad the %s token: %d", name, got)
		}
	}

	w.write("verify.pem", publicPEM(t, next))
	env.Eventually(w.t, "refusing the key that is gone", func() bool { return code(before) == http.StatusUnauthorized })
	env.Eventually(w.t, "telling no more of a mended file", func() bool { return !w.note(file) && !w.stale(file) })
	ended := func(when string) {
		if got := code(after); got != http.StatusCreated {
			t.Errorf("%s, with the new key the new token: %d", when, got)
		}
		for name, token := range map[string]string{"old": before, "legacy": legacy} {
			if got := code(token); got != http.StatusUnauthorized {
				t.Errorf("%s, with the new key the %s token: %d", when, name, got)
			}
			if got := w.admin.review(token); got.Authenticated {
				t.Errorf("%s, with the new key a TokenReview of the %s token: %+v", when, name, got)
			}
		}
	}
	ended("without a restart")
	// The store knows that the old key signs no more, or this would be refused.
	w.Restart()
	w.admin = w.administrator()
	ended("after a restart")
}

// A server does not stop to accept what others on its store sign: keys that leave
// out the one that signed last are refused, as at a start.
func TestKeysThatLeaveOneOut(t *testing.T) {
	old, next := authority.NewKey(t), authority.NewKey(t)
	w := start(t, map[string]string{"sign.key": keyPEM(t, old), "verify.pem": publicPEM(t, old) + publicPEM(t, next)},
		"--service-account-signing-key-file=DIR/sign.key", "--service-account-key-file=DIR/verify.pem")
	w.namespace("x")
	w.account("x", "sa")
	token := w.token("x", "sa", "", "")
	w.write("verify.pem", publicPEM(t, next))
	env.Eventually(w.t, "telling of a key that signs and does not verify", func() bool { return w.note("service-account-key-file") })
	if !strings.Contains(w.Log(), "sign.key is in none of the files of keys that verify") {
		t.Error("the log does not say what is missing")
	}
	w.write("sign.key", keyPEM(t, next))
	env.Eventually(w.t, "telling of keys that leave one out", func() bool {
		return strings.Contains(w.Log(), "service account key "+keyID(t, old)+" is not among ours: add it with --service-account-key-file")
	})
	if !w.note("service-account-key-file") {
		t.Error("readyz does not tell")
	}
	if _, a := w.as(credential{token: token}).whoami(); a.code != http.StatusCreated {
		t.Errorf("with the last good keys: %d", a.code)
	}
}

// The root CA that pods are told follows its file.
func TestRootCAReload(t *testing.T) {
	first, second := authority.New(t, "first"), authority.New(t, "second")
	w := start(t, map[string]string{"root.pem": first.PEM()}, "--root-ca-file=DIR/root.pem")
	told := func() string {
		var cm corev1.ConfigMap
		if a := w.admin.ask("GET", inNamespace("default", "configmaps/kube-root-ca.crt"), nil); a.code != http.StatusOK || json.Unmarshal([]byte(a.body), &cm) != nil {
			return ""
		}
		return cm.Data["ca.crt"]
	}
	env.Eventually(w.t, "publishing the first", func() bool { return told() == first.PEM() })
	w.write("root.pem", "no certificate")
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note("root-ca-file") })
	if !w.stale("root-ca-file") || told() != first.PEM() {
		t.Error("a bad file is in force, or not told of")
	}
	w.write("root.pem", second.PEM())
	env.Eventually(w.t, "publishing the second", func() bool { return told() == second.PEM() })
}

// What is granted and taken back is in force soon, and what cannot be decided
// is no permission.
func TestPermissionsFollow(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7,dev\n"})
	joe := w.as(credential{token: "joes-t0ken"})
	code := func() int { return joe.ask("GET", "/api/v1/nodes", nil).code }
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "devs"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "nodes"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "dev"}},
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "nodes"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"nodes"}}},
	}
	w.admin.must("POST", rbac+"clusterrolebindings", binding, nil)
	const missing = `: RBAC: clusterrole.rbac.authorization.k8s.io \"nodes\" not found`
	env.Eventually(w.t, "saying which role is missing", func() bool {
		a := joe.ask("GET", "/api/v1/nodes", nil)
		return a.code == http.StatusForbidden && strings.Contains(a.body, missing)
	})
	for range 5 {
		w.admin.must("POST", rbac+"clusterroles", role, nil)
		env.Eventually(w.t, "granting", func() bool { return code() == http.StatusOK })
		w.admin.must("DELETE", rbac+"clusterroles/nodes", nil, nil)
		env.Eventually(w.t, "taking back", func() bool { return code() == http.StatusForbidden })
	}
}
