package issuers_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/ladder"
	"gatehouse.dev/gatehouse/test/oidc"
)

const audience = "gatehouse"

// counted are metrics that only remember what happened.
type counted struct {
	mu                           sync.Mutex
	configured, refused, fetched int
	gone                         []string
	verified                     map[string]int
}

func (c *counted) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *counted) Verified(issuer string) func(time.Duration, error) {
	return func(time.Duration, error) { c.do(func() { c.verified[issuer]++ }) }
}
func (c *counted) KeysFetched(string, []byte, error) { c.do(func() { c.fetched++ }) }
func (c *counted) Gone(issuer string)                { c.do(func() { c.gone = append(c.gone, issuer) }) }
func (c *counted) Configured([]byte, bool)           { c.do(func() { c.configured++ }) }
func (c *counted) Refused()                          { c.do(func() { c.refused++ }) }

// world is several providers, by their hosts.
type world map[string]*oidc.Provider

func (w world) RoundTrip(r *http.Request) (*http.Response, error) {
	if p := w[r.URL.Host]; p != nil {
		return p.RoundTrip(r)
	}
	return nil, errors.New("no such host")
}

func newWorld(t testing.TB, hosts ...string) world {
	w := world{}
	for _, host := range hosts {
		w[host] = oidc.New(t, "https://"+host)
	}
	return w
}

// follow opens a configuration in a file and starts its issuers. It must be
// called in a bubble.
func follow(t *testing.T, path string, w world, change func(*issuers.Config)) (*issuers.Live, *counted) {
	t.Helper()
	cfg := issuers.Config{Path: path, Algorithms: []string{"ES256"}, Transport: w}
	if change != nil {
		change(&cfg)
	}
	m := &counted{verified: map[string]int{}}
	live, err := issuers.Open(cfg, m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	live.Start(t.Context())
	synctest.Wait()
	return live, m
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authentication.yaml")
	rewrite(t, path, text)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func configuration(entries ...string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n" + strings.Join(entries, "")
}

func entry(host, mappings string) string {
	return "- issuer: {url: 'https://" + host + "', audiences: [gatehouse]}\n  claimMappings:\n" + mappings
}

const plain = "    username: {claim: sub, prefix: ''}\n"

func verify(live *issuers.Live, token string) (*authn.Result, error) {
	return live.Verifier().VerifyToken(context.Background(), token, nil)
}

func TestExpressions(t *testing.T) {
	const username = "    username: {expression: 'claims.sub'}\n"
	claims := map[string]any{
		"groups": []any{"a", "", "b"}, "roles": "x,y", "email": "jane@example.org", "email_verified": true, "n": 7,
		"example.org": map[string]any{"a.b": []any{map[string]any{"c/d": "deep"}}}, "null": nil, "jti": "id", "none": []any{},
	}
	id := map[string][]string{identity.CredentialIDKey: {"JTI=id"}}
	tests := []struct {
		name, mappings string
		want           identity.Identity // or, if without a name:
		err            string
	}{
		{"user", username, identity.Identity{Name: "jane", Extra: id}, ""},
		{"computed", "    username: {expression: '\"o:\" + claims.email.split(\"@\")[0] + (claims.email_verified ? \"\" : \"?\")'}\n", identity.Identity{Name: "o:jane", Extra: id}, ""},
		{"groups", username + "    groups: {expression: 'dyn(claims.groups).map(g, \"o:\" + g)'}\n", identity.Identity{Name: "jane", Groups: []string{"o:a", "o:", "o:b"}, Extra: id}, ""},
		{"empty groups are left out", username + "    groups: {expression: claims.groups}\n", identity.Identity{Name: "jane", Groups: []string{"a", "b"}, Extra: id}, ""},
		{"one group", username + "    groups: {expression: claims.roles}\n", identity.Identity{Name: "jane", Groups: []string{"x,y"}, Extra: id}, ""},
		{"no groups", username + "    groups: {expression: claims.none}\n", identity.Identity{Name: "jane", Extra: id}, ""},
		{"optional claim", username + "    groups: {expression: 'claims.?missing.orValue([])'}\n", identity.Identity{Name: "jane", Extra: id}, ""},
		{"uid", username + "    uid: {expression: 'string(claims.n)'}\n", identity.Identity{Name: "jane", UID: "7", Extra: id}, ""},
		{"uid by claim", username + "    uid: {claim: jti}\n", identity.Identity{Name: "jane", UID: "id", Extra: id}, ""},
		{"extra", username + "    extra: [{key: example.org/a, valueExpression: claims.groups}, {key: example.org/b, valueExpression: '\"\"'}]\n",
			identity.Identity{Name: "jane", Extra: map[string][]string{identity.CredentialIDKey: {"JTI=id"}, "example.org/a": {"a", "b"}}}, ""},
		{"names that are no identifiers", "    username: {expression: 'claims.example__dot__org.a__dot__b[0].c__slash__d'}\n", identity.Identity{Name: "deep", Extra: id}, ""},
		{"rules that hold", username + "  claimValidationRules: [{expression: 'claims.n == 7'}, {claim: jti, requiredValue: id}]\n" +
			"  userValidationRules: [{expression: \"user.username == 'jane' && size(user.groups) == 0 && 'authentication.kubernetes.io/credential-id' in user.extra\"}]\n",
			identity.Identity{Name: "jane", Extra: id}, ""},

		{"empty user", "    username: {expression: '\"\"'}\n", identity.Identity{}, "empty username"},
		{"user is a number", "    username: {expression: claims.n}\n", identity.Identity{}, "must return a string"},
		{"user is missing", "    username: {expression: claims.missing}\n", identity.Identity{}, "no such key: missing"},
		{"groups are numbers", username + "    groups: {expression: '[claims.n]'}\n", identity.Identity{}, "a string or a list of strings"},
		{"groups are a map", username + "    groups: {expression: claims.example__dot__org}\n", identity.Identity{}, "a string or a list of strings"},
		{"uid is a list", username + "    uid: {expression: claims.groups}\n", identity.Identity{}, "must return a string"},
		{"extra is a number", username + "    extra: [{key: example.org/a, valueExpression: claims.n}]\n", identity.Identity{}, "a string or a list of strings"},
		{"claim rule", username + "  claimValidationRules: [{expression: 'claims.n == 8', message: wrong n}]\n", identity.Identity{}, "'claims.n == 8' failed: wrong n"},
		{"plain claim rule", username + "  claimValidationRules: [{claim: jti, requiredValue: other}]\n", identity.Identity{}, "value does not match"},
		{"user rule", username + "  userValidationRules: [{expression: \"user.username != 'jane'\", message: not jane}]\n", identity.Identity{}, "failed: not jane"},
		{"rule without an answer", username + "  claimValidationRules: [{expression: 'claims.missing == 1'}]\n", identity.Identity{}, "no such key"},
		{"too dear", username + "  claimValidationRules: [{expression: '" + dear + "'}]\n", identity.Identity{}, "cost limit exceeded"},
		{"reserved user", "    username: {expression: '\"system:\" + claims.sub'}\n", identity.Identity{}, "reserved"},
		{"reserved group", username + "    groups: {expression: '[\"system:masters\"]'}\n", identity.Identity{}, "reserved"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, configuration(entry("a.example.org", tt.mappings)))
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a.example.org")
				live, m := follow(t, path, w, nil)
				res, err := verify(live, w["a.example.org"].Token(t, audience, claims))
				if m.verified["https://a.example.org"] != 1 {
					t.Error("the token was not counted")
				}
				if tt.want.Name == "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) {
						t.Errorf("got %v, want an error with %q", err, tt.err)
					}
					if why := ladder.Why(t, err); strings.HasSuffix(tt.name, " rule") && !strings.HasPrefix(why, "unsuitable: validation rule (") && why != "unsuitable: claim jti" {
						t.Errorf("%v is explained by %q", err, why)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got := *res.Identity
				got.Credential = identity.Credential{}
				tt.want.Groups = identity.WithAuthenticated(tt.want.Name, tt.want.Groups)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// dear is an expression that is cheap to write down and costs more than allowed.
const dear = `[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, ` +
	`[0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a + b + c + d + e + f >= 0))))))`

func TestReload(t *testing.T) {
	one := configuration(entry("a.example.org", plain))
	path := write(t, one)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a.example.org", "b.example.org")
		live, m := follow(t, path, w, nil)
		a, b := w["a.example.org"].Token(t, audience, nil), w["b.example.org"].Token(t, audience, nil)
		before, err := verify(live, a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify(live, b); err == nil {
			t.Error("b is accepted before it is configured")
		}
		fetched := w["a.example.org"].Fetches

		rewrite(t, path, configuration(entry("a.example.org", plain), entry("b.example.org", plain)))
		live.Reload(t.Context())
		for name, token := range map[string]string{"a": a, "b": b} {
			if _, err := verify(live, token); err != nil {
				t.Errorf("%s after reload: %v", name, err)
			}
		}
		if before.Fresh(time.Now()) {
			t.Error("a result outlives its configuration")
		}
		if w["a.example.org"].Fetches != fetched {
			t.Error("an issuer that has not changed was asked again")
		}

		rewrite(t, path, configuration(entry("b.example.org", plain)))
		live.Reload(t.Context())
		if _, err := verify(live, a); err == nil {
			t.Error("a is accepted after it was taken away")
		}
		if m.configured != 2 || m.refused != 0 || len(m.gone) != 1 || m.gone[0] != "https://a.example.org" {
			t.Errorf("counted %+v", m)
		}
		// Who is gone is not asked any more.
		fetched = w["a.example.org"].Fetches
		time.Sleep(3 * time.Hour)
		if w["a.example.org"].Fetches != fetched {
			t.Error("an issuer that is gone is still asked for its keys")
		}
	})
}

// A configuration takes effect only when its new issuers answer.
func TestReloadWaitsForNewIssuers(t *testing.T) {
	path := write(t, configuration(entry("a.example.org", plain)))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a.example.org", "b.example.org")
		live, m := follow(t, path, w, nil)
		down := func(host string, is bool) {
			w[host].Lock()
			defer w[host].Unlock()
			w[host].Down = is
		}
		down("a.example.org", true) // it is known, so it need not answer again
		down("b.example.org", true)
		rewrite(t, path, configuration(entry("b.example.org", plain)))
		began := time.Now()
		live.Reload(t.Context())
		if took := time.Since(began); took != time.Minute {
			t.Errorf("given up after %v, want a minute", took)
		}
		if err := live.Status().Problem; err == nil || !strings.Contains(err.Error(), "https://b.example.org") {
			t.Errorf("the problem is %v", err)
		}
		if _, err := verify(live, w["a.example.org"].Token(t, audience, nil)); err != nil {
			t.Errorf("the last good configuration is not in force: %v", err)
		}
		if m.refused != 1 {
			t.Errorf("refused %d times", m.refused)
		}

		down("b.example.org", false)
		live.Reload(t.Context())
		if err := live.Status().Problem; err != nil {
			t.Errorf("when b answers: %v", err)
		}
		if _, err := verify(live, w["b.example.org"].Token(t, audience, nil)); err != nil {
			t.Errorf("when b answers: %v", err)
		}
	})
}

func TestBadReloads(t *testing.T) {
	good := configuration(entry("a.example.org", plain))
	for name, bad := range map[string]string{
		"not YAML":         "a: [",
		"unknown field":    good + "more: 1\n",
		"bad expression":   configuration(entry("a.example.org", "    username: {expression: 'claims.'}\n")),
		"anonymous":        good + "anonymous: {enabled: true}\n",
		"own issuer":       configuration(entry("own.example.org", plain)),
		"empty":            "",
		"one issuer twice": configuration(entry("a.example.org", plain), entry("a.example.org", plain)),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, good)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a.example.org")
				live, m := follow(t, path, w, func(c *issuers.Config) { c.Own = []string{"https://own.example.org"} })
				rewrite(t, path, bad)
				live.Reload(t.Context())
				if live.Status().Problem == nil || m.refused != 1 {
					t.Errorf("accepted: %+v", m)
				}
				if _, err := verify(live, w["a.example.org"].Token(t, audience, nil)); err != nil {
					t.Errorf("the last good configuration is not in force: %v", err)
				}
				rewrite(t, path, good+"# mended\n")
				live.Reload(t.Context())
				if err := live.Status().Problem; err != nil {
					t.Errorf("after it was mended: %v", err)
				}
			})
		})
	}
}

// The CA of the issuer that flags describe is followed like a file of issuers:
// another one takes effect once the issuer has shown its keys to it.
func TestReloadCA(t *testing.T) {
	one, other := authority.New(t, "one").PEM(), authority.New(t, "other").PEM()
	path := write(t, one)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a.example.org")
		live, m := follow(t, "", w, func(c *issuers.Config) {
			c.Flags = &issuers.Flags{
				IssuerURL: "https://a.example.org", ClientID: audience, CAFile: path, UsernameClaim: "sub", SigningAlgs: []string{"ES256"},
			}
		})
		token := w["a.example.org"].Token(t, audience, nil)
		before, err := verify(live, token)
		if err != nil {
			t.Fatal(err)
		}
		change := func(text string, down bool) error {
			w["a.example.org"].Lock()
			w["a.example.org"].Down = down
			w["a.example.org"].Unlock()
			rewrite(t, path, text)
			live.Reload(t.Context())
			if _, err := verify(live, token); err != nil {
				t.Errorf("a good token is refused: %v", err)
			}
			return live.Status().Problem
		}
		for _, bad := range []string{"", "n0nsense", one[:len(one)/2]} {
			if change(bad, false) == nil {
				t.Errorf("accepted: %q", bad)
			}
		}
		if change(other, true) == nil {
			t.Error("a CA that the issuer has shown no keys to is in force")
		}
		if !before.Fresh(time.Now()) {
			t.Error("a result ends although nothing else is in force")
		}
		if err := change(other, false); err != nil {
			t.Errorf("a good change: %v", err)
		}
		if before.Fresh(time.Now()) {
			t.Error("a result outlives its configuration")
		}
		if m.configured != 0 || m.refused != 0 {
			t.Errorf("counted as changes of --authentication-config: %+v", m)
		}
	})
}

// Keys rotate under load, and no good token is refused.
func TestRotationUnderLoad(t *testing.T) {
	path := write(t, configuration(entry("a.example.org", plain)))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a.example.org")
		live, _ := follow(t, path, w, nil)
		p := w["a.example.org"]
		var load sync.WaitGroup
		for i := range 20 {
			load.Go(func() {
				for range 60 {
					if _, err := verify(live, p.Token(t, audience, nil)); err != nil {
						t.Errorf("a good token is refused: %v", err)
					}
					time.Sleep(time.Second + time.Duration(i)*time.Millisecond)
				}
			})
		}
		for n := range 4 {
			time.Sleep(15 * time.Second)
			p.Lock()
			p.Keys = append(p.Keys, oidc.NewKey(t, string(rune('a'+n)), "ES256"))
			p.Unlock()
		}
		load.Wait()
		if p.Fetches != 5 {
			t.Errorf("%d looks at the keys, want 5", p.Fetches)
		}
	})
}

// A key that its issuer withdraws ends what it has verified.
func TestWithdrawnKey(t *testing.T) {
	path := write(t, configuration(entry("a.example.org", plain)))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a.example.org")
		live, _ := follow(t, path, w, nil)
		p := w["a.example.org"]
		token := p.Token(t, audience, map[string]any{"exp": time.Now().Add(30 * 24 * time.Hour).Unix()})
		res, err := verify(live, token)
		if err != nil {
			t.Fatal(err)
		}
		p.Lock()
		p.Keys = []oidc.Key{oidc.NewKey(t, "k2", "ES256")}
		p.Unlock()
		time.Sleep(10 * time.Minute)
		if res.Fresh(time.Now()) {
			t.Error("a remembered token outlives its key")
		}
		if _, err := verify(live, token); err == nil {
			t.Error("a token of a withdrawn key is accepted")
		}
	})
}

// An hour without the issuer refuses nobody, and more than a day everybody, with
// the reason: those who come for the first time, and those who are remembered.
func TestIssuerIsDown(t *testing.T) {
	path := write(t, configuration(entry("a.example.org", plain)))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a.example.org")
		live, _ := follow(t, path, w, nil)
		p := w["a.example.org"]
		p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256"))
		lasting := map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()}
		remembered, err := verify(live, p.Token(t, audience, lasting))
		if err != nil {
			t.Fatal(err)
		}
		fresh := func() string {
			lasting["jti"] = time.Now().String()
			return p.Token(t, audience, lasting)
		}
		p.Lock()
		p.Down = true
		p.Unlock()
		for range 60 {
			time.Sleep(time.Minute)
			if _, err := verify(live, fresh()); err != nil || !remembered.Fresh(time.Now()) {
				t.Fatalf("within an hour: %v", err)
			}
		}
		time.Sleep(22 * time.Hour)
		if _, err := verify(live, fresh()); err != nil || !remembered.Fresh(time.Now()) {
			t.Errorf("within a day: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := verify(live, fresh()); err == nil || !strings.Contains(err.Error(), "24h0m0s ago") || !strings.Contains(err.Error(), "503") {
			t.Errorf("after a day: %v, want when and why", err)
		}
		if remembered.Fresh(time.Now()) {
			t.Error("after a day somebody is still remembered")
		}
		p.Lock()
		p.Down = false
		p.Unlock()
		time.Sleep(time.Hour)
		if _, err := verify(live, fresh()); err != nil {
			t.Errorf("once the issuer is back: %v", err)
		}
	})
}

func TestClaimSources(t *testing.T) {
	path := write(t, configuration(entry("a.example.org", plain+"    groups: {claim: groups, prefix: ''}\n")))
	for endpoint, want := range map[string]string{
		"https://a.example.org/groups":     "",
		"https://A.example.org:443/groups": "",
		"https://graph.example.org/groups": "",
		"https://b.example.org/groups":     "may not be fetched",
		"https://a.example.org:8443/x":     "may not be fetched",
		"https://a.example.org.evil.org/x": "may not be fetched",
		"https://a.example.org@evil.org/x": "not an https address",
		"http://a.example.org/groups":      "not an https address",
		"file:///etc/passwd":               "not an https address",
		"https://169.254.169.254/latest":   "may not be fetched",
	} {
		t.Run(endpoint, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a.example.org", "graph.example.org", "b.example.org")
				p := w["a.example.org"]
				w["A.example.org:443"] = p
				groups := p.Token(t, audience, map[string]any{"groups": []string{"dev"}})
				for _, each := range w {
					each.Answer = func(rw http.ResponseWriter, r *http.Request) bool {
						if r.URL.Path != "/groups" {
							return false
						}
						if r.Header.Get("Authorization") == "Bearer secret" {
							_, _ = rw.Write([]byte(groups))
						}
						return true
					}
				}
				live, _ := follow(t, path, w, func(c *issuers.Config) { c.ClaimSources = []string{"https://graph.example.org"} })
				res, err := verify(live, p.Token(t, audience, map[string]any{
					"_claim_names":   map[string]string{"groups": "s"},
					"_claim_sources": map[string]any{"s": map[string]string{"endpoint": endpoint, "access_token": "secret"}},
				}))
				if want != "" {
					if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
						t.Errorf("got %v, want %q", err, want)
					}
					return
				}
				if err != nil || !res.Identity.InGroup("dev") {
					t.Errorf("got %v, %v", res, err)
				}
			})
		})
	}
}
