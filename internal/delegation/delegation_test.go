package delegation_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/delegation"
	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/pki"
)

func client(t *testing.T) *delegation.Client {
	t.Helper()
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := issuing.Webhook(ca, "prod", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &delegation.Client{
		Name: "gatehouse:webhook:prod", Server: "https://gatehouse.example.org:6443", Authority: ca.PEM(),
		Certificate: cert.PEM, Key: cert.Key, Until: cert.Certificate.NotAfter,
		Directory: t.TempDir(), CacheTTL: 45 * time.Second,
	}
}

// What kube-apiserver reads and checks at its start takes the files.
func TestFiles(t *testing.T) {
	for _, base := range []string{"https://gatehouse.example.org:6443", "https://gatehouse.example.org/front/"} {
		c := client(t)
		c.Server = base
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		files, err := c.Files()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(c.Directory, f.Name), f.Data.Reveal(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for name, path := range map[string]string{
			delegation.TokenReview:  "/apis/authentication.k8s.io/v1/tokenreviews",
			delegation.AccessReview: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
		} {
			config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.Directory, name))
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(base, "/") + path; config.Host != want {
				t.Errorf("%s leads to %s, want %s", name, config.Host, want)
			}
		}
		config, err := load.LoadFromFile(filepath.Join(c.Directory, delegation.Authorization))
		if err != nil {
			t.Fatal(err)
		}
		known := sets.New("Node", "Webhook", "RBAC")
		if errs := validation.ValidateAuthorizationConfiguration(cel.NewDefaultCompiler(), nil, config, known, sets.New("Webhook")); len(errs) > 0 {
			t.Errorf("Kubernetes refuses %s: %v", delegation.Authorization, errs)
		}
		if hook := config.Authorizers[1].Webhook; hook.AuthorizedTTL.Duration != c.CacheTTL || hook.UnauthorizedTTL.Duration != c.CacheTTL {
			t.Errorf("the cache times are %v and %v, want %v", hook.AuthorizedTTL, hook.UnauthorizedTTL, c.CacheTTL)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*delegation.Client)
		want   string
	}{
		{"no cache", func(c *delegation.Client) { c.CacheTTL = 0 }, "cannot be believed for 0s"},
		{"time before now", func(c *delegation.Client) { c.CacheTTL = -time.Minute }, "cannot be believed"},
		{"no directory", func(c *delegation.Client) { c.Directory = "" }, "cannot find files"},
		{"relative directory", func(c *delegation.Client) { c.Directory = "gatehouse" }, "cannot find files"},
		{"blank", func(c *delegation.Client) { c.Directory = "/my files" }, "cannot find files"},
		{"line break", func(c *delegation.Client) { c.Directory = "/x\n--anonymous-auth=true" }, "cannot find files"},
		{"no server", func(c *delegation.Client) { c.Server = "" }, "no URL"},
		{"in the clear", func(c *delegation.Client) { c.Server = "http://gatehouse.example.org" }, "no URL"},
		{"no scheme", func(c *delegation.Client) { c.Server = "gatehouse.example.org:6443" }, "no URL"},
	} {
		c := client(t)
		tt.change(c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	c := client(t)
	c.Server += "?x=y"
	if _, err := c.Files(); err == nil {
		t.Error("a server with a query is taken")
	}
}

// Nothing in the text can be taken for a flag that is none, and it says how
// long what was taken back still counts.
func TestGuide(t *testing.T) {
	c := client(t)
	text, err := c.Guide()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "--") {
			t.Errorf("%q is neither prose nor a flag", line)
		}
	}
	for _, want := range []string{
		"--authentication-token-webhook-cache-ttl=45s\n", "--authorization-webhook-cache-authorized-ttl=45s\n",
		"--authorization-config=" + c.Directory + "/authorization.yaml\n", "for up to 55s", "ends on " + c.Until.UTC().Format(time.RFC3339),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for server, want := range map[string]bool{
		"https://127.0.0.1:6443": true, "https://[::1]:6443": true, "https://localhost": true,
		"https://10.0.0.1:6443": false, "https://gatehouse.example.org": false,
	} {
		c.Server = server
		text, err := c.Guide()
		if err != nil || strings.Contains(text, "is this machine") != want {
			t.Errorf("%s is this machine (%v): %v", server, err, !want)
		}
	}
}
