package review_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/api/review"
)

// Every token that is refused is kept with the true cause, and who asks is told
// by which ID; one that is accepted is not kept.
func TestRefusedTokensAreKept(t *testing.T) {
	for _, tt := range []struct {
		name, spec string
		sources    []string
		client     bool
		found      string // METHOD KIND WHAT of the last rung, and whose it is; "" if the token is good
	}{
		{"unknown", `"token":"other"`, nil, false, "Bearer unknown"},
		{"white space", `"token":"static "`, nil, false, "Bearer malformed"},
		{"audiences of others", `"token":"stage","audiences":["prod"]`, nil, false, "Bearer unknown"},
		{"a client's unknown", `"token":"other"`, nil, true, "Bearer unknown"},
		{"a client's white space", `"token":" static"`, nil, true, "Bearer malformed"},
		{"a client that asks for others", `"token":"static","audiences":["stage"]`, nil, true, "Bearer audience audiences that the API server asks for"},
		{"an account's token for us", `"token":"own"`, nil, true, "ServiceAccount audience audience (aud) of own"},
		{"an old token", `"token":"legacy"`, nil, true, "LegacyServiceAccount audience audience (aud) of legacy"},
		{"a webhook's token for us", `"token":"remote"`, nil, true, "Webhook audience audience (aud) of remote"},
		{"a method that does not count", `"token":"static"`, []string{"JWT"}, true, "StaticToken unsuitable source of static"},
		{"an issuer that does not count", `"token":"jwt"`, []string{"https://b.example.org"}, true, "JWT unsuitable source of jwt"},
		{"good", `"token":"own","audiences":["own"]`, nil, false, ""},
		{"good for a client", `"token":"prod"`, nil, true, ""},
		{"a method that counts", `"token":"static"`, []string{"StaticToken"}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wd := newWorld()
			wd.id = "id-1"
			clients := map[string]*review.Client{}
			if tt.client {
				clients["alice"] = &review.Client{Audiences: []string{"prod", "more"}, Sources: tt.sources}
			}
			h, err := review.New(review.Config{
				Tokens: authn.Tokens(&market{}), Audiences: []string{"own"}, Access: wd, Rules: wd, Journal: wd, Validate: check, Clients: clients,
			})
			if err != nil {
				t.Fatal(err)
			}
			w, _ := postJSON(h, tokenPath, `{"spec":{`+tt.spec+`}}`)
			var got authenticationv1.TokenReview
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusCreated {
				t.Fatalf("%d %v: %s", w.Code, err, w.Body)
			}
			if tt.found == "" {
				if !got.Status.Authenticated || len(wd.kept) > 0 {
					t.Errorf("%+v is kept as %+v", got.Status, wd.kept)
				}
				return
			}
			if got.Status.Authenticated || !strings.HasSuffix(got.Status.Error, " (gatehouse explain id-1)") || len(wd.kept) != 1 {
				t.Fatalf("%+v is kept as %+v", got.Status, wd.kept)
			}
			n := wd.kept[0]
			last := n.ladder[len(n.ladder)-1]
			text := string(last.Method) + " " + string(last.Kind)
			if i := len(last.Checks) - 1; i >= 0 {
				text += " " + last.Checks[i].What
			}
			if n.whose != "" {
				text += " of " + n.whose
			}
			if text != tt.found || n.kind != "TokenReview" || last.Found != authn.Refused || last.Reason == "" || last.Mend == "" {
				t.Errorf("kept as %q: %+v", text, n)
			}
			if n.whose != "" && (n.ladder[0].Found != authn.Accepted || strings.Contains(got.Status.Error, n.whose)) {
				t.Errorf("whose it is: %+v, told %q", n.ladder, got.Status.Error)
			}
		})
	}
}

// What somebody else may not do is kept, with the reason and what went wrong;
// what is allowed is not, nor what callers ask about themselves.
func TestDenialsAreKept(t *testing.T) {
	const (
		who   = `"user":"bob","groups":["g"],`
		local = `"resourceAttributes":{"namespace":"ns","resource":"pods","verb":`
	)
	for _, tt := range []struct {
		name, path, spec string
		kind, reason     string // "" if not kept
		err              string
	}{
		{"denied", accessPath, who + `"resourceAttributes":{"verb":"delete"}`, "SubjectAccessReview", "gatehouse explain id-1", ""},
		{"no opinion", accessPath, who + `"resourceAttributes":{"verb":"list"}`, "SubjectAccessReview", "gatehouse explain id-1", ""},
		{"undecided", accessPath, who + `"resourceAttributes":{"verb":"watch"}`, "SubjectAccessReview", "gatehouse explain id-1", "role not found"},
		{"a path", accessPath, who + `"nonResourceAttributes":{"verb":"post","path":"/x"}`, "SubjectAccessReview", "gatehouse explain id-1", ""},
		{"in a namespace", localPath, who + local + `"list"}`, "LocalSubjectAccessReview", "gatehouse explain id-1", ""},
		{"allowed", accessPath, who + `"resourceAttributes":{"verb":"get"}`, "", "RBAC: allowed", ""},
		{"allowed in a namespace", localPath, who + local + `"get"}`, "", "RBAC: allowed", ""},
		{"about oneself", canIPath, `"resourceAttributes":{"verb":"list"}`, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wd := newWorld()
			wd.id = "id-1"
			s := answerOf[authorizationv1.SubjectAccessReview](t, wd, tt.path, `{"spec":{`+tt.spec+`}}`).Status
			if s.Reason != tt.reason || len(wd.kept) != min(len(tt.kind), 1) {
				t.Fatalf("%+v is kept as %+v", s, wd.kept)
			}
			if tt.kind == "" {
				return
			}
			n := wd.kept[0]
			if n.kind != tt.kind || n.asked.User.Name != "bob" || n.asked.Verb == "" || (n.err != nil) != (tt.err != "") || s.EvaluationError != tt.err {
				t.Errorf("kept as %+v, told %+v", n, s)
			}
		})
	}
	wd := newWorld()
	if s := answerOf[authorizationv1.SubjectAccessReview](t, wd, accessPath, `{"spec":{`+who+`"resourceAttributes":{"verb":"list"}}}`).Status; s.Reason != "" {
		t.Errorf("what is not kept is told as %q", s.Reason)
	}
}
