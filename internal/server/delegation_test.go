package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"gatehouse.dev/gatehouse/internal/server"
)

func delegate(t *testing.T, dir string) server.Delegation {
	return server.Delegation{
		DataDir: dir, Cluster: "prod", Output: filepath.Join(t.TempDir(), "prod"),
		Directory: "/etc/kubernetes/gatehouse", CacheTTL: time.Minute, Lifetime: time.Hour,
	}
}

// An API server may make the two reviews, and do nothing else with its
// certificate; who made it is written down.
func TestDelegation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	serve(t, configure(dir))
	d := delegate(t, dir)
	files, _, err := d.Make()
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	tokens, access := filepath.Join(d.Output, "token-review.kubeconfig"), filepath.Join(d.Output, "access-review.kubeconfig")
	token := authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "guessed"}}
	if code := call(t, tokens, "POST", "", &token, &token); code != 201 || token.Status.Authenticated || token.Status.Error == "" {
		t.Errorf("a review of a token: %d, %+v", code, token.Status)
	}
	may := authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "jane", ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "secrets"},
	}}
	if code := call(t, access, "POST", "", &may, &may); code != 201 || may.Status.Allowed {
		t.Errorf("a review of access: %d, %+v", code, may.Status)
	}
	for _, file := range []string{tokens, access} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the kubeconfig: %v, %v", info.Mode(), err)
		}
	}
	at, client := way(t, tokens)
	base, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/secrets", "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/metrics"} {
		base.Path = path
		res, err := client.Get(base.String())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "admin-audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var event auditv1.Event
	if err := json.Unmarshal(text, &event); err != nil || event.RequestURI != "gatehouse webhook config prod" ||
		event.Annotations["authentication.gatehouse.dev/issued"] != "gatehouse:webhook:prod" || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("written down: %s (%v)", text, err)
	}
}

func TestRefusedDelegation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := serve(t, configure(dir))
	stop()
	taken := t.TempDir()
	kept := filepath.Join(taken, "access-review.kubeconfig")
	if err := os.WriteFile(kept, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		spoil func(*server.Delegation)
		says  string
	}{
		{"no authority", func(d *server.Delegation) { d.DataDir = t.TempDir() }, "holds no authority"},
		{"odd name", func(d *server.Delegation) { d.Cluster = "prod\n" }, "is not valid"},
		{"file that is there", func(d *server.Delegation) { d.Output = taken }, kept + " is there already"},
		{"server in the clear", func(d *server.Delegation) { d.Server = "http://a.example.org" }, "no URL"},
		{"server with a query", func(d *server.Delegation) { d.Server = "https://a.example.org?x" }, "no URL"},
		{"longer than a year", func(d *server.Delegation) { d.Lifetime = 366 * 24 * time.Hour }, "cannot live for"},
		{"relative directory", func(d *server.Delegation) { d.Directory = "here" }, "cannot find files"},
		{"no cache", func(d *server.Delegation) { d.CacheTTL = 0 }, "cannot be believed"},
	} {
		d := delegate(t, dir)
		tt.spoil(&d)
		if files, text, err := d.Make(); err == nil || !strings.Contains(err.Error(), tt.says) || files != nil || text != "" {
			t.Errorf("%s: got %v, want it to say %q", tt.name, err, tt.says)
		}
		if _, err := os.Stat(filepath.Join(d.Output, "token-review.kubeconfig")); err == nil {
			t.Errorf("%s: a file was written all the same", tt.name)
		}
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "mine" {
		t.Errorf("the file that was there has %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "admin-audit.log")); err == nil {
		t.Error("what was refused is in the log of what was issued")
	}
	// What cannot be written down is not handed out.
	if err := os.Mkdir(filepath.Join(dir, "admin-audit.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := delegate(t, dir)
	if files, _, err := d.Make(); err == nil || !strings.Contains(err.Error(), "opening audit log") || files != nil {
		t.Errorf("without a log: %v", err)
	}
	if _, err := os.Stat(d.Output); err == nil {
		t.Error("without a log the files were written")
	}
}
