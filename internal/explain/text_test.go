package explain

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPage(t *testing.T) {
	at := metav1.NewMicroTime(time.Unix(0, 0))
	e := answer("audit-1", []Request{
		{ID: "id-1", AuditID: "audit-1", Time: &at, Server: "a", Peer: "192.0.2.1", Code: 401, Method: "GET", Path: "/api", Ladder: []Rung{
			{Method: "X509", Source: "ca.pem", Found: "passed", Reason: "the connection has no client certificate"},
			{Method: "JWT", Found: "refused", Reason: "token is expired\x1b[2J\nok", Kind: "expired", Mend: "log in again",
				Checks: []Check{{What: "issuer (iss)", Got: "https://issuer", OK: true}, {What: "expiry (exp)", Got: "then", Want: "after now"}}},
		}},
		{Code: 403, User: &User{Username: "jane", Groups: []string{"dev"}, MoreGroups: 3}, Authorization: &Authorization{
			Asked: Asked{Verb: "get", Resource: "pods", Subresource: "log", Name: "p", Namespace: "x"}, Reason: "RBAC: no",
			Nearest: []Nearest{{Differs: "verb", Sentence: "a rule is near"}}, Rule: "{a rule}",
			Roles:   []Role{{Role: `Role "view"`, Command: "bind it"}, {Role: `ClusterRole "edit"`, Command: "or that"}},
			Instead: []Authorization{{Asked: Asked{Verb: "get", Path: "/x"}, Rule: "{its rule}"}},
		}},
	})
	e.Status.More, e.Status.KeptFor, e.Status.NotRecorded = 7, "1h0m0s", &Lost{PeerLimit: 2}
	var b strings.Builder
	if err := (&Page{}).Write(&b, e); err != nil {
		t.Fatal(err)
	}
	want := `request id-1, audit ID audit-1
answered with 401 at 1970-01-01T00:00:00Z by a to 192.0.2.1
GET /api

who is calling
  - X509 ca.pem  passed    the connection has no client certificate
  ✗ JWT          refused   token is expired` + "\uFFFD" + `[2J ok
      ✓ issuer (iss)  https://issuer
      ✗ expiry (exp)  got then, want after now
      mend: log in again


the caller is jane
  groups           dev, and 3 more

what the caller may do
  ✗ get pods/log p in namespace x: denied, because RBAC: no
  nearest rules, as of now:
    - a rule is near
  roles that would allow it, the narrowest first:
    - Role "view": bind it
    - ClusterRole "edit": or that
  or, instead of that,
  ✗ get /x: denied
  no role would allow it but those of the system, and of everything: make one with the rule
    - {its rule}

the answer would be 403

7 more have this audit ID; ask for one by its request ID

2 other refused requests of the last 1h0m0s were not recorded
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := (&Page{Colour: true}).Write(&b, e); err != nil || !strings.Contains(b.String(), "\x1b[31m✗\x1b[0m JWT") {
		t.Errorf("%v, no colour in %s", err, b.String())
	}
}

func TestPageOfReviews(t *testing.T) {
	at := metav1.NewMicroTime(time.Unix(0, 0))
	one := Request{ID: "id-1", AuditID: "audit-1", Time: &at, Server: "a", Peer: "192.0.2.1", Code: 201, Method: "POST", Path: "/tokenreviews"}
	two := one
	one.Review = &Review{Kind: "TokenReview", Asker: "gatehouse:webhook:prod", Audiences: []string{"prod", "more"}}
	one.User = &User{Username: "jane"}
	one.Ladder = []Rung{{Method: "StaticToken", Found: "accepted"}, {Method: "StaticToken", Found: "refused", Reason: "it does not count"}}
	two.Review = &Review{Kind: "SubjectAccessReview", Asker: "gatehouse:webhook:prod"}
	two.User = &User{Username: "joe"}
	two.Authorization = &Authorization{Asked: Asked{Verb: "get", Path: "/x"}}
	three := one
	three.Code, three.Review, three.User = 429, &Review{Kind: "TokenReview", Asker: "joe"}, nil
	three.Ladder = []Rung{{Method: "JWT", Found: "refused", Reason: "it was not looked at"}}
	var b strings.Builder
	if err := (&Page{}).Write(&b, answer("audit-1", []Request{one, two, three})); err != nil {
		t.Fatal(err)
	}
	want := `request id-1, audit ID audit-1
answered with 201 at 1970-01-01T00:00:00Z by a to 192.0.2.1
POST /tokenreviews
a TokenReview by gatehouse:webhook:prod, for prod, more: the answer was no

whose the token is
  ✓ StaticToken  accepted  it is good
  ✗ StaticToken  refused   it does not count

the token is of jane

request id-1, audit ID audit-1
answered with 201 at 1970-01-01T00:00:00Z by a to 192.0.2.1
POST /tokenreviews
a SubjectAccessReview by gatehouse:webhook:prod: the answer was no

the user is joe

what the user may do
  ✗ get /x: denied

request id-1, audit ID audit-1
answered with 429 at 1970-01-01T00:00:00Z by a to 192.0.2.1
POST /tokenreviews
a TokenReview by joe: it got no answer

whose the token is
  ✗ JWT  refused   it was not looked at
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
