package webhook_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/ladder"
	"gatehouse.dev/gatehouse/test/vectors"
)

// A hook is a webhook that answers by a function.
type hook struct {
	asked  atomic.Int64
	answer func(token string, audiences []string) (string, error)
}

func (h *hook) ask(_ context.Context, review []byte, read func([]byte) error) error {
	h.asked.Add(1)
	var question struct {
		Spec struct {
			Token     string
			Audiences []string
		}
	}
	if err := json.Unmarshal(review, &question); err != nil {
		return err
	}
	text, err := h.answer(question.Spec.Token, question.Spec.Audiences)
	if err != nil {
		return err
	}
	return read([]byte(text))
}

// says is a hook that always gives one answer.
func says(text string) *hook {
	return &hook{answer: func(string, []string) (string, error) { return text, nil }}
}

func open(t testing.TB, h *hook, change ...func(*webhook.Config)) *webhook.Verifier {
	t.Helper()
	cfg := webhook.Config{Version: "v1", Audiences: []string{"api", "other"}, TTL: 2 * time.Minute}
	if h != nil {
		cfg.Ask = h.ask
	}
	for _, c := range change {
		c(&cfg)
	}
	v, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// openFunc is open for a webhook that is asked in a way of its own.
func openFunc(t testing.TB, ask func(context.Context, []byte, func([]byte) error) error) *webhook.Verifier {
	t.Helper()
	return open(t, nil, func(c *webhook.Config) { c.Ask = ask })
}

const head = `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":`

func jane(more string) string {
	return head + `{"authenticated":true,"user":{"username":"jane"` + more + `}}}`
}

// whys are what texts of refusals stand for; the first that fits counts.
var whys = []struct{ text, why string }{
	{"does not know the token", "passed"},
	{"not for the audiences", "passed"},
	{"without saying whose", "nobody: user name"},
	{"no Unicode", "unsuitable: "},
	{"which is reserved", "reserved-name: "},
	{"the webhook gave no answer", "unavailable: "},
}

// checkWhy wants err to explain itself, and to name the true cause.
func checkWhy(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "the webhook refuses the token: ") { // which is its own reason
		if f := authn.FactsOf(err); f.Kind != authn.Other || f.Mend == "" {
			t.Errorf("%v is explained by %+v", err, f)
		}
		return
	}
	got := ladder.Why(t, err)
	i := slices.IndexFunc(whys, func(w struct{ text, why string }) bool { return strings.Contains(err.Error(), w.text) })
	if i < 0 || !strings.HasPrefix(got, whys[i].why) {
		t.Errorf("%v is explained by %q", err, got)
	}
}

func TestAnswers(t *testing.T) {
	reserved := func(c *webhook.Config) {
		c.Reserved = []string{"system:node:*", "system:nodes", "system:monitoring", "system:m*"}
	}
	for _, test := range []struct {
		name, answer string
		asked        []string
		change       func(*webhook.Config)
		who          string // name, groups and audiences
		err          string
	}{
		{name: "jane", answer: jane(""), who: "jane [system:authenticated] [api other]"},
		{name: "groups", answer: jane(`,"groups":["a","b"]`), who: "jane [a b system:authenticated] [api other]"},
		{name: "authenticated already", answer: jane(`,"groups":["system:authenticated"]`), who: "jane [system:authenticated] [api other]"},
		{name: "asked for one of ours", answer: jane(""), asked: []string{"other", "x"}, who: "jane [system:authenticated] [other]"},
		{name: "asked for one of the webhook's", asked: []string{"x", "y"}, who: "jane [system:authenticated] [y x]",
			answer: head + `{"authenticated":true,"user":{"username":"jane"},"audiences":["z","y","x"]}}`},
		{name: "no apiVersion and kind", answer: `{"status":{"authenticated":true,"user":{"username":"jane"}}}`, who: "jane [system:authenticated] [api other]"},
		{name: "an error besides", answer: head + `{"authenticated":true,"user":{"username":"jane"},"error":"x"}}`, who: "jane [system:authenticated] [api other]"},
		{name: "unknown members", answer: jane(`,"more":1},"extra":{"a":"b"`), who: "jane [system:authenticated] [api other]"},
		{name: "v1beta1", answer: strings.Replace(jane(""), "/v1", "/v1beta1", 1), change: func(c *webhook.Config) { c.Version = "v1beta1" }, who: "jane [system:authenticated] [api other]"},
		{name: "an allowed name", answer: head + `{"authenticated":true,"user":{"username":"system:node:a","groups":["system:nodes"]}}}`, change: reserved,
			who: "system:node:a [system:nodes system:authenticated] [api other]"},

		{name: "unknown", answer: head + `{"authenticated":false}}`, err: "does not know the token"},
		{name: "no status", answer: head[:len(head)-10] + `}`, err: "does not know the token"},
		{name: "a user, but not authenticated", answer: head + `{"user":{"username":"jane"}}}`, err: "does not know the token"},
		{name: "a reason", answer: head + `{"error":"it has\u001b[31m expired: s3cret!"}}`, err: "refuses the token: it has [31m expired: [the token]"},
		{name: "a long reason", answer: head + `{"error":"` + strings.Repeat("ä", 4000) + `"}}`, err: "ää..."},
		{name: "other audiences", answer: head + `{"authenticated":true,"user":{"username":"jane"},"audiences":["z"]}}`, err: "not for the audiences"},
		{name: "audiences that we do not have", answer: jane(""), asked: []string{"x"}, err: "not for the audiences"},
		{name: "nobody", answer: head + `{"authenticated":true}}`, err: "without saying whose"},
		{name: "an empty name", answer: head + `{"authenticated":true,"user":{"username":"","groups":["a"]}}}`, err: "without saying whose"},
		{name: "a null name", answer: head + `{"authenticated":true,"user":{"username":null}}}`, err: "without saying whose"},
		{name: "USERNAME", answer: head + `{"authenticated":true,"user":{"USERNAME":"jane"}}}`, err: "without saying whose"},
		{name: "masters", answer: jane(`,"groups":["a","system:masters"]`), err: `group "system:masters", which is reserved`},
		{name: "masters by a star", answer: jane(`,"groups":["system:masters"]`), change: reserved, err: `group "system:masters", which is reserved`},
		{name: "a node", answer: head + `{"authenticated":true,"user":{"username":"system:node:a"}}}`, err: `user name "system:node:a", which is reserved`},
		{name: "another than allowed", answer: jane(`,"groups":["system:nodes2"]`), change: reserved, err: "which is reserved"},
		{name: "named as authenticated", answer: head + `{"authenticated":true,"user":{"username":"system:authenticated"}}}`, err: "which is reserved"},
		{name: "unauthenticated", answer: jane(`,"groups":["system:unauthenticated"]`), err: "which is reserved"},
		{name: "a name that is no text", answer: head + `{"authenticated":true,"user":{"username":"j\ud800"}}}`, err: "no Unicode"},
		{name: "a group that is no text", answer: jane(`,"groups":["\udfff"]`), err: "no Unicode"},
		{name: "no UTF-8", answer: jane(",\"uid\":\"\xff\""), err: "not UTF-8"},
		{name: "nothing", answer: "", err: "no JSON object"},
		{name: "garbage", answer: "<html>s3cret!", err: "no JSON object"},
		{name: "null", answer: "null", err: "does not know the token"},
		{name: "a list", answer: "[]", err: "no JSON object"},
		{name: "two objects", answer: jane("") + jane(""), err: "no JSON object"},
		{name: "cut", answer: jane("")[:60], err: "no JSON object"},
		{name: "a text for yes", answer: head + `{"authenticated":"true","user":{"username":"jane"}}}`, err: "no JSON object"},
		{name: "groups as a text", answer: jane(`,"groups":"a"`), err: "no JSON object"},
		{name: "twice", answer: head + `{"authenticated":false,"authenticated":true,"user":{"username":"jane"}}}`, err: "twice"},
		{name: "two names", answer: jane(`,"username":"admin"`), err: "twice"},
		{name: "a Status", answer: `{"kind":"Status","apiVersion":"v1","status":{"authenticated":true,"user":{"username":"jane"}}}`, err: `"Status"`},
		{name: "of another version", answer: strings.Replace(jane(""), "/v1", "/v1beta1", 1), err: "v1beta1"},
		{name: "of another group", answer: strings.Replace(jane(""), "authentication.k8s.io/", "x/", 1), err: `"x/v1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := open(t, says(test.answer), func(c *webhook.Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			res, err := v.VerifyToken(t.Context(), "s3cret!", test.asked)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "s3cret") {
					t.Fatalf("error %v, want one with %q", err, test.err)
				}
				checkWhy(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(res.Identity.Name, " ", res.Identity.Groups, " ", res.Audiences); got != test.who {
				t.Errorf("got %s, want %s", got, test.who)
			}
		})
	}
}

func TestWhatElseAnAnswerSays(t *testing.T) {
	v := open(t, says(jane(`,"uid":"7","extra":{"authentication.kubernetes.io/credential-id":["JTI=1"],"team":["a","b"],"none":[]}`)))
	res, err := v.VerifyToken(t.Context(), "s3cret", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &identity.Identity{
		Name: "jane", UID: "7", Groups: []string{"system:authenticated"},
		Extra:      map[string][]string{identity.CredentialIDKey: {"JTI=1"}, "team": {"a", "b"}, "none": {}},
		Credential: identity.Credential{Method: identity.Webhook, ID: "JTI=1"},
	}
	if !reflect.DeepEqual(res.Identity, want) {
		t.Errorf("identity %+v, want %+v", res.Identity, want)
	}
}

// What is no JWT has nothing that its signature covers.
func TestDigest(t *testing.T) {
	const signed = "eyJhbGciOiJFUzI1NiJ9.e30"
	sum := sha256.Sum256([]byte(signed))
	for token, want := range map[string]string{
		signed + ".AA": hex.EncodeToString(sum[:]), signed + ".AQ": hex.EncodeToString(sum[:]),
		signed: "", "s3cret": "", signed + ".": "", "a.b.c": "",
	} {
		res, err := open(t, says(jane(""))).VerifyToken(t.Context(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Identity.Credential.Digest; got != want {
			t.Errorf("%s has the digest %q, want %q", token, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		change func(*webhook.Config)
		err    string
	}{
		{func(c *webhook.Config) { c.Version = "" }, "unsupported"},
		{func(c *webhook.Config) { c.Version = "v2" }, "unsupported"},
		{func(c *webhook.Config) { c.TTL = -1 }, "cannot be believed"},
		{func(c *webhook.Config) { c.Reserved = []string{"jane"} }, "does not begin"},
		{func(c *webhook.Config) { c.Reserved = []string{"system:*"} }, "every name"},
		{func(c *webhook.Config) { c.Reserved = []string{"system:"} }, "no name"},
		{func(c *webhook.Config) { c.Reserved = []string{"system:*:a"} }, "not at its end"},
		{func(c *webhook.Config) { c.Reserved = []string{"system:anonymous"} }, "nobody"},
		{func(c *webhook.Config) { c.Reserved = []string{"system:unauthenticated"} }, "nobody"},
	} {
		cfg := webhook.Config{Version: "v1"}
		test.change(&cfg)
		if _, err := webhook.New(cfg); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("error %v, want one with %q", err, test.err)
		}
	}
}

func TestQuestion(t *testing.T) {
	var asked []string
	h := func(_ context.Context, review []byte, read func([]byte) error) error {
		asked = append(asked, string(review))
		return read([]byte(jane("")))
	}
	v := openFunc(t, h)
	_, _ = v.VerifyToken(t.Context(), `a"b<`, nil)
	_, _ = v.VerifyToken(t.Context(), "c", []string{"x"})
	want := []string{
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{"token":"a\"b\u003c","audiences":["api","other"]},"status":{"user":{}}}`,
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{"token":"c","audiences":["x"]},"status":{"user":{}}}`,
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// TestAnswersAreBelieved counts how often the webhook is asked.
func TestAnswersAreBelieved(t *testing.T) {
	yes := jane("")
	no := head + `{"authenticated":false}}`
	failed := head + `{"error":"the directory is down"}}`
	for _, test := range []struct {
		name, answer string
		ttl          time.Duration
		remembered   bool
	}{
		{"yes", yes, 2 * time.Minute, true},
		{"no", no, 2 * time.Minute, true},
		{"nobody", head + `{"authenticated":true}}`, 2 * time.Minute, true},
		{"a reason", failed, 2 * time.Minute, false},
		{"garbage", "x", 2 * time.Minute, false},
		{"yes, without a ttl", yes, 0, false},
		{"no, without a ttl", no, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := says(test.answer)
				v := open(t, h, func(c *webhook.Config) { c.TTL = test.ttl })
				expect := func(what string, n int64, asked ...string) {
					t.Helper()
					h.asked.Store(0)
					for range 3 {
						_, err := v.VerifyToken(t.Context(), "token", asked)
						if (err == nil) != strings.HasPrefix(test.name, "yes") {
							t.Fatal(err)
						}
					}
					if !test.remembered {
						n = 3
					}
					if got := h.asked.Load(); got != n {
						t.Errorf("%s: asked %d times, want %d", what, got, n)
					}
				}
				expect("at first", 1)
				time.Sleep(2*time.Minute - 1)
				expect("within the ttl", 0)
				expect("for another audience", 1, "api")
				time.Sleep(time.Nanosecond)
				expect("after the ttl", 1)
				v.Forget()
				expect("of another webhook", 1)
			})
		})
	}
}

// TestAnswerOfAWebhookThatIsReplaced comes after the replacement.
func TestAnswerOfAWebhookThatIsReplaced(t *testing.T) {
	var v *webhook.Verifier
	h := says(jane(""))
	answer := h.answer
	h.answer = func(token string, audiences []string) (string, error) {
		v.Forget()
		return answer(token, audiences)
	}
	v = open(t, h)
	for range 2 {
		if res, err := v.VerifyToken(t.Context(), "token", nil); err != nil || res.Fresh(time.Now()) {
			t.Errorf("result %v, %v: it should be stale", res, err)
		}
	}
	if h.asked.Load() != 2 {
		t.Errorf("asked %d times, want 2", h.asked.Load())
	}
}

// TestSlowWebhookCostsNobodyElse has 1,000 tokens wait for a webhook that does
// not answer, four callers for each, and counts what is asked and who is let in
// meanwhile.
func TestSlowWebhookCostsNobodyElse(t *testing.T) {
	const tokens, callers = 1000, 4
	synctest.Test(t, func(t *testing.T) {
		var flying, most sync.Map // token to *atomic.Int64
		var asked atomic.Int64
		release := make(chan struct{})
		v := openFunc(t, func(ctx context.Context, review []byte, read func([]byte) error) error {
			asked.Add(1)
			n, _ := flying.LoadOrStore(string(review), new(atomic.Int64))
			if n.(*atomic.Int64).Add(1) > 1 {
				most.Store(string(review), true)
			}
			defer n.(*atomic.Int64).Add(-1)
			select {
			case <-release:
				return read([]byte(jane("")))
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		static := staticTokens{"known": {Identity: &identity.Identity{Name: "static"}}}
		all := authn.Tokens(static, v)
		var work sync.WaitGroup
		var in, out atomic.Int64
		for i := range tokens * callers {
			ctx, leave := context.WithCancel(t.Context())
			work.Go(func() {
				defer leave()
				if _, err := all.VerifyToken(ctx, fmt.Sprintf("hanging-%d", i%tokens), nil); err != nil {
					out.Add(1)
					return
				}
				in.Add(1)
			})
			if i < tokens {
				time.AfterFunc(time.Second, leave) // a quarter does not wait that long
			}
		}
		synctest.Wait()
		for range 2000 {
			if res, err := all.VerifyToken(t.Context(), "known", nil); err != nil || res.Identity.Name != "static" {
				t.Fatal(err)
			}
		}
		if asked.Load() != tokens || in.Load()+out.Load() != 0 {
			t.Errorf("asked %d times, %d callers have an answer: the token of somebody else waits for the webhook", asked.Load(), in.Load()+out.Load())
		}
		time.Sleep(2 * time.Second)
		close(release)
		work.Wait()
		if out.Load() != tokens || in.Load() != tokens*(callers-1) {
			t.Errorf("%d in, %d out", in.Load(), out.Load())
		}
		most.Range(func(review, _ any) bool { t.Errorf("asked twice at a time: %s", review); return true })
	})
}

func TestWebhookThatNeverAnswers(t *testing.T) {
	before := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		v := openFunc(t, func(ctx context.Context, _ []byte, _ func([]byte) error) error {
			<-ctx.Done()
			return ctx.Err()
		})
		start := time.Now()
		_, err := v.VerifyToken(t.Context(), "token", nil)
		if err == nil || time.Since(start) != 30*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		if _, kind := authn.Blame(err); kind != authn.Unavailable {
			t.Errorf("the reason is counted as %q", kind)
		}
	})
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// A token about which the webhook was not asked, because others were, is not one
// that it gave no answer about.
func TestWebhookThatIsNotAsked(t *testing.T) {
	for want, asked := range map[authn.Kind]error{
		authn.Throttled:   authn.Explained(errors.New("no turn came"), authn.Throttled, nil),
		authn.Unavailable: authn.Explained(errors.New("no answer came"), authn.Expired, nil),
	} {
		v := openFunc(t, func(context.Context, []byte, func([]byte) error) error { return asked })
		_, err := v.VerifyToken(t.Context(), "token", nil)
		if method, kind := authn.Blame(err); method != identity.Webhook || kind != want || authn.IsThrottled(err) != (want == authn.Throttled) || authn.FactsOf(err).Mend == "" {
			t.Errorf("%s: the reason is counted as %q of %s: %v", want, kind, method, err)
		}
	}
}

// TestWhoseTokenItIs mixes tokens and audiences at random and at the same time:
// the identity is always the one of the token that was presented.
func TestWhoseTokenItIs(t *testing.T) {
	h := &hook{answer: func(token string, audiences []string) (string, error) {
		if strings.HasSuffix(token, "7") {
			return head + `{"authenticated":false}}`, nil
		}
		name, _ := json.Marshal(token + "@" + strings.Join(audiences, ","))
		list, _ := json.Marshal(audiences)
		return head + `{"authenticated":true,"user":{"username":` + string(name) + `},"audiences":` + string(list) + `}}`, nil
	}}
	v := open(t, h, func(c *webhook.Config) { c.TTL = time.Millisecond })
	var work sync.WaitGroup
	for seed := range 8 {
		work.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(seed)))
			for range 1500 {
				token := fmt.Sprintf("token-%d", r.IntN(200))
				audiences := []string{"api", "other", "x"}[:1+r.IntN(3)]
				if r.IntN(50) == 0 {
					v.Forget()
				}
				res, err := v.VerifyToken(t.Context(), token, audiences)
				if strings.HasSuffix(token, "7") {
					if !errors.Is(err, authn.ErrNoCredential) {
						t.Errorf("%s: %v, %v", token, res, err)
					}
					continue
				}
				if want := token + "@" + strings.Join(audiences, ","); err != nil || res.Identity.Name != want {
					t.Errorf("%s: %v, %v", want, res, err)
					return
				}
			}
		})
	}
	work.Wait()
}

// staticTokens are tokens that are known without asking.
type staticTokens map[string]*authn.Result

func (s staticTokens) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	if res := s[token]; res != nil {
		return res, nil
	}
	return nil, authn.ErrNoCredential
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{jane(""), jane(`,"groups":["a"],"extra":{"a":["b"]}`), head + `{"error":"x"}}`, "null", "[]", "{", `{"kind":"Status"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		v := open(t, says(string(answer)))
		res, err := v.VerifyToken(t.Context(), "s3cret", nil)
		if err != nil {
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error tells the token: %v", err)
			}
			return
		}
		for _, name := range append([]string{res.Identity.Name}, res.Identity.Groups...) {
			if strings.HasPrefix(name, "system:") && name != "system:authenticated" {
				t.Errorf("the name %q was let in", name)
			}
		}
		if res.Identity.Name == "" || len(res.Audiences) == 0 || !json.Valid(answer) {
			t.Errorf("let in: %+v", res)
		}
	})
}

// What is not presented is not sent; what was answered before is believed.
func TestRehearsalAsksNobody(t *testing.T) {
	h := says(jane(""))
	v := open(t, h)
	ctx := authn.Rehearsal(t.Context())
	if _, err := v.VerifyToken(ctx, "t", nil); ladder.Why(t, err) != "unavailable: " || h.asked.Load() != 0 {
		t.Errorf("a token that is not known yet: %v, asked %d times", err, h.asked.Load())
	}
	if _, err := v.VerifyToken(t.Context(), "t", nil); err != nil {
		t.Fatal(err)
	}
	if res, err := v.VerifyToken(ctx, "t", nil); err != nil || res.Identity.Name != "jane" || h.asked.Load() != 1 {
		t.Errorf("a token that was asked about: %v, %v, asked %d times", res, err, h.asked.Load())
	}
}

// Every text of the JSON test suite in an answer. Its members that are not known
// may be anything that is JSON.
func TestAnswersAreJSON(t *testing.T) {
	parse := func(answer []byte) error {
		_, err := open(t, says(string(answer))).VerifyToken(t.Context(), "s3cret", nil)
		return err
	}
	suite, good := vectors.JSON(t), jane("")
	if taken := suite.Check(t, strings.TrimSuffix(good, "}")+`,"more":%}`, true, parse); taken < 95 {
		t.Errorf("%d texts are taken", taken)
	}
	suite.Check(t, jane(`,"groups":%`), false, parse)
	suite.Check(t, jane(`,"extra":{"a":%}`), false, parse)
	suite.Check(t, "%", false, parse)
}
