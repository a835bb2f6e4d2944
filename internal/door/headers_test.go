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

func TestRefusesImpersonation(t *testing.T) {
	h := newDoor(t, nil)
	for _, name := range []string{"Impersonate-User", "Impersonate-Uid", "Impersonate-Group", "Impersonate-Extra-Scopes"} {
		for _, spelling := range spellings(name) {
			r := request("GET", "/version")
			r.Header[spelling] = []string{""}
			if w := answer(h, r); w.Code != 400 || !strings.Contains(w.Body.String(), "does not offer impersonation") {
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

// FuzzNamesIdentity compares with the obvious way to say it.
func FuzzNamesIdentity(f *testing.F) {
	for _, seed := range []string{"X-Remote-User", "x_remote_user", "X-Remote", "X-Remote-", "X\u212aRemote-User", "Impersonate_User", "", "\xff-remote-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded := strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, strings.ReplaceAll(name, "_", "-"))
		if got, want := door.NamesIdentity(name), strings.HasPrefix(folded, "x-remote-"); got != want {
			t.Errorf("NamesIdentity(%q) = %v", name, got)
		}
		if got, want := door.HasFoldedPrefix(name, "impersonate-"), strings.HasPrefix(folded, "impersonate-"); got != want {
			t.Errorf("HasFoldedPrefix(%q, impersonate-) = %v", name, got)
		}
	})
}
