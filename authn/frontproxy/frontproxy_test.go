package frontproxy_test

import (
	"errors"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/ladder"
)

var standard = frontproxy.Headers{
	Username: []string{"X-Remote-User"}, UID: []string{"X-Remote-Uid"},
	Groups: []string{"X-Remote-Group"}, ExtraPrefixes: []string{"X-Remote-Extra-"},
}

func TestHeaders(t *testing.T) {
	own := frontproxy.Headers{
		Username: []string{"x-first", "X-SECOND"}, Groups: []string{"g-one", "g-two"}, ExtraPrefixes: []string{"e-", "e-x-"},
	}
	authenticated := []string{identity.GroupAuthenticated}
	for _, test := range []struct {
		name    string
		headers frontproxy.Headers
		sent    http.Header
		want    *identity.Identity // nil if refused or none
		err     string             // "" if nothing is claimed
	}{
		{"user", standard, http.Header{"X-Remote-User": {"jane"}}, &identity.Identity{Name: "jane", Groups: authenticated}, ""},
		{"all", standard, http.Header{
			"X-Remote-User": {"jane"}, "X-Remote-Uid": {"7"}, "X-Remote-Group": {"a,b", "", "c"},
			"X-Remote-Extra-Scopes": {"r", "w"}, "X-Remote-Extra-Example.org%2fkey": {"v"}, "X-Remote-Extra-%zz": {"raw"},
		}, &identity.Identity{Name: "jane", UID: "7", Groups: []string{"a,b", "c", identity.GroupAuthenticated}, Extra: map[string][]string{
			"scopes": {"r", "w"}, "example.org/key": {"v"}, "%zz": {"raw"},
		}}, ""},
		{"second name, two groups", own, http.Header{"X-First": {""}, "X-Second": {"jane"}, "G-Two": {"2"}, "G-One": {"1"}},
			&identity.Identity{Name: "jane", Groups: []string{"1", "2", identity.GroupAuthenticated}}, ""},
		{"first name wins", own, http.Header{"X-First": {"joe"}, "X-Second": {"jane"}}, &identity.Identity{Name: "joe", Groups: authenticated}, ""},
		{"two prefixes", own, http.Header{"X-First": {"joe"}, "E-X-K": {"v"}},
			&identity.Identity{Name: "joe", Groups: authenticated, Extra: map[string][]string{"x-k": {"v"}, "k": {"v"}}}, ""},
		{"one key of two names", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Extra-%61": {"1"}, "X-Remote-Extra-A": {"2"}},
			&identity.Identity{Name: "j", Groups: authenticated, Extra: map[string][]string{"a": {"1", "2"}}}, ""},
		{"anonymous", standard, http.Header{"X-Remote-User": {"system:anonymous"}}, &identity.Identity{Name: "system:anonymous"}, ""},
		{"unauthenticated", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Group": {"system:unauthenticated"}},
			&identity.Identity{Name: "j", Groups: []string{"system:unauthenticated"}}, ""},
		{"masters", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Group": {"system:masters"}},
			&identity.Identity{Name: "j", Groups: []string{"system:masters", identity.GroupAuthenticated}}, ""},

		{"nothing", standard, http.Header{}, nil, ""},
		{"no user", standard, http.Header{"X-Remote-Group": {"a"}}, nil, ""},
		{"empty user", standard, http.Header{"X-Remote-User": {""}}, nil, ""},
		{"underscores", standard, http.Header{"X_remote_user": {"jane"}}, nil, ""},
		{"not configured", own, http.Header{"X-Remote-User": {"jane"}}, nil, ""},
		{"two users", standard, http.Header{"X-Remote-User": {"jane", "root"}}, nil, "X-Remote-User is given 2 times"},
		{"empty and another user", standard, http.Header{"X-Remote-User": {"", "root"}}, nil, "X-Remote-User is given 2 times"},
		{"two UIDs", standard, http.Header{"X-Remote-User": {"jane"}, "X-Remote-Uid": {"1", "2"}}, nil, "X-Remote-Uid is given 2 times"},
		{"user not UTF-8", standard, http.Header{"X-Remote-User": {"j\xff"}}, nil, "X-Remote-User is not UTF-8"},
		{"UID not UTF-8", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Uid": {"\xff"}}, nil, "X-Remote-Uid is not UTF-8"},
		{"group not UTF-8", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Group": {"a", "\xff"}}, nil, "a group in X-Remote-Group is not UTF-8"},
		{"key not UTF-8", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Extra-%ff": {"a"}}, nil, "X-Remote-Extra-%ff is not UTF-8"},
		{"value not UTF-8", standard, http.Header{"X-Remote-User": {"j"}, "X-Remote-Extra-A": {"\xff"}}, nil, "X-Remote-Extra-A is not UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newCA(t)
			a := open(t, frontproxy.Config{CA: root.bundle(t), Headers: test.headers})
			res, err := a.Authenticate(request(test.sent, root.issue(t, "proxy")))
			if why := ladder.Why(t, err); test.err != "" && why != "malformed: headers" {
				t.Errorf("%v is explained by %q", err, why)
			}
			switch {
			case test.want != nil:
				if err != nil {
					t.Fatal(err)
				}
				got := *res.Identity
				got.Credential = identity.Credential{}
				if !reflect.DeepEqual(&got, test.want) {
					t.Errorf("got %+v, want %+v", &got, test.want)
				}
			case err == nil:
				t.Errorf("accepted as %+v", res.Identity)
			case test.err == "" && !errors.Is(err, authn.ErrNoCredential):
				t.Errorf("refused: %v, want no credential", err)
			case test.err != "" && (errors.Is(err, authn.ErrNoCredential) || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}

func TestProxies(t *testing.T) {
	root, stranger := newCA(t), newCA(t)
	claim := http.Header{"X-Remote-User": {"jane"}}
	for _, test := range []struct {
		name    string
		allowed []string
		r       *http.Request
		err     string
	}{
		{"any name", nil, request(claim, root.issue(t, "anything")), ""},
		{"no name", nil, request(claim, root.issue(t, "")), ""},
		{"allowed name", []string{"a", "proxy"}, request(claim, root.issue(t, "proxy")), ""},
		{"other name", []string{"a", "proxy"}, request(claim, root.issue(t, "Proxy")), "x509: subject with cn=Proxy is not in the allowed list"},
		{"no name where names are given", []string{"a"}, request(claim, root.issue(t, "")), "cn= is not in the allowed list"},
		{"no certificate", nil, request(claim), "no client certificate"},
		{"another CA", nil, request(claim, stranger.issue(t, "proxy")), "unknown authority"},
		{"another CA beside the right one", nil, request(claim, stranger.issue(t, "proxy"), root.cert), "unknown authority"},
		{"the CA itself", nil, request(claim, root.cert), "CA certificate"},
		{"expired", nil, request(claim, root.until(t, "proxy", time.Now().Add(-time.Minute))), "expired"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := open(t, frontproxy.Config{CA: root.bundle(t), AllowedNames: test.allowed, Headers: standard})
			for range 2 { // the second from what the connection remembers
				res, err := a.Authenticate(test.r)
				if why := ladder.Why(t, err); strings.Contains(test.err, "allowed list") && why != "untrusted: common name (CN)" ||
					strings.Contains(test.err, "authority") && why != "untrusted: issuer" || test.err == "expired" && why != "expired: not after" {
					t.Errorf("%v is explained by %q", err, why)
				}
				switch {
				case test.err == "" && err != nil:
					t.Errorf("refused: %v", err)
				case test.err == "":
					checkCredential(t, res, test.r)
				case err == nil || !strings.Contains(err.Error(), test.err):
					t.Errorf("got %v, want %q", err, test.err)
				}
			}
		})
	}
}

// checkCredential checks that the proxy's certificate is the credential.
func checkCredential(t *testing.T, res *authn.Result, r *http.Request) {
	t.Helper()
	leaf := r.TLS.PeerCertificates[0]
	c := res.Identity.Credential
	if c.Method != identity.FrontProxy || !strings.HasPrefix(c.ID, "X509SHA256=") || !strings.HasPrefix(c.Issuer, "X509SHA256=") ||
		c.ID == c.Issuer || !c.ExpiresAt.Equal(leaf.NotAfter) || res.Until.Before(leaf.NotAfter) || !res.Fresh(time.Now()) {
		t.Errorf("credential %+v of a result until %v", c, res.Until)
	}
	if res.Identity.Extra[identity.CredentialIDKey] != nil {
		t.Error("the proxy's certificate passes for the user's")
	}
}

// One connection may carry requests of many users.
func TestManyUsersOnOneConnection(t *testing.T) {
	root := newCA(t)
	a := open(t, frontproxy.Config{CA: root.bundle(t), Headers: standard})
	r := request(http.Header{}, root.issue(t, "proxy"))
	for _, name := range []string{"jane", "joe", "", "jane"} {
		r.Header = http.Header{"X-Remote-User": {name}}
		res, err := a.Authenticate(r)
		if (err == nil) != (name != "") || err == nil && res.Identity.Name != name {
			t.Errorf("%q: %+v, %v", name, res, err)
		}
	}
}

func TestSharedCA(t *testing.T) {
	root, other := newCA(t), newCA(t)
	proxies, clients := root.bundle(t), newFile(t, other.cert)
	config := frontproxy.Config{CA: proxies, ClientCAs: []*clientcert.Bundle{root.bundle(t)}, Headers: standard}
	if _, err := frontproxy.New(config); err == nil || !strings.Contains(err.Error(), "could act as anybody") {
		t.Errorf("shared CA: %v", err)
	}
	config.AllowedNames = []string{"proxy"}
	if _, err := frontproxy.New(config); err != nil {
		t.Errorf("shared CA with names: %v", err)
	}

	// A file that comes to be shared later ends the trust, and that at once.
	config.AllowedNames, config.ClientCAs = nil, []*clientcert.Bundle{clients.bundle}
	a := open(t, config)
	r := request(http.Header{"X-Remote-User": {"jane"}}, root.issue(t, "client"))
	for i, now := range [][]*ca{{other}, {other, root}, {other}} {
		clients.write(t, now...)
		if _, err := a.Authenticate(r); (err == nil) != (len(now) == 1) {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

func TestReload(t *testing.T) {
	root, next := newCA(t), newCA(t)
	file := newFile(t, root.cert)
	a := open(t, frontproxy.Config{CA: file.bundle, Headers: standard})
	r := request(http.Header{"X-Remote-User": {"jane"}}, root.issue(t, "proxy"))
	first, err := a.Authenticate(r)
	if err != nil {
		t.Fatal(err)
	}
	file.write(t, next)
	if _, err := a.Authenticate(r); err == nil || first.Fresh(time.Now()) {
		t.Errorf("trusted after its CA was taken away: %v", err)
	}
	if err := os.WriteFile(file.path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	file.check(t)
	if _, err := a.Authenticate(request(r.Header, next.issue(t, "proxy"))); err != nil {
		t.Errorf("the last good file is not in force: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	root := newCA(t)
	for _, headers := range []frontproxy.Headers{
		{},
		{Groups: []string{"X-Remote-Group"}},
		{Username: []string{" "}},
		{Username: []string{"X Remote User"}},
		{Username: []string{"X-Remote-User"}, ExtraPrefixes: []string{""}},
		{Username: []string{"X-Remote-User"}, UID: []string{"X-Remote-Uid:"}},
		{Username: []string{"X-Remote-User"}, Groups: []string{"Grüppe"}},
	} {
		if _, err := frontproxy.New(frontproxy.Config{CA: root.bundle(t), Headers: headers}); err == nil {
			t.Errorf("accepted %+v", headers)
		}
	}
}

func TestClaims(t *testing.T) {
	own := frontproxy.Headers{Username: []string{"Auth-User"}, UID: []string{"auth_uid"}, Groups: []string{"Auth-Group"}, ExtraPrefixes: []string{"Auth-More-"}}
	for name, want := range map[string]bool{
		"Auth-User": true, "auth_user": true, "AUTH-UID": true, "Auth_Group": true, "auth-more_x": true,
		"X-Remote-User": true, "x_remote_extra_a": true, "X-Remote-Uid": true, "X-Remote-Anything": true,
		"Auth-Users": false, "Auth-More": false, "X-Remote": false, "Accept": false, "": false,
	} {
		if own.Claims(name) != want {
			t.Errorf("%q: claims = %v", name, !want)
		}
	}
}

// What a proxy says never panics, and never comes out as nobody.
func FuzzHeaders(f *testing.F) {
	f.Add("jane", "7", "a", "Scopes", "r")
	f.Add("", "", "", "%zz", "")
	f.Add("j\xff", "\x00", "system:masters", "%2F", "%41")
	root := newCA(f)
	a := open(f, frontproxy.Config{CA: root.bundle(f), Headers: standard})
	cert := root.issue(f, "proxy")
	r := request(nil, cert)
	f.Fuzz(func(t *testing.T, name, uid, group, key, value string) {
		r.Header = http.Header{
			"X-Remote-User": {name}, "X-Remote-Uid": {uid}, "X-Remote-Group": {group},
			http.CanonicalHeaderKey("X-Remote-Extra-" + key): {value},
		}
		res, err := a.Authenticate(r)
		if err != nil {
			return
		}
		who := res.Identity
		if who.Name != name || name == "" || who.UID != uid || len(who.Extra) != 1 || group != "" && !who.InGroup(group) || who.InGroup("") {
			t.Errorf("%v became %+v", r.Header, who)
		}
	})
}

func BenchmarkFrontProxy(b *testing.B) {
	root := newCA(b)
	a := open(b, frontproxy.Config{CA: root.bundle(b), Headers: standard})
	r := request(http.Header{
		"X-Remote-User": {"jane"}, "X-Remote-Group": {"a", "b", "c"}, "X-Remote-Extra-Scopes": {"r"},
		"Accept": {"application/json"}, "User-Agent": {"kubectl"}, "Accept-Encoding": {"gzip"},
	}, root.issue(b, "proxy"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
