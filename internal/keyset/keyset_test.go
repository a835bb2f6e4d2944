package keyset_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/keyset"
	"gatehouse.dev/gatehouse/test/oidc"
)

const issuer = "https://issuer.example.org"

// a follower is a set that runs against a provider in virtual time, and what it
// has put into force.
type follower struct {
	*keyset.Set
	mu   sync.Mutex
	used []string
	bad  error // what Use returns
	stop context.CancelFunc
}

func follow(t *testing.T, p *oidc.Provider, change func(*keyset.Config)) *follower {
	t.Helper()
	f := &follower{}
	cfg := keyset.Config{
		Issuer: issuer, Client: keyset.NewClient(p),
		Use: func(set []byte) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.used = append(f.used, string(set))
			return f.bad
		},
	}
	if change != nil {
		change(&cfg)
	}
	f.Set = keyset.New(cfg)
	ctx, stop := context.WithCancel(t.Context())
	f.stop = stop
	go f.Run(ctx)
	synctest.Wait()
	return f
}

func (f *follower) uses() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.used)
}

func set(p *oidc.Provider, change func(*oidc.Provider)) {
	p.Lock()
	defer p.Unlock()
	change(p)
}

func fetches(p *oidc.Provider) int {
	p.Lock()
	defer p.Unlock()
	return p.Fetches
}

func TestKeysAreFetchedBeforeTheyExpire(t *testing.T) {
	tests := []struct {
		control string
		// After early there is no second look yet, after late there is.
		early, late time.Duration
	}{
		{"", 8*time.Minute - time.Second, 10 * time.Minute},
		{"max-age=1200", 16*time.Minute - time.Second, 20 * time.Minute},
		{"public, MAX-AGE=\"1200\", must-revalidate", 16*time.Minute - time.Second, 20 * time.Minute},
		{"max-age=1", 48*time.Second - 1, time.Minute},
		{"no-store", 48*time.Second - 1, time.Minute},
		{"max-age=864000", 48*time.Minute - 1, time.Hour},
		{"max-age=nonsense", 8*time.Minute - time.Second, 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.control, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := oidc.New(t, issuer)
				p.CacheControl = tt.control
				f := follow(t, p, nil)
				defer f.stop()
				time.Sleep(tt.early)
				synctest.Wait()
				if n := fetches(p); n != 1 {
					t.Errorf("%d looks after %v, want 1", n, tt.early)
				}
				time.Sleep(tt.late - tt.early)
				synctest.Wait()
				if n := fetches(p); n != 2 {
					t.Errorf("%d looks after %v, want 2", n, tt.late)
				}
				if n := f.uses(); n != 1 {
					t.Errorf("the same keys were put into force %d times", n)
				}
			})
		})
	}
}

// An issuer that is down for an hour refuses nobody, one that is down for more
// than a day everybody, and with the reason.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		f := follow(t, p, nil)
		defer f.stop()
		set(p, func(p *oidc.Provider) { p.Down = true })
		began := time.Now()
		time.Sleep(time.Hour)
		if until, err := f.Until(); err != nil || !until.Equal(began.Add(24*time.Hour)) {
			t.Errorf("after an hour: %v, %v, want until %v", until, err, began.Add(24*time.Hour))
		}
		if f.Problem() == nil {
			t.Error("nobody says that the issuer is down")
		}
		if n := fetches(p); n > 60 {
			t.Errorf("an issuer that is down was asked %d times in an hour", n)
		}
		time.Sleep(23*time.Hour - time.Second)
		if _, err := f.Until(); err != nil {
			t.Errorf("before a day is over: %v", err)
		}
		time.Sleep(time.Second)
		_, err := f.Until()
		if err == nil {
			t.Fatal("after a day the keys are still good")
		}
		for _, want := range []string{issuer, "24h", "answered 503"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		set(p, func(p *oidc.Provider) { p.Down = false })
		time.Sleep(5 * time.Minute)
		if _, err := f.Until(); err != nil {
			t.Errorf("after the outage: %v", err)
		}
	})
}

func TestBadKeysLeaveTheGoodOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		f := follow(t, p, nil)
		defer f.stop()
		f.mu.Lock()
		f.bad = errors.New("no good")
		f.mu.Unlock()
		set(p, func(p *oidc.Provider) { p.Keys = nil })
		time.Sleep(time.Hour)
		if _, err := f.Until(); err != nil {
			t.Errorf("the keys of before are gone: %v", err)
		}
		if err := f.Problem(); err == nil || !strings.Contains(err.Error(), "no good") {
			t.Errorf("the problem is %v", err)
		}
		// Content that was refused is tried again: it may have been half written.
		if n := f.uses(); n < 3 {
			t.Errorf("bad keys were tried %d times", n)
		}
	})
}

// The keys may move: then the discovery document says where they are.
func TestKeysMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		moved := false
		p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if !moved {
				return false
			}
			switch r.URL.Path {
			case "/.well-known/openid-configuration":
				_, _ = w.Write([]byte(`{"issuer":"` + issuer + `","jwks_uri":"https://keys.example.net/new"}`))
			case "/new":
				_, _ = w.Write([]byte(`{"keys":[]}`))
			default:
				http.NotFound(w, r)
			}
			return true
		}
		f := follow(t, p, nil)
		defer f.stop()
		set(p, func(*oidc.Provider) { moved = true })
		time.Sleep(11 * time.Minute)
		if n := f.uses(); n != 2 {
			t.Errorf("keys were put into force %d times, want 2: %v", n, f.Problem())
		}
	})
}

func TestRefusedAnswers(t *testing.T) {
	document := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/.well-known/openid-configuration" {
				return false
			}
			_, _ = w.Write([]byte(text))
			return true
		}
	}
	redirect := func(from, to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == from && r.URL.Host == "issuer.example.org" {
				http.Redirect(w, r, to, http.StatusFound)
				return true
			}
			return false
		}
	}
	tests := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		want   string // the problem, or "" for none
	}{
		{"good", nil, ""},
		{"redirect within the server", redirect("/keys", "/other/keys"), ""},
		{"document redirected elsewhere", redirect("/.well-known/openid-configuration", "https://evil.example.org/.well-known/openid-configuration"), "another origin"},
		{"keys redirected elsewhere", redirect("/keys", "https://evil.example.org/keys"), "another origin"},
		{"keys redirected to another port", redirect("/keys", "https://issuer.example.org:8443/keys"), "another origin"},
		{"keys redirected without TLS", redirect("/keys", "http://issuer.example.org/keys"), "another origin"},
		{"redirected for ever", redirect("/keys", "/keys"), "more than 3 redirects"},
		{"another issuer", document(`{"issuer":"https://evil.example.org","jwks_uri":"https://issuer.example.org/keys"}`), "not about"},
		{"issuer with a slash", document(`{"issuer":"https://issuer.example.org/","jwks_uri":"https://issuer.example.org/keys"}`), "not about"},
		{"no issuer", document(`{"jwks_uri":"https://issuer.example.org/keys"}`), "not about"},
		{"issuer twice", document(`{"issuer":"https://evil","issuer":"https://issuer.example.org","jwks_uri":"https://issuer.example.org/keys"}`), "duplicate"},
		{"issuer in capitals", document(`{"ISSUER":"https://issuer.example.org","jwks_uri":"https://issuer.example.org/keys"}`), "not about"},
		{"no keys", document(`{"issuer":"https://issuer.example.org"}`), "no jwks_uri"},
		{"keys without TLS", document(`{"issuer":"https://issuer.example.org","jwks_uri":"http://issuer.example.org/keys"}`), "https://"},
		{"keys in a file", document(`{"issuer":"https://issuer.example.org","jwks_uri":"file:///etc/passwd"}`), "no URL"},
		{"password in the URL", document(`{"issuer":"https://issuer.example.org","jwks_uri":"https://u:p@issuer.example.org/keys"}`), "password"},
		{"not JSON", document(`<html>`), "no JSON object"},
		{"more than 1 MiB", document(strings.Repeat(" ", 1<<20) + "{}"), "longer than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := oidc.New(t, issuer)
				p.Answer = tt.answer
				f := follow(t, p, nil)
				defer f.stop()
				err := f.Problem()
				_, untilErr := f.Until()
				if tt.want == "" {
					if err != nil || untilErr != nil {
						t.Errorf("refused: %v, %v", err, untilErr)
					}
					return
				}
				if err == nil || untilErr == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("the problem is %v, %v; want one with %q", err, untilErr, tt.want)
				}
			})
		})
	}
}

// The discovery URL is used as it is, and the issuer still has to be the same.
func TestDiscoveryURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		var asked []string
		p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			asked = append(asked, r.URL.String())
			if r.URL.Path == "/d" {
				_, _ = w.Write([]byte(`{"issuer":"` + issuer + `","jwks_uri":"https://elsewhere.example.org/keys"}`))
				return true
			}
			return false
		}
		f := follow(t, p, func(c *keyset.Config) { c.DiscoveryURL = "https://elsewhere.example.org/d" })
		defer f.stop()
		if _, err := f.Until(); err != nil {
			t.Error(err)
		}
		if got := strings.Join(asked, " "); got != "https://elsewhere.example.org/d https://elsewhere.example.org/keys" {
			t.Errorf("asked %s", got)
		}
	})
}
