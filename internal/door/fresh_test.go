package door_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/door"
)

// waiting is asked about a credential that the store would have to be asked about,
// and gives up when the process is stale.
type waiting struct {
	stale  *atomic.Bool
	become bool
}

func (w waiting) Authenticate(*http.Request) (*authn.Result, error) {
	w.stale.Store(w.become)
	return nil, authn.Refuse("Test", authn.Unavailable, "the store does not answer")
}

// Who came while the process was fresh, and is not let in because it is not any
// more, is told so. To anybody else a credential that nobody can judge is a bad one.
func TestStaleMeanwhile(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		become     bool
		code       int
	}{
		{"stale meanwhile", "/api/v1/namespaces", true, 503},
		{"still fresh", "/api/v1/namespaces", false, 401},
		{"how it is", "/readyz", true, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stale atomic.Bool
			h := newDoor(t, func(c *door.Config) {
				c.Authenticator = waiting{&stale, tt.become}
				c.Stale = func(time.Time) error {
					if stale.Load() {
						return authn.Refuse("Freshness", authn.Unavailable, "no proof")
					}
					return nil
				}
			})
			w := answer(h, request("GET", tt.path))
			if w.Code != tt.code || (w.Header().Get("Retry-After") == "1") != (tt.code == 503) {
				t.Errorf("answered %d %v", w.Code, w.Header())
			}
		})
	}
}
