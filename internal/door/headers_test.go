package door_test

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/door"
)

// spellings returns name in 64 ways that some server takes for it: every case of
// its first letters, with hyphens and with underscores.
func spellings(name string) []string {
	var all []string
	for bits := range 32 {
		b := []byte(strings.ToLower(name))
		letter := 0
		for i, c := range b {
			if c == '-' {
				continue
			}
			if letter < 5 && bits>>letter&1 == 1 {
				b[i] = c - 'a' + 'A'
			}
			letter++
		}
		all = append(all, string(b), strings.ReplaceAll(string(b), "-", "_"))
	}
	return all
}

func TestStripsIdentity(t *testing.T) {
	var seen http.Header
	h := newDoor(t, func(c *door.Config) {
		c.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	})
	for _, name := range []string{"X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-Scopes", "X-Remote-"} {
		for _, spelling := range spellings(name) {
			r := request("GET", "/version")
			r.Header[spelling] = []string{"system:admin", "again"}
			r.Header["Authorization"] = []string{"Bearer s3cret"}
			r.Header["X-Request-Id"] = []string{"kept"}
			answer(h, r)
			if len(seen) != 1 || seen.Get("X-Request-Id") != "kept" {
				t.Fatalf("%s: behind the door there is %v", spelling, seen)
			}
		}
	}
}

// A header that asks for impersonation never goes by unheard, whatever its
// spelling: who may not act as others is refused, and is not served as himself.
func TestNoImpersonationUnheard(t *testing.T) {
	h := newDoor(t, nil)
	for _, name := range []string{"Impersonate-User", "Impersonate-Uid", "Impersonate-Group", "Impersonate-Extra-Scopes"} {
		for _, spelling := range spellings(name) {
			r := request("GET", "/version")
			r.Header[spelling] = []string{""}
			if w := answer(h, r); w.Code != 400 {
				t.Fatalf("%s: answered %d %s", spelling, w.Code, w.Body)
			}
		}
	}
	for _, harmless := range []string{"Impersonate", "X-Impersonate-User", "Impersonator"} {
		r := request("GET", "/version")
		r.Header[harmless] = []string{"x"}
		if w := answer(h, r); w.Code != 200 {
			t.Errorf("%s: answered %d %s", harmless, w.Code, w.Body)
		}
	}
}
