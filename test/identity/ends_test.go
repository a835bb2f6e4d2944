package identity_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/env"
)

// rounds is how often each way to end a token is gone, without a pause: what
// depends on a watch or a timer is too late in some of them.
const rounds = 50

// An ending is a way in which a token ends.
type ending struct {
	name string
	// begin makes what is needed in one round and returns the token.
	begin func(name string) string
	end   func(name string)
}

// endings are all ways, in the namespace x with the account sa.
func (w *world) endings() []ending {
	return []ending{
		{"account", func(name string) string { w.account("x", name); return w.token("x", name, "", "") },
			func(name string) { w.admin.must("DELETE", inNamespace("x", "serviceaccounts/"+name), nil, nil) }},
		{"pod", func(name string) string { w.pod("x", name, "sa", ""); return w.token("x", "sa", "Pod", name) },
			func(name string) { w.admin.must("DELETE", inNamespace("x", "pods/"+name), nil, nil) }},
		{"account of a pod", func(name string) string {
			w.account("x", name)
			w.pod("x", name, name, "")
			return w.token("x", name, "Pod", name)
		}, func(name string) { w.admin.must("DELETE", inNamespace("x", "serviceaccounts/"+name), nil, nil) }},
		{"secret", func(name string) string { w.secret("x", name); return w.token("x", "sa", "Secret", name) },
			func(name string) { w.admin.must("DELETE", inNamespace("x", "secrets/"+name), nil, nil) }},
		{"node", func(name string) string { w.node(name); return w.token("x", "sa", "Node", name) },
			func(name string) { w.admin.must("DELETE", "/api/v1/nodes/"+name, nil, nil) }},
		{"legacy secret", func(name string) string { return w.legacyToken("x", name, "sa") },
			func(name string) { w.admin.must("DELETE", inNamespace("x", "secrets/"+name), nil, nil) }},
		{"account of a legacy secret", func(name string) string { w.account("x", name); return w.legacyToken("x", name, name) },
			func(name string) { w.admin.must("DELETE", inNamespace("x", "serviceaccounts/"+name), nil, nil) }},
		{"another token in the secret", func(name string) string { return w.legacyToken("x", name, "sa") },
			func(name string) {
				other := base64.StdEncoding.EncodeToString([]byte("other"))
				w.admin.must("PATCH", inNamespace("x", "secrets/"+name), `{"data":{"token":"`+other+`"}}`, nil)
			}},
		{"secret marked invalid", func(name string) string { return w.legacyToken("x", name, "sa") },
			func(name string) {
				w.admin.must("PATCH", inNamespace("x", "secrets/"+name), `{"metadata":{"labels":{"kubernetes.io/legacy-token-invalid-since":"2026-01-01"}}}`, nil)
			}},
		{"collection of pods", func(name string) string { w.pod("x", name, "sa", ""); return w.token("x", "sa", "Pod", name) },
			func(string) { w.admin.must("DELETE", inNamespace("x", "pods"), nil, nil) }},
		{"collection of secrets", func(name string) string { w.secret("x", name); return w.token("x", "sa", "Secret", name) },
			func(name string) {
				w.admin.must("DELETE", inNamespace("x", "secrets?fieldSelector=metadata.name="+name), nil, nil)
			}},
		{"last finalizer of a pod", func(name string) string {
			w.pod("x", name, "sa", "", "example.org/held")
			token := w.token("x", "sa", "Pod", name)
			w.admin.must("DELETE", inNamespace("x", "pods/"+name), nil, nil)
			return token
		}, func(name string) {
			w.admin.must("PATCH", inNamespace("x", "pods/"+name), `{"metadata":{"finalizers":null}}`, nil)
		}},
		{"another pod of the name", func(name string) string { w.pod("x", name, "sa", ""); return w.token("x", "sa", "Pod", name) },
			func(name string) {
				w.admin.must("DELETE", inNamespace("x", "pods/"+name), nil, nil)
				w.pod("x", name, "sa", "")
			}},
		{"secret of a bootstrap token", func(string) string { return w.bootstrapToken("abcdef", "0123456789abcdef") },
			func(string) {
				w.admin.must("DELETE", inNamespace("kube-system", "secrets/bootstrap-token-abcdef"), nil, nil)
			}},
		{"usage of a bootstrap token", func(name string) string {
			w.admin.ask("DELETE", inNamespace("kube-system", "secrets/bootstrap-token-abcdef"), nil)
			return w.bootstrapToken("abcdef", "0123456789abcdef")
		}, func(string) {
			w.admin.must("PATCH", inNamespace("kube-system", "secrets/bootstrap-token-abcdef"), `{"data":{"usage-bootstrap-authentication":null}}`, nil)
		}},
		{"another account of the name", func(name string) string { w.account("x", name); return w.token("x", name, "", "") },
			func(name string) {
				w.admin.must("DELETE", inNamespace("x", "serviceaccounts/"+name), nil, nil)
				w.account("x", name)
			}},
	}
}

// clean removes what is left of a round, and would stand in the way of others.
func (w *world) clean(name string) {
	for _, left := range []string{"pods/", "serviceaccounts/", "secrets/"} {
		w.admin.ask("DELETE", inNamespace("x", left+name), nil)
	}
	w.admin.ask("DELETE", "/api/v1/nodes/"+name, nil)
}

// A token ends with what it rests on: the very next request on a connection
// that just served it is refused.
func TestEndsAtOnce(t *testing.T) {
	w := start(t, nil, "--enable-bootstrap-token-auth")
	w.namespace("x")
	w.account("x", "sa")
	for _, tt := range w.endings() {
		t.Run(tt.name, func(t *testing.T) {
			for n := range rounds {
				name := fmt.Sprintf("r%d", n)
				token := tt.begin(name)
				w.endsWith(token, func() { tt.end(name) })
				if w.clean(name); t.Failed() {
					t.Fatalf("in round %d", n)
				}
			}
		})
	}
}

// endsWith holds a token to be good until end, and not after it.
func (w *world) endsWith(token string, end func()) {
	w.t.Helper()
	who, other := w.as(credential{token: token}), w.as(credential{token: token})
	for range 2 {
		if _, a := who.whoami(); a.code != http.StatusCreated {
			w.t.Errorf("before its end: %d %s", a.code, a.body)
		}
	}
	if !w.admin.review(token).Authenticated {
		w.t.Error("TokenReview before its end: not authenticated")
	}
	end()
	_, a := who.whoami()
	if a.code != http.StatusUnauthorized || !a.warm {
		w.t.Errorf("after its end: %d on a connection that was there: %v", a.code, a.warm)
	}
	if _, a := other.whoami(); a.code != http.StatusUnauthorized {
		w.t.Errorf("after its end on a new connection: %d", a.code)
	}
	if got := w.admin.review(token); got.Authenticated || got.User.Username != "" {
		w.t.Errorf("TokenReview after its end: %+v", got)
	}
	who.client.CloseIdleConnections()
	other.client.CloseIdleConnections()
}

// A namespace takes its accounts with it: once one is gone, so is its token.
func TestEndsWithNamespace(t *testing.T) {
	w := start(t, nil)
	for n := range rounds {
		ns := fmt.Sprintf("n%d", n)
		w.namespace(ns)
		w.account(ns, "sa")
		token, legacy := w.token(ns, "sa", "", ""), w.legacyToken(ns, "legacy", "sa")
		end := func(path string) func() {
			return func() {
				w.admin.must("DELETE", "/api/v1/namespaces/"+ns, nil, nil)
				for w.admin.ask("GET", path, nil).code != http.StatusNotFound {
				}
			}
		}
		w.endsWith(token, end(inNamespace(ns, "serviceaccounts/sa")))
		if a := w.as(credential{token: legacy}).ask("GET", "/version", nil); a.code != http.StatusUnauthorized {
			t.Errorf("the legacy token of an account that is gone: %d", a.code)
		}
		if t.Failed() {
			t.Fatalf("in round %d", n)
		}
	}
}

// Nothing of a namespace outlives it, not even what a finalizer holds.
func TestNamespaceWaitsForContents(t *testing.T) {
	w := start(t, nil)
	w.namespace("x")
	w.account("x", "sa")
	w.admin.must("POST", inNamespace("x", "configmaps"), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.org/held"}},
	}, nil)
	w.admin.must("DELETE", "/api/v1/namespaces/x", nil, nil)
	env.Eventually(w.t, "deleting the account", func() bool {
		return w.admin.ask("GET", inNamespace("x", "serviceaccounts/sa"), nil).code == http.StatusNotFound
	})
	var ns corev1.Namespace
	env.Eventually(w.t, "saying what is left", func() bool {
		w.admin.must("GET", "/api/v1/namespaces/x", nil, &ns)
		return len(ns.Status.Conditions) > 0
	})
	w.admin.must("GET", inNamespace("x", "configmaps/held"), nil, nil)
	w.admin.must("PATCH", inNamespace("x", "configmaps/held"), `{"metadata":{"finalizers":null}}`, nil)
	env.Eventually(w.t, "deleting the namespace", func() bool {
		return w.admin.ask("GET", "/api/v1/namespaces/x", nil).code == http.StatusNotFound
	})
}

// A pod that is marked for deletion but held keeps its token, as upstream lets
// it for a minute.
func TestHeldPodKeepsToken(t *testing.T) {
	w := start(t, nil)
	w.namespace("x")
	w.account("x", "sa")
	w.pod("x", "p", "sa", "", "example.org/held")
	who := w.as(credential{token: w.token("x", "sa", "Pod", "p")})
	w.admin.must("DELETE", inNamespace("x", "pods/p"), nil, nil)
	var pod corev1.Pod
	w.admin.must("GET", inNamespace("x", "pods/p"), nil, &pod)
	if pod.DeletionTimestamp == nil {
		t.Fatal("the pod is not marked")
	}
	if _, a := who.whoami(); a.code != http.StatusCreated {
		t.Errorf("right after the mark: %d", a.code)
	}
}

// A rehearsal ends nothing and hands out nothing.
func TestRehearsal(t *testing.T) {
	w := start(t, nil)
	w.namespace("x")
	w.account("x", "sa")
	who := w.as(credential{token: w.token("x", "sa", "", "")})
	w.admin.must("DELETE", inNamespace("x", "serviceaccounts/sa?dryRun=All"), nil, nil)
	w.admin.must("DELETE", "/api/v1/namespaces/x?dryRun=All", nil, nil)
	if _, a := who.whoami(); a.code != http.StatusCreated {
		t.Errorf("after a rehearsed end: %d", a.code)
	}
	var none struct{ Status struct{ Token string } }
	w.admin.must("POST", inNamespace("x", "serviceaccounts/sa/token?dryRun=All"), `{"spec":{}}`, &none)
	if none.Status.Token != "" {
		t.Error("a rehearsal gave a token out")
	}
}
