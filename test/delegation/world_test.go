package delegation_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// A world is a Gatehouse that knows jane of the group dev, and joe, by tokens,
// and anybody with a certificate of clients. Jane's group may get config maps in
// the namespace default, and /metrics. The delegator may ask. Whatever RBAC says,
// a webhook denies everything to the revoked.
type world struct {
	*env.Server
	clients, proxies *authority.Authority
	admin            kubernetes.Interface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	tokens := filepath.Join(t.TempDir(), "tokens.csv")
	env.Write(t, tokens, "janes-t0ken,jane,uid-1,dev\njoes-t0ken,joe,uid-2\n")
	w := &world{clients: authority.New(t, "clients"), proxies: authority.New(t, "proxies")}
	w.Server = env.Start(t, "--authorization-mode", "Webhook,RBAC", "--authorization-webhook-config-file", denier(t),
		"--authorization-webhook-version", "v1", "--token-auth-file", tokens, "--client-ca-file", w.clients.File,
		"--requestheader-client-ca-file", w.proxies.File, "--requestheader-allowed-names", "aggregator",
		"--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-")
	var err error
	if w.admin, err = kubernetes.NewForConfig(w.Config()); err != nil {
		t.Fatal(err)
	}
	w.grant(t)
	return w
}

// revoked is the name of who may do nothing.
const revoked = "mallory"

// denier starts a webhook that denies what the revoked asks for, and has no
// opinion on anybody else. It returns the file that says where it is.
func denier(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if review.Spec.User == revoked {
			review.Status = authorizationv1.SubjectAccessReviewStatus{Denied: true, Reason: "he is revoked"}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "webhook")
	env.Write(t, file, env.Kubeconfig(s.URL, string(ca), "{}"))
	return file
}

func (w *world) grant(t *testing.T) {
	t.Helper()
	group := func(name string) []rbacv1.Subject {
		return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}}
	}
	role := func(kind, name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	rbac := w.admin.RbacV1()
	_, err := rbac.Roles("default").Create(t.Context(), &rbacv1.Role{ObjectMeta: named("reader"), Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}},
	}}, metav1.CreateOptions{})
	check(t, err)
	_, err = rbac.RoleBindings("default").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: named("readers"), Subjects: group("dev"), RoleRef: role("Role", "reader"),
	}, metav1.CreateOptions{})
	check(t, err)
	_, err = rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: named("metrics"), Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}},
	}}, metav1.CreateOptions{})
	check(t, err)
	asker := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: delegator}}
	for name, b := range map[string]struct {
		role string
		to   []rbacv1.Subject
	}{
		"metrics": {"metrics", group("dev")}, delegator: {"system:auth-delegator", asker},
	} {
		_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: named(name), Subjects: b.to, RoleRef: role("ClusterRole", b.role),
		}, metav1.CreateOptions{})
		check(t, err)
	}
	_, err = rbac.RoleBindings("kube-system").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: named(delegator), Subjects: asker, RoleRef: role("Role", "extension-apiserver-authentication-reader"),
	}, metav1.CreateOptions{})
	check(t, err)
}

// delegator is the name of who may ask.
const delegator = "delegator"

// kubeconfig returns the file of one who asks, with a client certificate. Path
// stands behind the address, as in the files of webhooks.
func (w *world) kubeconfig(t *testing.T, name, path string) string {
	t.Helper()
	certFile, keyFile := w.clients.Issue(t, name)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	user := fmt.Sprintf(`{"client-certificate":%q,"client-key":%q}`, certFile, keyFile)
	env.Write(t, file, env.Kubeconfig(w.Address+path, env.Read(t, filepath.Join(w.DataDir, "ca.crt")), user))
	return file
}

// printed returns the flags that gatehouse webhook config prints for an API
// server, with the files they name.
func (w *world) printed(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tools.Gatehouse(t), "webhook", "config", "prod",
		"--data-dir", w.DataDir, "--output-dir", filepath.Join(t.TempDir(), "prod"))
	cmd.Stderr = t.Output()
	text, err := cmd.Output()
	check(t, err)
	flags := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			flags[strings.TrimPrefix(name, "--")] = value
		}
	}
	return flags
}

// account makes a service account in the namespace default, and returns its name.
func (w *world) account(t *testing.T) string {
	t.Helper()
	account, err := w.admin.CoreV1().ServiceAccounts("default").Create(t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"}}, metav1.CreateOptions{})
	check(t, err)
	return account.Name
}

// token returns a token of an account for audiences, or for Gatehouse itself.
func (w *world) token(t *testing.T, account string, audiences ...string) string {
	t.Helper()
	review, err := w.admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
	check(t, err)
	return review.Status.Token
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
