package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/ladder"
)

const (
	id     = "abcdef"
	secret = "0123456789abcdef"
	token  = id + "." + secret
	name   = "bootstrap-token-" + id
)

// A world has the Secrets as the store and as the watch know them.
type world struct {
	stripes *authn.Stripes

	mu           sync.Mutex
	stored, seen map[string]*bootstrap.Secret
	reads        int
	broken       error
}

func newWorld() *world {
	return &world{stripes: authn.NewStripes(), stored: map[string]*bootstrap.Secret{}, seen: map[string]*bootstrap.Secret{}}
}

func (w *world) Cached(name string) *bootstrap.Secret {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[name]
}

func (w *world) Live(_ context.Context, name string) (*bootstrap.Secret, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	return w.stored[name], w.broken
}

// put stores a Secret, or removes it if it is nil. The watch brings it at once
// if told is set.
func (w *world) put(name string, s *bootstrap.Secret, told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored[name] = s
	if told {
		w.seen[name] = s
	}
	w.stripes.Of("secrets", "kube-system", name).Bump()
}

func (w *world) verifier(t testing.TB) *bootstrap.Verifier {
	t.Helper()
	v, err := bootstrap.New(bootstrap.Config{Audiences: []string{"api", "other"}, Secrets: w, Stripes: w.stripes})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// good returns a Secret whose token may do everything, with some of its data
// changed; a nil value removes a key.
func good(changes map[string]string, gone ...string) *bootstrap.Secret {
	s := &bootstrap.Secret{Type: "bootstrap.kubernetes.io/token", Data: map[string][]byte{
		"token-id": []byte(id), "token-secret": []byte(secret),
		"usage-bootstrap-authentication": []byte("true"), "usage-bootstrap-signing": []byte("true"),
	}}
	for key, value := range changes {
		s.Data[key] = []byte(value)
	}
	for _, key := range gone {
		delete(s.Data, key)
	}
	return s
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		token string
		ok    bool
	}{
		{token, true},
		{"000000.aaaaaaaaaaaaaaaa", true},
		{"zzzzzz.9999999999999999", true},
		{"", false},
		{"abcdef", false},
		{"abcdef.", false},
		{"abcdef0123456789abcdef1", false},
		{"abcdef.0123456789abcde", false},
		{"abcdef.0123456789abcdef0", false},
		{"abcde.0123456789abcdef0", false},
		{"abcdefg.0123456789abcde", false},
		{"Abcdef.0123456789abcdef", false},
		{"abcdef.0123456789abcdeF", false},
		{"abcdef:0123456789abcdef", false},
		{"abcdef.0123456789abcd.f", false},
		{"abc.ef.0123456789abcdef", false},
		{"abcdef.0123456789abcde\n", false},
		{"abcdé.0123456789abcdef", false},
		{" bcdef.0123456789abcdef", false},
	} {
		gotID, gotSecret, ok := bootstrap.Parse(tt.token)
		if ok != tt.ok {
			t.Errorf("Parse(%q) = %v, want %v", tt.token, ok, tt.ok)
		}
		if ok && gotID+"."+gotSecret != tt.token {
			t.Errorf("Parse(%q) = %q, %q", tt.token, gotID, gotSecret)
		}
	}
}

func TestAccepts(t *testing.T) {
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, tt := range []struct {
		name      string
		secret    *bootstrap.Secret
		audiences []string
		groups    []string
		meant     []string
		expires   time.Time
	}{
		{"plain", good(nil), nil, nil, []string{"api", "other"}, time.Time{}},
		{"audience", good(nil), []string{"other", "third"}, nil, []string{"other"}, time.Time{}},
		{"expiring", good(map[string]string{"expiration": later.Format(time.RFC3339)}), nil, nil, []string{"api", "other"}, later},
		{"expiring elsewhere", good(map[string]string{"expiration": later.In(time.FixedZone("", 7200)).Format(time.RFC3339)}), nil, nil, []string{"api", "other"}, later},
		{"an empty expiration", good(map[string]string{"expiration": ""}), nil, nil, []string{"api", "other"}, time.Time{}},
		{"empty groups", good(map[string]string{"auth-extra-groups": ""}), nil, nil, []string{"api", "other"}, time.Time{}},
		{
			"groups",
			good(map[string]string{"auth-extra-groups": "system:bootstrappers:z,system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:z"}),
			nil, []string{"system:bootstrappers:kubeadm:default-node-token", "system:bootstrappers:z"}, []string{"api", "other"}, time.Time{},
		},
		{
			"the longest group", good(map[string]string{"auth-extra-groups": "system:bootstrappers:" + strings.Repeat("-", 255) + "a"}),
			nil, []string{"system:bootstrappers:" + strings.Repeat("-", 255) + "a"}, []string{"api", "other"}, time.Time{},
		},
		{"without signing", good(nil, "usage-bootstrap-signing"), nil, nil, []string{"api", "other"}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.put(name, tt.secret, true)
			res, err := w.verifier(t).VerifyToken(t.Context(), token, tt.audiences)
			if err != nil {
				t.Fatal(err)
			}
			who := res.Identity
			groups := append([]string{"system:bootstrappers"}, tt.groups...)
			if who.Name != "system:bootstrap:abcdef" || who.UID != "" || len(who.Extra) != 0 ||
				!slices.Equal(who.Groups, append(groups, "system:authenticated")) {
				t.Errorf("identity %+v, want groups %q", who, groups)
			}
			want := identity.Credential{Method: "BootstrapToken", ID: "TOKENID=abcdef", ExpiresAt: who.Credential.ExpiresAt}
			if who.Credential != want || !who.Credential.ExpiresAt.Equal(tt.expires) {
				t.Errorf("credential %+v, want the end %v", who.Credential, tt.expires)
			}
			if !slices.Equal(res.Audiences, tt.meant) {
				t.Errorf("audiences %q, want %q", res.Audiences, tt.meant)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	ago := func(d time.Duration) map[string]string {
		return map[string]string{"expiration": time.Now().Add(-d).UTC().Format(time.RFC3339)}
	}
	groups := func(list string) map[string]string { return map[string]string{"auth-extra-groups": list} }
	deleted := good(nil)
	deleted.Deleted = true
	opaque := good(nil)
	opaque.Type = "Opaque"
	for _, tt := range []struct {
		name   string
		secret *bootstrap.Secret
		why    string
		kind   authn.Kind
	}{
		{"being deleted", deleted, "is deleted and awaiting removal", authn.Revoked},
		{"of another type", opaque, "has invalid type, expected bootstrap.kubernetes.io/token", authn.Unsuitable},
		{"without data", &bootstrap.Secret{Type: "bootstrap.kubernetes.io/token"}, "has invalid type", authn.Unsuitable},
		{"another secret", good(map[string]string{"token-secret": "1123456789abcdef"}), "has invalid value for key token-secret", authn.BadProof},
		{"a longer secret", good(map[string]string{"token-secret": secret + "0"}), "has invalid value for key token-secret", authn.BadProof},
		{"an empty secret", good(map[string]string{"token-secret": ""}), "has invalid value for key token-secret", authn.BadProof},
		{"no secret", good(nil, "token-secret"), "has invalid value for key token-secret", authn.BadProof},
		{"another ID", good(map[string]string{"token-id": "abcdeg"}), "has invalid value for key token-id", authn.Unsuitable},
		{"no ID", good(nil, "token-id"), "has invalid value for key token-id", authn.Unsuitable},
		{"just expired", good(ago(0)), "expired at ", authn.Expired},
		{"long expired", good(ago(1000 * time.Hour)), "expired at ", authn.Expired},
		{"an expiration that is none", good(map[string]string{"expiration": "tomorrow"}), "counts as expired", authn.Expired},
		{"an expiration without a zone", good(map[string]string{"expiration": "2099-01-02T15:04:05"}), "counts as expired", authn.Expired},
		{"an expiration at the zero time", good(map[string]string{"expiration": "0001-01-01T00:00:00Z"}), "counts as expired", authn.Expired},
		{"white space around the expiration", good(map[string]string{"expiration": "2099-01-02T15:04:05Z\n"}), "counts as expired", authn.Expired},
		{"without the usage", good(nil, "usage-bootstrap-authentication"), "not marked usage-bootstrap-authentication=true", authn.Unsuitable},
		{"usage True", good(map[string]string{"usage-bootstrap-authentication": "True"}), "not marked", authn.Unsuitable},
		{"usage 1", good(map[string]string{"usage-bootstrap-authentication": "1"}), "not marked", authn.Unsuitable},
		{"usage with a line break", good(map[string]string{"usage-bootstrap-authentication": "true\n"}), "not marked", authn.Unsuitable},
		{"group of masters", good(groups("system:masters")), "bootstrap group 1 is invalid", authn.Unsuitable},
		{"bad second group", good(groups("system:bootstrappers:a,system:nodes")), "bootstrap group 2 is invalid", authn.Unsuitable},
		{"bare group", good(groups("system:bootstrappers")), "bootstrap group 1 is invalid", authn.Unsuitable},
		{"empty name of a group", good(groups("system:bootstrappers:")), "bootstrap group 1 is invalid", authn.Unsuitable},
		{"group in upper case", good(groups("system:bootstrappers:A")), "bootstrap group 1 is invalid", authn.Unsuitable},
		{"group that ends in a dash", good(groups("system:bootstrappers:a-")), "bootstrap group 1 is invalid", authn.Unsuitable},
		{"group with a space", good(groups("system:bootstrappers:a, system:bootstrappers:b")), "bootstrap group 2 is invalid", authn.Unsuitable},
		{"group with a line break", good(groups("system:bootstrappers:a\n")), "bootstrap group 1 is invalid", authn.Unsuitable},
		{"comma at the end", good(groups("system:bootstrappers:a,")), "bootstrap group 2 is invalid", authn.Unsuitable},
		{"group that is too long", good(groups("system:bootstrappers:" + strings.Repeat("a", 257))), "bootstrap group 1 is invalid", authn.Unsuitable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.put(name, tt.secret, true)
			res, err := w.verifier(t).VerifyToken(t.Context(), token, nil)
			if res != nil || errors.Is(err, authn.ErrNoCredential) {
				t.Fatalf("VerifyToken = %v, %v, want a refusal", res, err)
			}
			refusal, ok := errors.AsType[*authn.Refusal](err)
			if !ok || refusal.Method != identity.BootstrapToken || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("the refusal is %v, want it to say %q", err, tt.why)
			}
			if why := ladder.Why(t, err); !strings.HasPrefix(why, string(tt.kind)+": ") || strings.HasSuffix(why, ": ") {
				t.Errorf("it is explained as %q, want %s and what was compared", why, tt.kind)
			}
			for _, data := range []string{secret, string(tt.secret.Data["token-secret"])} {
				if data != "" && strings.Contains(fmt.Sprint(err, authn.FactsOf(err)), data) {
					t.Errorf("the refusal %v repeats a secret", err)
				}
			}
			if w.reads != 0 {
				t.Errorf("the store was asked %d times about a token that is known to be bad", w.reads)
			}
		})
	}
}

// What is not a token, or none that anybody made, is left to others.
func TestPasses(t *testing.T) {
	w := newWorld()
	w.put(name, good(nil), true)
	for _, tt := range []struct {
		name, token string
		audiences   []string
	}{
		{"another form", "abcdef", nil},
		{"a JWT", "eyJh.eyJh.c2ln", nil},
		{"an unknown ID", "abcdeg.0123456789abcdef", nil},
		{"other audiences", token, []string{"third"}},
	} {
		res, err := w.verifier(t).VerifyToken(t.Context(), tt.token, tt.audiences)
		if res != nil || !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("%s: VerifyToken = %v, %v, want no credential", tt.name, res, err)
		}
		if err != nil && strings.Contains(err.Error(), "abcde") {
			t.Errorf("%s: %v repeats a part of a token of nobody", tt.name, err)
		}
	}
	if w.reads != 0 {
		t.Errorf("the store was asked %d times", w.reads)
	}
}

// The watch lags: what the store says counts.
func TestStoreHasTheLastWord(t *testing.T) {
	for _, tt := range []struct {
		name   string
		now    *bootstrap.Secret
		broken error
		passed bool
	}{
		{"deleted", nil, nil, true},
		{"another secret", good(map[string]string{"token-secret": "1123456789abcdef"}), nil, false},
		{"usage taken back", good(nil, "usage-bootstrap-authentication"), nil, false},
		{"store out of reach", nil, errors.New("etcd is gone"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.put(name, good(nil), true)
			w.put(name, tt.now, false)
			w.broken = tt.broken
			res, err := w.verifier(t).VerifyToken(t.Context(), token, nil)
			if res != nil || err == nil || errors.Is(err, authn.ErrNoCredential) != tt.passed {
				t.Errorf("VerifyToken = %v, %v", res, err)
			}
			ladder.Why(t, err)
			if tt.broken != nil && !errors.Is(err, tt.broken) {
				t.Errorf("%v does not say what is wrong with the store", err)
			}
		})
	}
}

// A token is remembered, and ends with its Secret, its time, or its usage.
func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *world, expires time.Time)
	}{
		{"deleted", func(w *world, _ time.Time) { w.put(name, nil, true) }},
		{"deleted, and the watch lags", func(w *world, _ time.Time) { w.put(name, nil, false) }},
		{"changed", func(w *world, _ time.Time) {
			w.put(name, good(map[string]string{"token-secret": "1123456789abcdef"}), true)
		}},
		{"expired", func(_ *world, expires time.Time) { time.Sleep(time.Until(expires)) }},
		{"the watch is silent", func(w *world, _ time.Time) {
			w.mu.Lock()
			delete(w.stored, name)
			w.mu.Unlock()
			time.Sleep(10 * time.Second)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				expires := time.Now().Add(time.Minute)
				w.put(name, good(map[string]string{"expiration": expires.UTC().Format(time.RFC3339)}), true)
				table, err := verified.NewResults(16)
				if err != nil {
					t.Fatal(err)
				}
				v := verified.Tokens(table, "any", w.verifier(t))
				for range 3 {
					if _, err := v.VerifyToken(t.Context(), token, nil); err != nil {
						t.Fatal(err)
					}
				}
				if w.reads != 1 {
					t.Errorf("three requests read the store %d times, want once", w.reads)
				}
				// Until the last moment it is good, whatever else happens.
				time.Sleep(time.Until(expires.Add(-time.Nanosecond)))
				if _, err := v.VerifyToken(t.Context(), token, nil); err != nil {
					t.Errorf("just before its end: %v", err)
				}
				if tt.name != "expired" {
					w.put(name, good(nil), true) // with all the time in the world
					if _, err := v.VerifyToken(t.Context(), token, nil); err != nil {
						t.Errorf("after it was prolonged: %v", err)
					}
				}
				tt.end(w, expires)
				if res, err := v.VerifyToken(t.Context(), token, nil); err == nil {
					t.Errorf("after its end: %+v", res.Identity)
				}
			})
		})
	}
}

func TestSigner(t *testing.T) {
	now := time.Now()
	deleted, opaque := good(nil), good(nil)
	deleted.Deleted, opaque.Type = true, "Opaque"
	for _, tt := range []struct {
		name, of string
		secret   *bootstrap.Secret
		ok       bool
	}{
		{"good", name, good(nil), true},
		{"without authentication", name, good(nil, "usage-bootstrap-authentication"), true},
		{"with a bad group", name, good(map[string]string{"auth-extra-groups": "system:masters"}), true},
		{"in time", name, good(map[string]string{"expiration": now.Add(time.Minute).Format(time.RFC3339)}), true},
		{"another name", "bootstrap-token-abcdeg", good(nil), false},
		{"a name of another form", "abcdef", good(nil), false},
		{"deleted", name, deleted, false},
		{"another type", name, opaque, false},
		{"no usage", name, good(nil, "usage-bootstrap-signing"), false},
		{"odd usage", name, good(map[string]string{"usage-bootstrap-signing": "yes"}), false},
		{"expired", name, good(map[string]string{"expiration": now.Format(time.RFC3339)}), false},
		{"an expiration that is none", name, good(map[string]string{"expiration": "never"}), false},
		{"no secret", name, good(nil, "token-secret"), false},
		{"a secret that can be guessed", name, good(map[string]string{"token-secret": "hunter2"}), false},
		{"a secret in upper case", name, good(map[string]string{"token-secret": strings.ToUpper(secret)}), false},
		{"no ID", name, good(nil, "token-id"), false},
		{"an ID of another form", "bootstrap-token-ABCDEF", good(map[string]string{"token-id": "ABCDEF"}), false},
	} {
		gotID, gotSecret, ok := tt.secret.Signer(tt.of, now)
		if ok != tt.ok || ok && (gotID != id || string(gotSecret) != secret) {
			t.Errorf("%s: Signer = %q, %q, %v, want %v", tt.name, gotID, gotSecret, ok, tt.ok)
		}
	}
}

func TestNew(t *testing.T) {
	w := newWorld()
	for _, c := range []bootstrap.Config{{}, {Secrets: w}, {Stripes: w.stripes}} {
		if _, err := bootstrap.New(c); err == nil {
			t.Errorf("New(%+v) succeeded", c)
		}
	}
}

// Nothing of a Secret is changed by reading it: it is the informer's.
func TestDataIsLeftAlone(t *testing.T) {
	s := good(map[string]string{"auth-extra-groups": "system:bootstrappers:z,system:bootstrappers:a"})
	before := maps.Clone(s.Data)
	w := newWorld()
	w.put(name, s, true)
	if _, err := w.verifier(t).VerifyToken(t.Context(), token, nil); err != nil {
		t.Fatal(err)
	}
	for key, value := range before {
		if string(s.Data[key]) != string(value) {
			t.Errorf("%s is %q, and was %q", key, s.Data[key], value)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld()
	w.put(name, good(map[string]string{"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"}), true)
	v := w.verifier(b)
	for bench, presented := range map[string]string{"good": token, "wrong": id + ".1123456789abcdef", "unknown": "abcdeg." + secret, "foreign": "a.b.c"} {
		b.Run(bench, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = v.VerifyToken(b.Context(), presented, nil)
			}
		})
	}
}
