package door_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/explain"
)

// journal is one in memory.
type journal struct {
	mu              sync.Mutex
	n               int
	refused, denied []string
	statuses        []int
	misread         []string
	ladders         [][]authn.Rung
}

func (j *journal) NewID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.n++
	return fmt.Sprint("id-", j.n)
}

func (j *journal) Refused(id, auditID string, _ *http.Request, status int, ladder func() []authn.Rung) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refused, j.statuses, j.ladders = append(j.refused, id+" "+auditID), append(j.statuses, status), append(j.ladders, ladder())
}

func (j *journal) Denied(id, auditID string, _ *http.Request, why explain.Denial) {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := id + " " + auditID
	for _, l := range why.Lacking {
		text += fmt.Sprint(" ", l.Asked.Denial(), ": ", l.Reason)
	}
	j.denied, j.ladders = append(j.denied, text), append(j.ladders, why.Ladder)
}

func (j *journal) Misread(id, auditID string, _ *http.Request, caller *identity.Identity, ladder func() []authn.Rung) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.misread, j.ladders = append(j.misread, id+" "+auditID+" "+caller.Name), append(j.ladders, ladder())
}

func TestJournal(t *testing.T) {
	expired := authn.Chain(as{err: authn.Pass("First", "nothing")}, as{err: authn.Refuse("Second", authn.Expired, "old")})
	nobody := authn.Chain(as{err: authn.Pass("First", "nothing")}, as{err: authn.Pass("Second", "nothing either")})
	for _, tt := range []struct {
		name            string
		as              authn.Authenticator
		says            says
		code            int
		refused, denied string
		rungs           int
		method          string
	}{
		{"let in", user("jane"), says{verdict: authz.Allow}, 200, "", "", 0, " "},
		{"refused", expired, says{}, 401, "id-1 mine", "", 2, "Second expired"},
		{"without a credential", nobody, says{}, 401, "id-1 mine", "", 2, ""},
		{"plain error", as{err: errors.New("boom")}, says{}, 401, "id-1 mine", "", 1, " other"},
		{"denied", user("jane"), says{why: "no rule"}, 403, "",
			`id-1 mine User "jane" cannot list resource "pods" in API group "" in the namespace "x": no rule`, 0, " "},
		{"not decided", user("jane"), says{err: errors.New("boom")}, 500, "", "", 0, " "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, m := &journal{}, &counts{}
			h := newDoor(t, func(c *door.Config) { c.Authenticator, c.Authorizer, c.Journal, c.Metrics = tt.as, tt.says, j, m })
			r := request("GET", "/api/v1/namespaces/x/pods")
			r.Header.Set("Audit-ID", "mine")
			w := answer(h, r)
			wantID := ""
			if tt.refused != "" || tt.denied != "" {
				wantID = "id-1"
			}
			if w.Code != tt.code || w.Header().Get(door.RequestIDHeader) != wantID {
				t.Errorf("answered %d with the ID %q, want %d with %q", w.Code, w.Header().Get(door.RequestIDHeader), tt.code, wantID)
			}
			if !slices.Equal(j.refused, nonempty(tt.refused)) || !slices.Equal(j.denied, nonempty(tt.denied)) {
				t.Errorf("refused %q, denied %q", j.refused, j.denied)
			}
			if tt.refused != "" && len(j.ladders[0]) != tt.rungs {
				t.Errorf("ladder %+v, want %d rungs", j.ladders[0], tt.rungs)
			}
			if !slices.Equal(m.methods, nonempty(tt.method)) {
				t.Errorf("counted %q, want %q", m.methods, tt.method)
			}
		})
	}
}

func nonempty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// What the caller is told of a refusal is the same, whatever the reason.
func TestRefusalTellsTheCallerNothing(t *testing.T) {
	var bodies []string
	for _, err := range []error{authn.Refuse(identity.JWT, authn.Expired, "old"), authn.Refuse(identity.StaticToken, authn.Unknown, "new")} {
		w := answer(newDoor(t, func(c *door.Config) { c.Authenticator = as{err: err} }), request("GET", "/api"))
		bodies = append(bodies, w.Body.String())
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Audit-Id") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	}
	if bodies[0] != bodies[1] {
		t.Errorf("told %q and %q", bodies[0], bodies[1])
	}
}

func TestAttributesOf(t *testing.T) {
	a, err := door.AttributesOf(request("GET", "/apis/apps/v1/namespaces/x/deployments/d/scale"))
	want := authz.Attributes{Verb: "get", IsResource: true, Path: "/apis/apps/v1/namespaces/x/deployments/d/scale",
		APIGroup: "apps", APIVersion: "v1", Resource: "deployments", Subresource: "scale", Namespace: "x", Name: "d"}
	if err != nil || a != want {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := door.AttributesOf(request("POST", "/metrics")); err != nil || a.IsResource || a.Verb != "post" || a.Path != "/metrics" {
		t.Errorf("%+v, %v", a, err)
	}
}
