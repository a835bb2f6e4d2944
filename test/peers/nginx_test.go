package peers_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// careless is a server that passes on whatever its clients send, also names
// that nginx itself takes for an attack, and sets only what it has to.
const careless = `
server {
    listen 127.0.0.1:8444 ssl;
    ssl_certificate     site.crt;
    ssl_certificate_key site.key;
    auth_basic           "cluster";
    auth_basic_user_file users;
    underscores_in_headers on;
    ignore_invalid_headers off;
    location / {
        proxy_pass                    https://127.0.0.1:6443;
        proxy_ssl_certificate         front.crt;
        proxy_ssl_certificate_key     front.key;
        proxy_ssl_verify              on;
        proxy_ssl_trusted_certificate gatehouse-ca.crt;
        proxy_ssl_name                localhost;
        proxy_http_version            1.1;
        proxy_set_header Connection     $http_connection;
        proxy_set_header X-Remote-User  $remote_user;
        proxy_set_header X-Remote-Group $group;
    }
}
`

// TestNginx puts nginx before Gatehouse, as the page about proxies says, and
// kubectl before nginx.
func TestNginx(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	proxies, clients := authority.New(t, "proxies"), authority.New(t, "clients")
	tokens := filepath.Join(t.TempDir(), "tokens.csv")
	env.Write(t, tokens, "joes-t0ken,joe,7\n")
	s := env.Start(t, "--client-ca-file", clients.File, "--token-auth-file", tokens,
		"--requestheader-client-ca-file", proxies.File, "--requestheader-allowed-names", "front",
		"--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-")
	n := startNginx(t, s, proxies)

	t.Run("kubectl", func(t *testing.T) { throughNginx(t, s, n) })
	t.Run("claims", func(t *testing.T) { claimThroughNginx(t, n) })
	t.Run("direct", func(t *testing.T) { claimDirectly(t, s, proxies, clients) })
}

// An nginx has the addresses of the server from the page, and of the careless
// one, and the CA of both.
type nginx struct{ address, careless, caFile string }

// startNginx starts nginx with the configuration from the page.
func startNginx(t *testing.T, s *env.Server, proxies *authority.Authority) *nginx {
	t.Helper()
	path := find(t, "nginx")
	dir := t.TempDir()
	site := authority.New(t, "site")
	site.Issue(t, "site")
	proxies.Issue(t, "front")
	for _, file := range []string{
		filepath.Join(site.Dir, "site.crt"), filepath.Join(site.Dir, "site.key"),
		filepath.Join(proxies.Dir, "front.crt"), filepath.Join(proxies.Dir, "front.key"),
	} {
		env.Write(t, filepath.Join(dir, filepath.Base(file)), env.Read(t, file))
	}
	env.Write(t, filepath.Join(dir, "gatehouse-ca.crt"), env.Read(t, filepath.Join(s.DataDir, "ca.crt")))
	env.Write(t, filepath.Join(dir, "users"), "jane:{PLAIN}janes-w0rd\nbob:{PLAIN}bobs-w0rd\n")

	page := env.Read(t, filepath.Join(tools.Root(t), "docs", "authenticating-proxy.md"))
	shown := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindStringSubmatch(page)
	if shown == nil {
		t.Fatal("docs/authenticating-proxy.md shows no configuration of nginx")
	}
	port, other := env.FreePort(t), env.FreePort(t)
	servers := strings.NewReplacer("listen 8443", "listen 127.0.0.1:"+port, "127.0.0.1:8444", "127.0.0.1:"+other,
		"https://127.0.0.1:6443", s.Address).Replace(shown[1] + careless)
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // whose the folders of a test are
	}
	env.Write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`%s
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
%s}
`, user, servers))
	p := start(t, exec.Command(path, "-p", dir, "-c", "nginx.conf", "-e", "stderr"))
	p.listens("127.0.0.1:" + port)
	p.listens("127.0.0.1:" + other)
	return &nginx{"https://127.0.0.1:" + port, "https://127.0.0.1:" + other, site.File}
}

// throughNginx is what people do: they log in to nginx, and are somebody to
// Gatehouse.
func throughNginx(t *testing.T, s *env.Server, n *nginx) {
	admin := newKubectl(t, s.Kubeconfig)
	admin.must(t, "create", "rolebinding", "dev", "--clusterrole=edit", "--group=dev", "--namespace=default")
	user := func(name, password string) *kubectl {
		return withUser(t, n.address, n.caFile, fmt.Sprintf(`{"username":%q,"password":%q}`, name, password))
	}
	jane, bob := user("jane", "janes-w0rd"), user("bob", "bobs-w0rd")
	if got, want := jane.whoami(t), "jane dev,system:authenticated via=nginx"; got != want {
		t.Errorf("jane is %s, want %s", got, want)
	}
	if got, want := bob.whoami(t), "bob system:authenticated via=nginx"; got != want {
		t.Errorf("bob is %s, want %s", got, want)
	}

	// A watch is not held back until there is enough to send.
	watch := start(t, jane.command("get", "configmaps", "--watch", "--output=name"))
	jane.must(t, "create", "configmap", "greeting", "--from-literal=text=hello")
	becomes(t, "configmap/greeting", func() (string, error) {
		seen := regexp.MustCompile("configmap/greeting").FindString(watch.log.String())
		return seen, nil
	})
	watch.stop()
	if got := jane.must(t, "get", "configmap", "greeting", "--output=jsonpath={.data.text}"); got != "hello" {
		t.Errorf("read %q", got)
	}
	bob.refused(t, `User "bob" cannot get resource "configmaps"`, "get", "configmap", "greeting")
	user("jane", "wrong").refused(t, "must be logged in", "get", "configmaps")
	// Nobody becomes himself because his wish to be another was lost.
	jane.refused(t, "Forbidden", "get", "configmap", "greeting", "--as=bob")
}

// claims are headers by which a caller says who he is, in every way that some
// server has believed.
func claims() map[string]http.Header {
	return map[string]http.Header{
		"the header":        {"X-Remote-User": {"root"}},
		"twice":             {"X-Remote-User": {"root", "admin"}},
		"lower case":        {"x-remote-user": {"root"}},
		"underscores":       {"X_Remote_User": {"root"}, "X_Remote_Group": {"system:masters"}},
		"mixed underscores": {"X-Remote_User": {"root"}, "x_remote-group": {"system:masters"}},
		"upper case":        {"X_REMOTE_USER": {"root"}, "HTTP_X_REMOTE_USER": {"root"}},
		"groups":            {"X-Remote-Group": {"system:masters"}},
		"listed groups":     {"x-remote-group": {"a,system:masters", "system:masters"}},
		"dropped user":      {"Connection": {"X-Remote-User"}, "X-Remote-User": {"root"}},
		"dropped all":       {"Connection": {"close, x-remote-user, X-Remote-Group, x-remote-extra-via"}},
		"dropped in TE":     {"Te": {"X-Remote-User"}, "Keep-Alive": {"X-Remote-User"}},
		"UID":               {"X-Remote-Uid": {"0"}},
	}
}

// claimThroughNginx has nginx's own users claim to be others.
func claimThroughNginx(t *testing.T, n *nginx) {
	c := newCaller(t, "", "")
	basic := func(user string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+user+"s-w0rd"))
	}
	for name, header := range claims() {
		for user, groups := range map[string]string{"jane": "dev,system:authenticated", "bob": "system:authenticated"} {
			header["Authorization"] = []string{basic(user)}
			for address, want := range map[string]string{
				n.address:  user + " " + groups + " via=nginx",
				n.careless: user + " " + groups,
			} {
				if got, err := c.whoami(address, header); got != want || err != nil {
					t.Errorf("%s, %s at %s: %s, %v, want %s", name, user, address, got, err, want)
				}
			}
		}
	}
	// What begins with a prefix cannot be taken away by nginx, only left out.
	extra := http.Header{"Authorization": {basic("jane")}, "X-Remote-Extra-Via": {"moon"}, "X-Remote-Extra-Team": {"red"}}
	if got, err := c.whoami(n.address, extra); got != "jane dev,system:authenticated via=nginx" || err != nil {
		t.Errorf("a claim of extra attributes: %s, %v", got, err)
	}
}

// claimDirectly goes round the proxy.
func claimDirectly(t *testing.T, s *env.Server, proxies, clients *authority.Authority) {
	strangers := authority.New(t, "proxies") // the name alone
	for name, test := range map[string]struct {
		by     *authority.Authority // nil is no certificate
		cn     string
		bearer string
		want   string
	}{
		"nobody":              {nil, "", "", "403 Forbidden"},
		"a token":             {nil, "", "joes-t0ken", "joe system:authenticated"},
		"a client":            {clients, "ann", "", "ann system:authenticated"},
		"a client named so":   {clients, "front", "", "front system:authenticated"},
		"a stranger named so": {strangers, "front", "", "401 Unauthorized"},
		"not an allowed name": {proxies, "back", "", "401 Unauthorized"},
	} {
		var certFile, keyFile string
		if test.by != nil {
			certFile, keyFile = test.by.Issue(t, test.cn)
		}
		c := newCaller(t, certFile, keyFile)
		for claim, header := range claims() {
			if test.bearer != "" {
				header["Authorization"] = []string{"Bearer " + test.bearer}
			}
			if got, err := c.whoami(s.Address, header); got != test.want || err != nil {
				t.Errorf("%s, %s: %s, %v, want %s", name, claim, got, err, test.want)
			}
		}
	}
}
