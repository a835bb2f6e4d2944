package kubeconfig_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/kubeconfig"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/secret"
)

func config(t *testing.T) (kubeconfig.Config, *pki.Authority) {
	t.Helper()
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.IssueClient(pki.Client{CommonName: "ann", Groups: []string{"g"}, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig.Config{
		Context: "gatehouse", Cluster: "here", User: "ann",
		Server: "https://127.0.0.1:6443", Authority: ca.PEM(), Certificate: client.PEM, Key: client.Key,
	}, ca
}

// client-go reads the file and gets through to a server that asks for all that
// is in it.
func TestClientGetsIn(t *testing.T) {
	c, ca := config(t)
	serving, err := pki.OpenServing(ca, t.TempDir(), "serving", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.Certificate())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.URL.Path, " ", r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*serving.Certificate()}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)

	c.Server = server.URL + "/clusters/x"
	path := filepath.Join(t.TempDir(), "dir", "config")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	file, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	context := file.Contexts[file.CurrentContext]
	if file.CurrentContext != "gatehouse" || context.Cluster != "here" || context.AuthInfo != "ann" || len(file.Clusters) != 1 {
		t.Errorf("context %q is %+v", file.CurrentContext, context)
	}
	rc, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(rc)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(rc.Host + "/version")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if want := "/clusters/x/version ann"; err != nil || string(body) != want {
		t.Errorf("answer %q, %v, want %q", body, err, want)
	}
}

func TestWriteRefuses(t *testing.T) {
	other, _ := config(t)
	for _, tt := range []struct {
		name   string
		change func(*kubeconfig.Config)
		want   string
	}{
		{"no server", func(c *kubeconfig.Config) { c.Server = "" }, "no URL like https://"},
		{"http", func(c *kubeconfig.Config) { c.Server = "http://a" }, "no URL like https://"},
		{"no scheme", func(c *kubeconfig.Config) { c.Server = "a:6443" }, "no URL like https://"},
		{"no host", func(c *kubeconfig.Config) { c.Server = "https://:6443" }, "no URL like https://"},
		{"password", func(c *kubeconfig.Config) { c.Server = "https://u:p@a" }, "no URL like https://"},
		{"query", func(c *kubeconfig.Config) { c.Server = "https://a/?x" }, "no URL like https://"},
		{"no context", func(c *kubeconfig.Config) { c.Context = "" }, "must have names"},
		{"no cluster", func(c *kubeconfig.Config) { c.Cluster = "" }, "must have names"},
		{"no user", func(c *kubeconfig.Config) { c.User = "" }, "must have names"},
		{"no authority", func(c *kubeconfig.Config) { c.Authority = nil }, "of the authority"},
		{"no certificate", func(c *kubeconfig.Config) { c.Certificate = nil }, "do not belong together"},
		{"no key", func(c *kubeconfig.Config) { c.Key = secret.Bytes{} }, "do not belong together"},
		{"key of another", func(c *kubeconfig.Config) { c.Key = other.Key }, "do not belong together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := config(t)
			tt.change(&c)
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.Write(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if left, err := os.ReadFile(path); err != nil || string(left) != "old" {
				t.Errorf("the file has %q, %v, want what was there", left, err)
			}
		})
	}
}
