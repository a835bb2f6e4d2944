package outcall_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/pki"
)

// A world is a folder with a CA, a client certificate and the files of tokens.
type world struct {
	dir string
	ca  *pki.Authority
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{dir: t.TempDir()}
	var err error
	if w.ca, err = pki.OpenAuthority(w.dir, "ca", "test"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kubeconfig is one of a service at server, with more settings of cluster and user.
func kubeconfig(server, cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: service, user: server}}]
clusters: [{name: service, cluster: {server: %q%s}}]
users: [{name: server, user: {%s}}]
`, server, cluster, user)
}

func TestReadTarget(t *testing.T) {
	w := newWorld(t)
	w.write(t, "token", " abc\n")
	w.write(t, "empty", " \n")
	w.write(t, "junk", "junk")
	w.write(t, "broken", "a b")
	const server = "https://hook.example.org/authenticate"
	type test struct{ name, text, url, problem string }
	tests := []test{
		{"plain", kubeconfig(server, "", ""), server, ""},
		{"slash", kubeconfig(server+"/", "", ""), server, ""},
		{"no path", kubeconfig("https://hook.example.org", "", ""), "https://hook.example.org/", ""},
		{"ca", kubeconfig(server, ", certificate-authority: ca.crt", ""), server, ""},
		{"names", kubeconfig(server, ", tls-server-name: other, proxy-url: 'http://proxy:3128'", ""), server, ""},
		{"token", kubeconfig(server, "", "token: abc"), server, ""},
		{"token file", kubeconfig(server, "", "tokenFile: token"), server, ""},
		{"password", kubeconfig(server, "", "username: a, password: b"), server, ""},
		{"nobody", strings.Replace(kubeconfig(server, "", ""), ", user: server", "", 1), server, ""},

		{"nothing", "", "", "no current-context"},
		{"no yaml", "{{{", "", "no kubeconfig"},
		{"no context", strings.Replace(kubeconfig(server, "", ""), "current-context: it", "", 1), "", "no current-context"},
		{"other context", strings.Replace(kubeconfig(server, "", ""), "current-context: it", "current-context: x", 1), "", "not among its contexts"},
		{"no cluster", strings.Replace(kubeconfig(server, "", ""), "cluster: service", "cluster: x", 1), "", "not among its clusters"},
		{"no user", strings.Replace(kubeconfig(server, "", ""), "user: server}", "user: x}", 1), "", "not among its users"},
		{"no server", kubeconfig("", "", ""), "", "no URL"},
		{"plain http", kubeconfig("http://127.0.0.1/a", "", ""), "", "not with https"},
		{"no scheme", kubeconfig("hook.example.org", "", ""), "", "no URL"},
		{"password in the URL", kubeconfig("https://u:hunter2@h/", "", ""), "", "give them in users"},
		{"query", kubeconfig(server+"?key=hunter2", "", ""), "", "query"},
		{"insecure", kubeconfig(server, ", insecure-skip-tls-verify: true", ""), "", "anybody answer"},
		{"no ca file", kubeconfig(server, ", certificate-authority: none", ""), "", "certificate-authority: open"},
		{"empty ca", kubeconfig(server, ", certificate-authority: empty", ""), "", "is empty"},
		{"bad ca", kubeconfig(server, ", certificate-authority: junk", ""), "", "no certificate"},
		{"bad proxy", kubeconfig(server, ", proxy-url: '::'", ""), "", "proxy-url"},
		{"certificate without key", kubeconfig(server, "", "client-certificate: ca.crt"), "", "belong together"},
		{"key without certificate", kubeconfig(server, "", "client-key: ca.key"), "", "belong together"},
		{"bad certificate", kubeconfig(server, "", "client-certificate: junk, client-key: junk"), "", "client-certificate and client-key"},
		{"no token file", kubeconfig(server, "", "tokenFile: none"), "", "tokenFile: open"},
		{"empty token file", kubeconfig(server, "", "tokenFile: empty"), "", "is empty"},
		{"broken token", kubeconfig(server, "", "tokenFile: broken"), "", "white space"},
		{"token and password", kubeconfig(server, "", "token: a, username: b"), "", "not both"},
		{"exec", kubeconfig(server, "", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}"), "", "run a program"},
		{"auth provider", kubeconfig(server, "", "auth-provider: {name: gcp}"), "", "auth-provider"},
		{"impersonation", kubeconfig(server, "", "as: admin"), "", "as- settings"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target, err := outcall.ReadTarget(filepath.Join(w.dir, "kubeconfig"), []byte(test.text), os.ReadFile)
			switch {
			case test.problem == "" && err != nil:
				t.Fatal(err)
			case test.problem == "" && target.URL() != test.url:
				t.Errorf("URL %q, want %q", target.URL(), test.url)
			case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)):
				t.Errorf("error %v, want one about %q", err, test.problem)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error %q tells a secret", err)
			}
		})
	}
}

// TestTargetShowsWhoItIs asks a server that wants a certificate or a token.
func TestTargetShowsWhoItIs(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		name := ""
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(rw, "%s %s %s/%s/%s", r.Method, r.URL.Path, name, r.Header.Get("Authorization"), user+password)
	}))
	server.TLS = serverTLS(t, w)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	writeClient(t, w)
	for _, test := range []struct{ cluster, user, answer, problem string }{
		{", certificate-authority: ca.crt", "", "POST /a //", ""},
		{", certificate-authority: ca.crt", "client-certificate: client.crt, client-key: client.key", "POST /a gatehouse//", ""},
		{", certificate-authority: ca.crt", "token: abc", "POST /a /Bearer abc/", ""},
		{", certificate-authority: ca.crt", "username: u, password: p", "POST /a /Basic dTpw/up", ""},
		{"", "", "", "unknown authority"},
		{", certificate-authority: ca.crt, tls-server-name: other.example.org", "", "", "other.example.org"},
	} {
		target, err := outcall.ReadTarget(filepath.Join(w.dir, "k"), []byte(kubeconfig(server.URL+"/a", test.cluster, test.user)), os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		client := outcall.New(t.Context(), outcall.Config{Log: quiet()}, target)
		err = client.Post(t.Context(), []byte("{}"), func(answer []byte) error { got = string(answer); return nil })
		if test.problem == "" && (err != nil || got != test.answer) || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
			t.Errorf("%s %s: %q, %v, want %q, %q", test.cluster, test.user, got, err, test.answer, test.problem)
		}
		client.Close()
	}
}

// writeClient makes the files of a client certificate.
func writeClient(t *testing.T, w world) {
	t.Helper()
	client, err := w.ca.IssueClient(pki.Client{CommonName: "gatehouse", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "client.crt", string(client.PEM))
	w.write(t, "client.key", string(client.Key.Reveal()))
}

// serverTLS is that of a server at 127.0.0.1 which asks for a certificate.
func serverTLS(t *testing.T, w world) *tls.Config {
	t.Helper()
	serving, err := pki.OpenServing(w.ca, w.dir, "serving", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{*serving.Certificate()}, ClientAuth: tls.RequestClientCert}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
