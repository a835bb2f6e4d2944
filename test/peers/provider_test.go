package peers_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// redirect is where the provider sends people who have logged in.
const redirect = "https://client.example.org/callback"

// A provider is oidc-provider, which is certified by the OpenID Foundation.
type provider struct {
	*program
	issuer   string
	site     *authority.Authority
	keys     []map[string]string // the first of each kind signs
	keysFile string
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	node := find(t, "node")
	find(t, "npm")
	program := filepath.Join(tools.NodeProgram(t, filepath.Join("testdata", "provider")), "provider.js")
	port := env.FreePort(t)
	p := &provider{
		issuer: "https://127.0.0.1:" + port, site: authority.New(t, "site"), keysFile: filepath.Join(t.TempDir(), "keys.json"),
	}
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.keys = append(p.keys, jwk(t, "people", signer))
	p.newKey(t, "robots-1")
	certFile, keyFile := p.site.Issue(t, "provider")
	settings, err := json.Marshal(map[string]string{
		"issuer": p.issuer, "port": port, "cert": certFile, "key": keyFile, "keys": p.keysFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "settings.json")
	env.Write(t, file, string(settings))
	p.program = start(t, exec.Command(node, program, file))
	p.listens("127.0.0.1:" + port)
	return p
}

// newKey puts a key before all others.
func (p *provider) newKey(t *testing.T, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.keys = append([]map[string]string{jwk(t, id, key)}, p.keys...)
	text, err := json.Marshal(map[string]any{"keys": p.keys})
	if err != nil {
		t.Fatal(err)
	}
	env.Write(t, p.keysFile, string(text))
}

// rotate has the provider sign with a new key, and publish the old ones.
func (p *provider) rotate(t *testing.T, id string) {
	t.Helper()
	p.newKey(t, id)
	read := strings.Count(p.log.String(), "keys read")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	becomes(t, strconv.Itoa(read+1), func() (string, error) {
		return strconv.Itoa(strings.Count(p.log.String(), "keys read")), nil
	})
}

// jwk is a private key as RFC 7518 section 6 writes it.
func jwk(t *testing.T, id string, key crypto.Signer) map[string]string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return map[string]string{
			"kid": id, "use": "sig", "alg": "RS256", "kty": "RSA", "e": "AQAB", "n": b64(key.N.Bytes()), "d": b64(key.D.Bytes()),
			"p": b64(key.Primes[0].Bytes()), "q": b64(key.Primes[1].Bytes()),
			"dp": b64(key.Precomputed.Dp.Bytes()), "dq": b64(key.Precomputed.Dq.Bytes()), "qi": b64(key.Precomputed.Qinv.Bytes()),
		}
	case *ecdsa.PrivateKey:
		private, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		public, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{
			"kid": id, "use": "sig", "alg": "ES256", "kty": "EC", "crv": "P-256",
			"x": b64(public[1:33]), "y": b64(public[33:]), "d": b64(private),
		}
	}
	t.Fatalf("a key of type %T", key)
	return nil
}

// robot gets a token by the grant of client credentials: an access token that is
// a JWT (RFC 9068).
func (p *provider) robot(c *caller) (string, error) {
	answer, err := c.ask(p.issuer+"/token", "robot", url.Values{"grant_type": {"client_credentials"}})
	if err != nil {
		return "", err
	}
	return answer["access_token"].(string), nil
}

// person logs in as a browser does, and gets an ID token.
func (p *provider) person(t *testing.T, name string) string {
	t.Helper()
	c := newCaller(t, "", "")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	next := p.issuer + "/auth?" + url.Values{
		"client_id": {"kubernetes"}, "response_type": {"code"}, "scope": {"openid groups"}, "redirect_uri": {redirect}, "nonce": {"n"},
	}.Encode()
	var form url.Values
	for range 20 {
		next, form = step(t, c, next, form, name)
		if !strings.HasPrefix(next, redirect) {
			continue
		}
		back, err := url.Parse(next)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.ask(p.issuer+"/token", "kubernetes", url.Values{
			"grant_type": {"authorization_code"}, "redirect_uri": {redirect}, "code": {back.Query().Get("code")},
		})
		if err != nil {
			t.Fatalf("changing %s for a token: %v", next, err)
		}
		return answer["id_token"].(string)
	}
	t.Fatalf("the login does not end: at %s", next)
	return ""
}

// prompt is what a page of the provider asks for: a login, or consent.
var prompt = regexp.MustCompile(`name="prompt" value="(\w+)"`)

// step goes on to the next page, by following a redirect or filling in a form.
func step(t *testing.T, c *caller, address string, form url.Values, name string) (string, url.Values) {
	t.Helper()
	var res *http.Response
	var err error
	if form == nil {
		res, err = c.Get(address)
	} else {
		res, err = c.PostForm(address, form)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if to, err := res.Location(); err == nil {
		return to.String(), nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	asked := prompt.FindSubmatch(body)
	if asked == nil {
		t.Fatalf("%s: %s %s", address, res.Status, body)
	}
	return address, url.Values{"prompt": {string(asked[1])}, "login": {name}, "password": {"any"}}
}

// TestProvider logs in with tokens of a certified provider.
func TestProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	p := startProvider(t)
	c := newCaller(t, "", "")
	jane := p.person(t, "jane")
	robot, err := p.robot(c)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("flags", func(t *testing.T) {
		s := env.Start(t, "--oidc-issuer-url", p.issuer, "--oidc-client-id", "kubernetes", "--oidc-ca-file", p.site.File,
			"--oidc-username-prefix", "o:", "--oidc-groups-claim", "groups", "--oidc-groups-prefix", "g:")
		becomes(t, "o:jane g:dev,system:authenticated", func() (string, error) { return c.whoami(s.Address, bearer(jane)) })
		const refused = "401 Unauthorized"
		for name, token := range map[string]string{
			"another algorithm": robot, "a spoiled signature": spoiled(t, jane), "no signature": jane[:strings.LastIndexByte(jane, '.')+1],
			"an access token that is no JWT": "PM0YWxhQEr-fJXNyoEsKk5DY1lMt9ikhFtRXTVtvLFY",
		} {
			if got, err := c.whoami(s.Address, bearer(token)); got != refused || err != nil {
				t.Errorf("%s: %s, %v, want %s", name, got, err, refused)
			}
		}
		// kubectl needs to know nothing of where its token is from.
		k := withUser(t, s.Address, filepath.Join(s.DataDir, "ca.crt"), fmt.Sprintf(`{"token":%q}`, p.person(t, "joe")))
		if got, want := k.whoami(t), "o:joe g:dev,system:authenticated"; !strings.HasPrefix(got, want) {
			t.Errorf("kubectl is %s, want %s", got, want)
		}
	})

	t.Run("rotation", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "authentication.json")
		env.Write(t, file, authentication(t, p.issuer, p.site, `{"username":{"expression":"'robot:' + claims.client_id"}}`))
		s := env.Start(t, "--authentication-config", file)
		const want = "robot:robot system:authenticated"
		becomes(t, want, func() (string, error) { return c.whoami(s.Address, bearer(robot)) })
		crowd := gather(t, s.Address, want, func() (string, error) { return p.robot(c) })
		crowd.annoy(t, s.Address, robot)
		keys := "robots-1"
		for _, id := range []string{"robots-2", "robots-3", "robots-4"} {
			p.rotate(t, id)
			keys += " " + id
			becomes(t, keys, func() (string, error) { return crowd.keys(), nil })
		}
		crowd.end(t)
		if got, err := c.whoami(s.Address, bearer(spoiled(t, robot))); got != "401 Unauthorized" || err != nil {
			t.Errorf("a spoiled signature: %s, %v", got, err)
		}
		p.stop()
		// What was good stays so without the provider; nothing else becomes so.
		for token, want := range map[string]string{robot: want, spoiled(t, robot): "401 Unauthorized"} {
			if got, err := c.whoami(s.Address, bearer(token)); got != want || err != nil {
				t.Errorf("without the provider: %s, %v, want %s", got, err, want)
			}
		}
	})
}
