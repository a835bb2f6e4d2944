package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	authorizationv1beta1 "k8s.io/api/authorization/v1beta1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/vectors"
)

type asker = func(ctx context.Context, review []byte, read func([]byte) error) error

// A hook is a webhook that answers by a function of the review.
type hook struct {
	asked  atomic.Int64
	answer func(review []byte) (string, error)
}

func (h *hook) ask(_ context.Context, review []byte, read func([]byte) error) error {
	h.asked.Add(1)
	text, err := h.answer(review)
	if err != nil {
		return err
	}
	return read([]byte(text))
}

func says(text string) *hook { return &hook{answer: func([]byte) (string, error) { return text, nil }} }

func fails(err error) *hook { return &hook{answer: func([]byte) (string, error) { return "", err }} }

func open(t testing.TB, ask asker, change ...func(*webhook.Config)) *webhook.Authorizer {
	t.Helper()
	cfg := webhook.Config{Ask: ask, Version: "v1", Allowed: 5 * time.Minute, Denied: 30 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	w, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const head = `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","status":`

var names = map[authz.Verdict]string{authz.NoOpinion: "no opinion", authz.Allow: "allow", authz.Deny: "deny"}

// get is a request to read pods.
func get(user string) *authz.Attributes {
	return &authz.Attributes{
		User: &identity.Identity{Name: user, Groups: []string{"dev"}}, IsResource: true,
		Verb: "get", APIVersion: "v1", Resource: "pods", Namespace: "default", Name: "p",
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		want         string // the verdict, the reason
		err          string
	}{
		{"allowed", head + `{"allowed":true}}`, "allow", ""},
		{"allowed, with a reason", head + `{"allowed":true,"reason":"because"}}`, "allow because", ""},
		{"no apiVersion and kind", `{"status":{"allowed":true}}`, "allow", ""},
		{"an evaluation error besides", head + `{"allowed":true,"evaluationError":"x"}}`, "allow", ""},
		{"unknown members", head + `{"allowed":true,"more":[1]},"spec":{"user":"x"}}`, "allow", ""},

		{"denied", head + `{"allowed":false,"denied":true,"reason":"no"}}`, "deny no", ""},
		{"no opinion", head + `{"allowed":false}}`, "no opinion", ""},
		{"no opinion, with a reason", head + `{"allowed":false,"reason":"dunno"}}`, "no opinion dunno", ""},
		{"both", head + `{"allowed":true,"denied":true,"reason":"x"}}`, "deny x", "both allow and deny"},
		{"nothing", head[:len(head)-10] + `}`, "no opinion", ""},
		{"null", "null", "no opinion", ""},
		{"ALLOWED", head + `{"ALLOWED":true}}`, "no opinion", ""},
		{"allowed elsewhere", `{"kind":"SubjectAccessReview","allowed":true}`, "no opinion", ""},
		{"a reason that moves the cursor", head + `{"reason":"a\u001b[31mb\u0085c\nd"}}`, "no opinion a [31mb c\nd", ""},

		{"empty", "", "no opinion", "no JSON object"},
		{"garbage", "<html>", "no opinion", "no JSON object"},
		{"a list", "[]", "no opinion", "no JSON object"},
		{"cut", head + `{"allowed":true}`, "no opinion", "no JSON object"},
		{"two objects", head + `{"allowed":true}}{}`, "no opinion", "no JSON object"},
		{"a text for yes", head + `{"allowed":"true"}}`, "no opinion", "no JSON object"},
		{"a number for yes", head + `{"allowed":1}}`, "no opinion", "no JSON object"},
		{"twice", head + `{"allowed":false,"allowed":true}}`, "no opinion", "twice"},
		{"two statuses", `{"status":{"allowed":false},"status":{"allowed":true}}`, "no opinion", "twice"},
		{"no UTF-8", head + "{\"allowed\":true,\"reason\":\"\xff\"}}", "no opinion", "not UTF-8"},
		{"a Status", `{"kind":"Status","apiVersion":"v1","status":{"allowed":true}}`, "no opinion", `"Status"`},
		{"another version", strings.Replace(head, "/v1", "/v1beta1", 1) + `{"allowed":true}}`, "no opinion", "v1beta1"},
		{"another kind", strings.Replace(head, "Subject", "SelfSubject", 1) + `{"allowed":true}}`, "no opinion", "SelfSubject"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, onError := range []authz.Verdict{authz.NoOpinion, authz.Deny} {
				opened := 0
				w := open(t, says(test.answer).ask, func(c *webhook.Config) {
					c.OnError, c.FailedOpen = onError, func(error) { opened++ }
				})
				answer, err := w.Authorize(t.Context(), get("jane"))
				want, failed := test.want, test.err != "" && test.name != "both"
				if failed {
					want = names[onError]
				}
				if got := strings.TrimSpace(names[answer.Verdict] + " " + answer.Reason()); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				if (opened == 1) != (failed && onError == authz.NoOpinion) {
					t.Errorf("failed open %d times", opened)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for i, cfg := range []webhook.Config{
		{}, {Version: "v2"}, {Version: "v1", OnError: authz.Allow}, {Version: "v1", OnError: 7},
		{Version: "v1", Allowed: -1}, {Version: "v1", Denied: -1},
	} {
		if _, err := webhook.New(cfg); err == nil {
			t.Errorf("configuration %d is accepted", i)
		}
	}
}

func TestQuestion(t *testing.T) {
	extra := &authz.Attributes{User: &identity.Identity{Name: "jane", UID: "7", Groups: []string{"a"}, Extra: map[string][]string{"k": {"v"}}}, Verb: "get", Path: "/livez"}
	list := get("jane")
	list.Verb, list.Name, list.FieldSelector, list.LabelSelector = "list", "", "a=b,c!=d", "x in (y,z),!w,v"
	broken := get("jane")
	broken.FieldSelector, broken.LabelSelector = "a", "!!"
	for _, test := range []struct {
		a    *authz.Attributes
		want string
	}{
		{get("jane"), `"resourceAttributes":{"namespace":"default","verb":"get","version":"v1","resource":"pods","name":"p"},"user":"jane","groups":["dev"]`},
		{extra, `"nonResourceAttributes":{"path":"/livez","verb":"get"},"user":"jane","groups":["a"],"extra":{"k":["v"]},"uid":"7"`},
		{list, `"resourceAttributes":{"namespace":"default","verb":"list","version":"v1","resource":"pods",` +
			`"fieldSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]},{"key":"c","operator":"NotIn","values":["d"]}]},` +
			`"labelSelector":{"requirements":[{"key":"v","operator":"Exists"},{"key":"w","operator":"DoesNotExist"},{"key":"x","operator":"In","values":["y","z"]}]}},` +
			`"user":"jane","groups":["dev"]`},
		{broken, `"resourceAttributes":{"namespace":"default","verb":"get","version":"v1","resource":"pods","name":"p"},"user":"jane","groups":["dev"]`},
		{&authz.Attributes{Verb: "get", Path: "/"}, `"nonResourceAttributes":{"path":"/","verb":"get"}`},
	} {
		var asked []string
		for _, version := range []string{"v1", "v1beta1"} {
			w := open(t, func(_ context.Context, review []byte, read func([]byte) error) error {
				asked = append(asked, string(review))
				return read([]byte(`{}`))
			}, func(c *webhook.Config) { c.Version = version })
			if _, err := w.Authorize(t.Context(), test.a); err != nil {
				t.Fatal(err)
			}
		}
		want := `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},"spec":{` + test.want + `},"status":{"allowed":false}}`
		if asked[0] != want {
			t.Errorf("asked\n%s, want\n%s", asked[0], want)
		}
		if old := strings.NewReplacer("k8s.io/v1", "k8s.io/v1beta1", `"groups":`, `"group":`).Replace(want); asked[1] != old {
			t.Errorf("asked\n%s, want\n%s", asked[1], old)
		}
		var v1 authorizationv1.SubjectAccessReview
		var v1beta1 authorizationv1beta1.SubjectAccessReview
		if err := errors.Join(json.Unmarshal([]byte(asked[0]), &v1), json.Unmarshal([]byte(asked[1]), &v1beta1)); err != nil {
			t.Error(err)
		}
	}
}

// TestAnswersAreBelieved counts how often the webhook is asked.
func TestAnswersAreBelieved(t *testing.T) {
	down := errors.New("down")
	for _, test := range []struct {
		name  string
		hook  *hook
		ttl   time.Duration // 0 means that nothing is remembered
		large bool
		off   bool
	}{
		{name: "allowed", hook: says(head + `{"allowed":true}}`), ttl: 5 * time.Minute},
		{name: "denied", hook: says(head + `{"denied":true}}`), ttl: 30 * time.Second},
		{name: "no opinion", hook: says(head + `{}}`), ttl: 30 * time.Second},
		{name: "both", hook: says(head + `{"denied":true,"allowed":true}}`), ttl: 30 * time.Second},
		{name: "no answer", hook: fails(down)},
		{name: "garbage", hook: says("x")},
		{name: "a large question", hook: says(head + `{"allowed":true}}`), large: true},
		{name: "allowed, not to be remembered", hook: says(head + `{"allowed":true}}`), off: true},
		{name: "denied, not to be remembered", hook: says(head + `{"denied":true}}`), off: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, test.hook.ask, func(c *webhook.Config) {
					if test.off {
						c.Allowed, c.Denied = 0, 0
					}
				})
				a := get("jane")
				if test.large {
					a.Name = strings.Repeat("n", 10_000-len("defaultgetv1pods"))
				}
				expect := func(what string, n int64) {
					t.Helper()
					test.hook.asked.Store(0)
					first, _ := w.Authorize(t.Context(), a)
					for range 3 {
						if again, _ := w.Authorize(t.Context(), a); again != first {
							t.Errorf("%s: %v, then %v", what, first, again)
						}
					}
					if test.ttl == 0 {
						n = 4
					}
					if got := test.hook.asked.Load(); got != n {
						t.Errorf("%s: asked %d times, want %d", what, got, n)
					}
				}
				expect("at first", 1)
				time.Sleep(max(test.ttl-1, 0))
				expect("within the ttl", 0)
				time.Sleep(time.Nanosecond)
				expect("after the ttl", 1)
			})
		})
	}
}

func TestMatch(t *testing.T) {
	bad := errors.New("bad condition")
	for _, test := range []struct {
		matches bool
		err     error
		onError authz.Verdict
		want    authz.Verdict
		asked   int64
	}{
		{true, nil, authz.Deny, authz.Allow, 1},
		{false, nil, authz.Deny, authz.NoOpinion, 0},
		{false, nil, authz.NoOpinion, authz.NoOpinion, 0},
		{false, bad, authz.NoOpinion, authz.NoOpinion, 0},
		{true, bad, authz.Deny, authz.Deny, 0},
	} {
		h := says(head + `{"allowed":true}}`)
		var seen string
		w := open(t, h.ask, func(c *webhook.Config) {
			c.OnError = test.onError
			c.Match = func(_ context.Context, s *authorizationv1.SubjectAccessReviewSpec) (bool, error) {
				seen = s.User
				return test.matches, test.err
			}
		})
		answer, err := w.Authorize(t.Context(), get("jane"))
		if answer.Verdict != test.want || !errors.Is(err, test.err) || h.asked.Load() != test.asked || seen != "jane" {
			t.Errorf("%+v: %v, %v, asked %d times about %q", test, answer, err, h.asked.Load(), seen)
		}
	}
}

// TestAskedOnceAtATime has 1,000 callers with 10 questions, of a webhook that
// takes its time; half of the callers do not wait for it.
func TestAskedOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := says(head + `{"allowed":true}}`)
		answer := h.answer
		h.answer = func(review []byte) (string, error) {
			time.Sleep(10 * time.Second)
			return answer(review)
		}
		opened := 0
		w := open(t, h.ask, func(c *webhook.Config) { c.FailedOpen = func(error) { opened++ } })
		var work sync.WaitGroup
		var in atomic.Int64
		for i := range 1000 {
			work.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				if a, _ := w.Authorize(ctx, get(fmt.Sprint(i%5))); a.Verdict == authz.Allow {
					in.Add(1)
				}
			})
		}
		work.Wait()
		if h.asked.Load() != 5 || in.Load() != 500 || opened != 0 {
			t.Errorf("asked %d times, %d allowed, failed open %d times", h.asked.Load(), in.Load(), opened)
		}
	})
}

// TestAnswersAreOfTheirQuestion has similar questions at random and at the same
// time, each with an answer of its own: none is ever another's.
func TestAnswersAreOfTheirQuestion(t *testing.T) {
	h := &hook{answer: func(review []byte) (string, error) {
		var r authorizationv1.SubjectAccessReview
		if err := json.Unmarshal(review, &r); err != nil {
			return "", err
		}
		spec, err := json.Marshal(r.Spec)
		if err != nil {
			return "", err
		}
		reason, err := json.Marshal(string(spec))
		return head + `{"allowed":true,"reason":` + string(reason) + `}}`, err
	}}
	w := open(t, h.ask)
	pick := func(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }
	lists := [][]string{nil, {"a"}, {"a", "b"}, {"ab"}, {"", "a"}, {"1", "a"}}
	var work sync.WaitGroup
	for seed := range 4 {
		work.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(seed)))
			for range 3000 {
				a := &authz.Attributes{
					IsResource: r.IntN(2) == 0, Verb: pick(r, "get", "list", ""), Namespace: pick(r, "", "a", "b"), Name: pick(r, "", "a", "b"),
					Resource: pick(r, "", "a"), Subresource: pick(r, "", "a"), Path: pick(r, "", "/a", "/b"), FieldSelector: pick(r, "", "a=b"), LabelSelector: pick(r, "", "a=b"),
					User: &identity.Identity{Name: pick(r, "a", "b", "1"), UID: pick(r, "", "a"), Groups: lists[r.IntN(len(lists))]},
				}
				for range r.IntN(3) {
					a.User.Extra = map[string][]string{pick(r, "a", "b"): lists[r.IntN(len(lists))], pick(r, "a", "c"): lists[r.IntN(len(lists))]}
				}
				want := questionOf(t, a)
				if got, err := w.Authorize(t.Context(), a); err != nil || !same(got.Reason(), want) {
					t.Errorf("the question\n%s has the answer of\n%s (%v)", want, got.Reason(), err)
					return
				}
			}
		})
	}
	work.Wait()
}

// questionOf returns the question about a, asked of nobody else.
func questionOf(t *testing.T, a *authz.Attributes) (spec string) {
	cfg := webhook.Config{Version: "v1", Match: func(_ context.Context, s *authorizationv1.SubjectAccessReviewSpec) (bool, error) {
		text, err := json.Marshal(s)
		spec = string(text)
		return false, err
	}}
	w, err := webhook.New(cfg)
	if err == nil {
		_, err = w.Authorize(t.Context(), a)
	}
	if err != nil {
		t.Error(err)
	}
	return spec
}

// same reports whether two questions are, whatever the order of their members.
func same(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func TestRulesAreNotKnown(t *testing.T) {
	rules, err := open(t, says("").ask).RulesFor(t.Context(), &identity.Identity{Name: "jane"}, "default")
	if !rules.Incomplete || err == nil || err.Error() != "webhook authorizer does not support user rule resolution" {
		t.Errorf("%+v, %v", rules, err)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{head + `{"allowed":true}}`, head + `{"denied":true,"reason":"x"}}`, "null", "[]", "{", `{"kind":"Status"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		answer, err := open(t, says(string(text)).ask, func(c *webhook.Config) { c.OnError = authz.Deny }).Authorize(t.Context(), get("jane"))
		if answer.Verdict == authz.Allow && (err != nil || !json.Valid(text) || !strings.Contains(string(text), "true")) {
			t.Errorf("allowed by %q, %v", text, err)
		}
	})
}

func BenchmarkRemembered(b *testing.B) {
	w := open(b, says(head+`{"allowed":true}}`).ask)
	a := get("jane")
	b.ReportAllocs()
	for b.Loop() {
		if answer, err := w.Authorize(b.Context(), a); err != nil || answer.Verdict != authz.Allow {
			b.Fatal(answer, err)
		}
	}
}

// Every text of the JSON test suite in an answer. Its members that are not known
// may be anything that is JSON.
func TestAnswersAreJSON(t *testing.T) {
	parse := func(text []byte) error {
		answer, err := open(t, says(string(text)).ask, func(c *webhook.Config) { c.OnError = authz.Deny }).Authorize(t.Context(), get("jane"))
		if err == nil && answer.Verdict != authz.Allow {
			return errors.New("not allowed")
		}
		return err
	}
	suite := vectors.JSON(t)
	if taken := suite.Check(t, head+`{"allowed":true},"more":%}`, true, parse); taken < 95 {
		t.Errorf("%d texts are taken", taken)
	}
	suite.Check(t, head+`{"allowed":true,"reason":%}}`, false, parse)
	suite.Check(t, head+`{"allowed":%}}`, false, parse)
	suite.Check(t, "%", false, parse)
}
