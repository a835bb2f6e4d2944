package door_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/door"
)

// Who is refused because nobody looked at his credential is told to send it
// again, and not that it is bad. All others are told what Kubernetes tells them.
func TestThrottled(t *testing.T) {
	refuse := func(kind authn.Kind) authn.Authenticator {
		return as{err: authn.Refuse("Test", kind, "the secret reason")}
	}
	for _, tt := range []struct {
		name string
		said []authn.Authenticator
		code int
	}{
		{"not looked at", []authn.Authenticator{refuse(authn.Throttled)}, 503},
		{"not looked at, and another knows nothing of it", []authn.Authenticator{refuse(authn.Throttled), refuse(authn.Unknown)}, 503},
		{"another knows nothing of it, and not looked at", []authn.Authenticator{refuse(authn.Unknown), refuse(authn.Throttled)}, 503},
		{"not looked at, for a reason of its own", []authn.Authenticator{as{err: &authn.Refusal{Method: "Test", Cause: authn.Explained(errors.New("full"), authn.Throttled, nil)}}}, 503},
		{"nobody to ask", []authn.Authenticator{refuse(authn.Unavailable)}, 401},
		{"bad", []authn.Authenticator{refuse(authn.BadProof)}, 401},
		{"bad, whatever came before", []authn.Authenticator{as{err: &authn.Refusal{Method: "Test", Facts: authn.Facts{Kind: authn.BadProof}, Cause: authn.Explained(errors.New("full"), authn.Throttled, nil)}}}, 401},
		{"unknown to all", []authn.Authenticator{refuse(authn.Unknown), refuse(authn.Unknown)}, 401},
		{"of no kind", []authn.Authenticator{as{err: errors.New("the secret reason")}}, 401},
		{"none", []authn.Authenticator{as{err: authn.ErrNoCredential}}, 401},
		{"none, and a word about what is full", []authn.Authenticator{as{err: authn.Explained(authn.ErrNoCredential, authn.Throttled, nil)}}, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, held, book := &counts{}, 0, &journal{}
			trail, _ := recorded(t)
			w := answer(newDoor(t, func(c *door.Config) {
				c.Authenticator, c.Metrics, c.Journal, c.Audit = authn.Chain(tt.said...), m, book, trail
				c.Hold = func(*http.Request) { held++ }
			}), request("GET", "/api/v1/namespaces"))
			busy := tt.code == 503
			if w.Code != tt.code || (w.Header().Get("Retry-After") == "1") != busy || (w.Header().Get("WWW-Authenticate") == "") != busy || (w.Header().Get("Connection") == "close") == busy {
				t.Errorf("answered %d %v", w.Code, w.Header())
			}
			if text := w.Body.String(); strings.Contains(text, "secret") || busy && !strings.Contains(text, `"reason":"ServiceUnavailable"`) {
				t.Errorf("said %s", text)
			}
			// For whoever looks after the server it is a refusal like any other.
			if held != 1 || !slices.Equal(book.statuses, []int{tt.code}) || slices.Contains(m.all, "authenticated success") {
				t.Errorf("held %d times, recorded %v, counted %v", held, book.statuses, m.all)
			}
		})
	}
}
