package peers_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// A dex is Dex with the people jane, of the group dev, and joe, of none. It looks
// twice a minute whether its key is too old, which it always is.
type dex struct {
	*program
	issuer string
	site   *authority.Authority
}

// The password of both is the word. Dex takes no cheaper hash than this one.
const (
	word     = "s3same"
	wordHash = "$2a$10$CUaZLsI2IaUTlqXnOy0YC.dHavMadz9GquC7ESNjGgJK87JAB3gZi"
)

func startDex(t *testing.T) *dex {
	t.Helper()
	path := tools.Dex(t)
	address := "127.0.0.1:" + env.FreePort(t)
	d := &dex{issuer: "https://" + address + "/dex", site: authority.New(t, "site")}
	certFile, keyFile := d.site.Issue(t, "dex")
	file := filepath.Join(t.TempDir(), "dex.yaml")
	env.Write(t, file, fmt.Sprintf(`
issuer: %s
storage: {type: memory}
web: {https: %q, tlsCert: %s, tlsKey: %s}
signer: {type: local, config: {keysRotationPeriod: 1s}}
expiry: {idTokens: 1h}
oauth2: {passwordConnector: local}
enablePasswordDB: true
staticPasswords:
- {email: jane@example.org, username: jane, userID: "1", groups: [dev], hash: %q}
- {email: joe@example.org, username: joe, userID: "2", hash: %q}
staticClients:
- {id: kubernetes, name: kubernetes, secret: s3cret, redirectURIs: ['http://localhost:8000']}
- {id: other, name: other, secret: s3cret, redirectURIs: ['http://localhost:8000']}
`, d.issuer, address, certFile, keyFile, wordHash, wordHash))
	d.program = start(t, exec.Command(path, "serve", file))
	d.listens(address)
	return d
}

// token logs in by the grant of a password.
func (d *dex) token(c *caller, client, email string) (string, error) {
	answer, err := c.ask(d.issuer+"/token", client, url.Values{
		"grant_type": {"password"}, "username": {email}, "password": {word}, "scope": {"openid email groups"},
	})
	if err != nil {
		return "", err
	}
	return answer["id_token"].(string), nil
}

// TestDex logs in with tokens of Dex, by hand and by kubelogin, while Dex
// changes its key.
func TestDex(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	d := startDex(t)
	file := filepath.Join(t.TempDir(), "authentication.json")
	env.Write(t, file, authentication(t, d.issuer, d.site,
		`{"username":{"claim":"email","prefix":"dex:"},"groups":{"claim":"groups","prefix":"dex:"},"uid":{"claim":"sub"}}`))
	s := env.Start(t, "--authentication-config", file)
	c := newCaller(t, "", "")
	jane, err := d.token(c, "kubernetes", "jane@example.org")
	if err != nil {
		t.Fatal(err)
	}
	const janeIs = "dex:jane@example.org dex:dev,system:authenticated"
	becomes(t, janeIs, func() (string, error) { return c.whoami(s.Address, bearer(jane)) })

	// While all that follows goes on, Dex changes its key by itself.
	crowd := gather(t, s.Address, janeIs, func() (string, error) { return d.token(c, "kubernetes", "jane@example.org") })
	t.Run("refusals", func(t *testing.T) {
		other, err := d.token(c, "other", "jane@example.org")
		if err != nil {
			t.Fatal(err)
		}
		for name, token := range map[string]string{"another audience": other, "a spoiled signature": spoiled(t, jane)} {
			if got, err := c.whoami(s.Address, bearer(token)); got != "401 Unauthorized" || err != nil {
				t.Errorf("%s: %s, %v", name, got, err)
			}
		}
	})
	t.Run("kubelogin", func(t *testing.T) { kubelogin(t, d, s) })
	becomes(t, "2", func() (string, error) { return fmt.Sprint(len(strings.Fields(crowd.keys()))), nil })
	crowd.end(t)
}

// kubelogin logs in as kubectl's plugin.
func kubelogin(t *testing.T, d *dex, s *env.Server) {
	newKubectl(t, s.Kubeconfig).must(t, "create", "rolebinding", "dev", "--clusterrole=edit", "--group=dex:dev")
	plugin := tools.Kubelogin(t)
	user := func(email, password string) *kubectl {
		exec, err := json.Marshal(map[string]any{"exec": map[string]any{
			"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": plugin,
			"args": []string{
				"get-token", "--oidc-issuer-url", d.issuer, "--oidc-client-id", "kubernetes", "--oidc-client-secret", "s3cret",
				"--certificate-authority", d.site.File, "--oidc-extra-scope", "email,groups",
				"--grant-type", "password", "--username", email, "--password", password,
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return withUser(t, s.Address, filepath.Join(s.DataDir, "ca.crt"), string(exec))
	}
	jane, joe := user("jane@example.org", word), user("joe@example.org", word)
	if got, want := jane.whoami(t), "dex:jane@example.org dex:dev,system:authenticated"; got != want {
		t.Errorf("jane is %s, want %s", got, want)
	}
	if got, want := joe.whoami(t), "dex:joe@example.org system:authenticated"; got != want {
		t.Errorf("joe is %s, want %s", got, want)
	}
	// The second time the token is from the plugin's cache.
	jane.must(t, "create", "configmap", "greeting", "--from-literal=text=hello")
	if got := jane.must(t, "get", "configmap", "greeting", "--output=jsonpath={.data.text}"); got != "hello" {
		t.Errorf("read %q", got)
	}
	joe.refused(t, `User "dex:joe@example.org" cannot get resource "configmaps"`, "get", "configmap", "greeting")
	user("jane@example.org", "wrong").refused(t, "getting credentials", "get", "configmap", "greeting")
}
