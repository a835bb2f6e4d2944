package requests_test

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	upstream "k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"gatehouse.dev/gatehouse/authn/webhook"
)

// Rows of the page about answers of token webhooks.
const (
	reservedAnswer = "an answer of the token webhook that names a user or group beginning with `system:`"
	namelessAnswer = "an answer of the token webhook without a user name, or with names that are no Unicode"
	unread         = "members of a webhook's answer that are named `KIND` or `APIVERSION`"
	unclearAnswer  = "an answer of a webhook, about tokens or requests, that is no UTF-8, has a member twice, or is YAML or has a byte order mark"
)

// A scripted webhook gives the same answer to both sides.
type scripted struct{ answer string }

// RoundTrip answers Kubernetes' client.
func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(s.answer)),
	}, nil
}

func (s *scripted) ask(_ context.Context, _ []byte, read func([]byte) error) error {
	return read([]byte(s.answer))
}

// TestWebhook gives generated answers of a webhook to both sides.
func TestWebhook(t *testing.T) {
	t.Parallel()
	klog.SetLogger(logr.Discard()) // upstream logs each answer that it cannot read
	audiences := []string{"api", "other"}
	for _, version := range []string{"v1", "v1beta1"} {
		t.Run(version, func(t *testing.T) {
			r, seen, hook := random(t), differences{}, &scripted{}
			our, err := webhook.New(webhook.Config{Ask: hook.ask, Version: version, Audiences: audiences})
			if err != nil {
				t.Fatal(err)
			}
			their, err := upstream.New(&rest.Config{Host: "https://hook.example", Transport: hook, QPS: -1}, version, audiences, wait.Backoff{Steps: 1, Duration: time.Nanosecond})
			if err != nil {
				t.Fatal(err)
			}
			for range rounds() / 2 {
				var asked []string
				for range []int{0, 0, 0, 1, 2}[r.IntN(5)] {
					asked = append(asked, pick(r, "api", "other", "third"))
				}
				hook.answer = reviewAnswer(r, version)
				a := ours(our.VerifyToken(t.Context(), "token", asked))
				want := authenticator.Audiences(asked)
				if len(asked) == 0 {
					want = audiences
				}
				ctx := authenticator.WithAudiences(t.Context(), want)
				adder := group.NewAuthenticatedGroupAdder(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
					return their.AuthenticateToken(ctx, "token")
				}))
				b := theirs(adder.AuthenticateRequest(new(http.Request)))
				if b.Refused && !a.Refused && ofNoUse(hook.answer) {
					seen[unread]++
					continue
				}
				seen.check(t, hook.answer, a, b, whyAnswer(hook.answer, b))
			}
			seen.seen(t, reservedAnswer, namelessAnswer, unclearAnswer, unread)
		})
	}
}

// ofNoUse tells answers with a member that only upstream reads.
func ofNoUse(answer string) bool {
	return strings.Contains(strings.ReplaceAll(answer, " : ", ":"), `"KIND":`)
}

// whyAnswer says why we refuse an answer that they take for b.
func whyAnswer(answer string, b outcome) string {
	names := append([]string{b.Name}, slices.DeleteFunc(slices.Clone(b.Groups), func(g string) bool { return g == "system:authenticated" })...)
	text := strings.Join(names, "")
	switch {
	case !utf8.ValidString(answer) || !json.Valid([]byte(answer)) || strings.Count(answer, `"status"`) > 1 || strings.Count(answer, `"username"`) > 1:
		return unclearAnswer
	case b.Refused:
		return ""
	case slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "system:") }):
		return reservedAnswer
	case b.Name == "" && b.Groups != nil || strings.ContainsRune(text, utf8.RuneError):
		return namelessAnswer
	}
	return ""
}

// reviewAnswer is an answer that is right but for a few things.
func reviewAnswer(r *rand.Rand, version string) string {
	usual := func(v any, odd ...any) any {
		if r.IntN(12) > 0 {
			return v
		}
		return odd[r.IntN(len(odd))]
	}
	put := func(m map[string]any, name string, v any) {
		if r.IntN(20) > 0 {
			m[name] = v
		}
	}
	user, status, review := map[string]any{}, map[string]any{}, map[string]any{}
	put(user, "username", usual("jane", "", nil, 5, "system:node:n1", "system:anonymous", "a\ufffdb", "käse", []string{"jane"}, "System:x"))
	put(user, "uid", usual("u-1", "", nil, 7))
	put(user, "groups", usual([]any{"dev", "ops"}, []any{}, nil, []any{"system:authenticated"}, []any{"dev", "system:masters"}, []any{"system:unauthenticated"}, []any{""}, []any{1}, "dev", []any{nil}))
	if r.IntN(2) == 0 {
		put(user, "extra", usual(map[string]any{"scopes": []any{"a", "b"}}, map[string]any{"Scopes": []any{}}, map[string]any{"k": nil}, map[string]any{"k": "v"}, []any{}, nil,
			map[string]any{"authentication.kubernetes.io/credential-id": []any{"JTI=x"}}))
	}
	put(status, "authenticated", usual(true, false, false, nil, "true", 1))
	put(status, "user", usual(user, nil, "jane", []any{}, map[string]any{}))
	if r.IntN(2) == 0 {
		put(status, "audiences", usual([]any{"api"}, []any{"third"}, []any{}, nil, "api", []any{"API", "api"}, []any{""}, []any{7}))
	}
	if r.IntN(10) == 0 {
		put(status, "error", usual("no", "", 5, nil))
	}
	put(review, "apiVersion", usual("authentication.k8s.io/"+version, "authentication.k8s.io/v1", "authentication.k8s.io/v1beta1", "v1", "", nil))
	put(review, "kind", usual("TokenReview", "tokenreview", "SubjectAccessReview", "Status", "", nil))
	put(review, "status", usual(status, nil, "x", []any{}))
	if r.IntN(10) == 0 {
		put(review, pick(r, "metadata", "spec", "more", "Status", "STATUS", "KIND"), usual(map[string]any{}, nil, "x", map[string]any{"name": "x"}, status))
	}
	text, err := json.Marshal(review)
	if err != nil {
		panic(err) // values of JSON
	}
	return broken(r, string(text))
}

// broken changes the text of an answer now and then.
func broken(r *rand.Rand, text string) string {
	if r.IntN(12) > 0 {
		return text
	}
	switch r.IntN(10) {
	case 0:
		return strings.Replace(text, `"jane"`, "\"j\xffane\"", 1)
	case 1:
		return strings.Replace(text, `"username"`, `"username":"root","username"`, 1)
	case 2:
		return strings.Replace(text, `{`, `{"status":{"authenticated":true,"user":{"username":"root"}},`, 1)
	case 3:
		return strings.Replace(text, `"authenticated"`, `"Authenticated"`, 1)
	case 4:
		return text + pick(r, " ", "\n", "{}", "x", "\x00")
	case 5:
		return text[:r.IntN(len(text))]
	case 6:
		return "\ufeff" + text
	case 7:
		return pick(r, "", "null", "[]", "<html>", "{}", "true", "kind: TokenReview\nstatus: {authenticated: true, user: {username: jane}}")
	case 8:
		return strings.Replace(text, `"jane"`, `"j\ud800ane"`, 1)
	}
	return strings.ReplaceAll(text, `:`, ` : `)
}
