package door_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/door"
)

// revoked are the names of users.
type revoked []string

func (r revoked) JudgeResult(res *authn.Result) error { return r.Judge(res.Identity) }

func (r revoked) Judge(who *identity.Identity) error {
	for ; who != nil; who = who.Impersonator {
		if slices.Contains(r, who.Name) {
			return &authn.Refusal{Method: identity.StaticToken, Reason: who.Name + " is revoked", Cause: errors.New("lost"), Facts: authn.Facts{Kind: authn.Revoked}}
		}
	}
	return nil
}

// Who is revoked is nobody to all that is behind, but not to the audit event.
func TestRevokedCaller(t *testing.T) {
	m, j, held := &counts{}, &journal{}, 0
	reached := false
	h := newDoor(t, func(c *door.Config) {
		c.Revocations, c.Metrics, c.Journal = revoked{"jane"}, m, j
		c.Hold = func(*http.Request) { held++ }
		c.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
	})
	w := answer(h, request("GET", "/api/v1/namespaces/x/pods"))
	if w.Code != 401 || reached || strings.Contains(w.Body.String(), "revoked") || !strings.Contains(w.Body.String(), `"message":"Unauthorized"`) {
		t.Errorf("answered %d %s, reached %t", w.Code, w.Body, reached)
	}
	if held != 1 || len(j.refused) != 1 || j.ladders[0][0].Kind != authn.Revoked {
		t.Errorf("held %d times, in the journal %q %+v", held, j.refused, j.ladders)
	}
}

// Whoever of the two is revoked, the request is refused, and the event has both.
func TestRevokedImpersonation(t *testing.T) {
	may := []string{"joe:impersonate:users", "jane:get:configmaps"}
	for _, tt := range []struct {
		name    string
		revoked revoked
		user    string // of the event
	}{
		{"real user", revoked{"joe"}, "joe"},
		{"impersonated user", revoked{"jane"}, "joe"},
		{"neither", revoked{"jim"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouseWith(t, frontproxy.Headers{}, func(c *door.Config) { c.Revocations = tt.revoked }, may...)
			res := h.ask(http.Header{"Impersonate-User": {"jane"}})
			if tt.user == "" {
				if res.StatusCode != 200 || h.user == nil {
					t.Errorf("answered %d", res.StatusCode)
				}
				return
			}
			if res.StatusCode != 401 || h.user != nil || len(res.Header["Www-Authenticate"]) == 0 || len(h.journal.refused) != 1 {
				t.Errorf("answered %d, served as %v, journal %q", res.StatusCode, h.user, h.journal.refused)
			}
			e := h.event(t)
			if e.User.Username != tt.user || e.ResponseStatus.Code != 401 || !strings.Contains(e.Annotations[audit.FailureAnnotation], tt.revoked[0]+" is revoked: lost") ||
				e.Annotations[audit.CredentialIDAnnotation] != "line 1" || e.Annotations[audit.RequestIDAnnotation] != "id-1" {
				t.Errorf("event %+v", e)
			}
		})
	}
}
