package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	upstream "k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/webhook"
)

// tokenStatus writes the status of a TokenReview.
func (w writer) tokenStatus() string {
	if w.seldom(50) {
		return w.pick(`null`, `[]`, `{}`, `"x"`, `1`)
	}
	user := object(
		w.member("username", `"jane"`, `"jane"`, `"jane"`, `""`, `"system:node:a"`, `"system:masters"`, `"J\u00e9"`, `"j\ud800"`, `" "`, `"SYSTEM:x"`),
		w.member("uid", `"7"`, `""`),
		w.member("groups", `["a"]`, `["a","b"]`, `[]`, `["a","system:masters"]`, `["system:authenticated"]`, `["system:unauthenticated"]`, `[""]`, `["\udc00"]`),
		w.member("extra", `{"k":["v"]}`, `{}`, `{"k":[]}`, `{"K":["a","b"],"l":null}`),
	)
	return object(
		w.member("authenticated", `true`, `true`, `true`, `true`, `false`),
		[]string{`"user":` + user},
		w.member("audiences", `["api"]`, `["x"]`, `[]`, `["x","api","other"]`, `["other"]`),
		w.member("error", `""`, `""`, `"no"`, `"the token has expired"`),
		w.member("more", `1`),
	)
}

// told are the differences that may be, by a part of our reason.
var told = map[string]string{
	"is reserved":          "an answer of the token webhook that names a user or group beginning with",
	"without saying whose": "an answer of the token webhook without a user name, or with names that are no Unicode",
	"that is no Unicode":   "an answer of the token webhook without a user name, or with names that are no Unicode",
	"is not UTF-8":         "an answer of a webhook, about tokens or requests, that is no UTF-8",
	"has a member twice":   "an answer of a webhook, about tokens or requests, that is no UTF-8",
}

// yaml is the row about answers that are no JSON, which upstream reads as YAML.
const yaml = "or is YAML or has a byte order mark"

// explained returns the row that tells of a refusal of ours, or "".
func explained(err error, body string, theirErr error) string {
	for part, row := range told {
		if err != nil && strings.Contains(err.Error(), part) {
			return row
		}
	}
	if err != nil && theirErr == nil && !json.Valid([]byte(body)) {
		return yaml
	}
	return ""
}

func TestTokens(t *testing.T) {
	page := page(t)
	for _, version := range []string{"v1", "v1beta1"} {
		t.Run(version, func(t *testing.T) {
			s := newServer(t)
			config, client := s.clients(t)
			implicit := authenticator.Audiences{"api", "other"}
			theirs, err := upstream.New(config, version, implicit, wait.Backoff{Duration: time.Millisecond, Steps: 5})
			if err != nil {
				t.Fatal(err)
			}
			ours, err := webhook.New(webhook.Config{Ask: client.Post, Version: version, Audiences: implicit, TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			w, accepted, rows := newWriter(), 0, map[string]int{}
			for n := range rounds() {
				a := w.review("authentication.k8s.io", version, "TokenReview", w.tokenStatus())
				s.will(a)
				token := fmt.Sprintf("token-%d-\u00e9\"<", n)
				audiences := [][]string{{"api", "other"}, {"other", "x"}, {"x"}}[w.IntN(3)]
				res, ok, theirErr := theirs.AuthenticateToken(authenticator.WithAudiences(t.Context(), audiences), token)
				got, ourErr := ours.VerifyToken(t.Context(), token, audiences)
				if asked := s.questions(); len(asked) != 2 || !same(asked[0], asked[1]) {
					t.Fatalf("asked %q", asked)
				}
				row := explained(ourErr, a.body, theirErr)
				if row != "" {
					rows[row]++
				}
				switch {
				case ourErr == nil && !ok:
					t.Fatalf("we accept %d %s\nthey say %v", a.code, a.body, theirErr)
				case ourErr == nil:
					accepted++
					u := res.User
					groups := u.GetGroups()
					if !got.Identity.InGroup("system:authenticated") {
						t.Fatalf("not authenticated: %+v", got.Identity)
					}
					if !slices.Contains(groups, "system:authenticated") {
						groups = append(append([]string{}, groups...), "system:authenticated")
					}
					if got.Identity.Name != u.GetName() || got.Identity.UID != u.GetUID() || !slices.Equal(got.Identity.Groups, groups) ||
						!sameExtra(got.Identity.Extra, u.GetExtra()) || !slices.Equal(got.Audiences, res.Audiences) {
						t.Fatalf("answer %s\nwe see %+v for %q\nthey see %+v for %q", a.body, got.Identity, got.Audiences, u, res.Audiences)
					}
				case row != "":
				case ok:
					t.Fatalf("they accept %d %s\nwe say %v", a.code, a.body, ourErr)
				case (theirErr == nil) != errors.Is(ourErr, authn.ErrNoCredential):
					t.Fatalf("answer %d %s\nwe say %v\nthey say %v", a.code, a.body, ourErr, theirErr)
				}
			}
			if accepted < rounds()/20 {
				t.Errorf("only %d of %d answers let somebody in", accepted, rounds())
			}
			for row := range rows {
				if !page.Tells(row) {
					t.Errorf("docs/kubernetes-divergences.md does not tell of %q", row)
				}
			}
			t.Logf("%d answers, %d let somebody in, refused differently: %v", rounds(), accepted, rows)
		})
	}
}

// sameExtra takes nil for empty.
func sameExtra(a, b map[string][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }
