package password_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/password"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/passhash"
)

// bcryptOf gives hashes that tests need not compute: of "correct horse".
const (
	horse  = "$2y$10$oqqQjp3W9KbVSLyTn4gIsO.5XXNnGbzLI7ej4LKvcURm3j22HtZ7q"
	horse2 = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc"
)

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func openCSV(t testing.TB, text string) (*password.Source, error) {
	t.Helper()
	return password.OpenCSV(write(t, t.TempDir(), "users.csv", text), nil)
}

func authenticator(t testing.TB, sources ...*password.Source) *password.Authenticator {
	t.Helper()
	a, err := password.New(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// login is a request with a name and a password, without a connection.
func login(ctx context.Context, name, pw string) *http.Request {
	r := (&http.Request{Header: http.Header{}}).WithContext(ctx)
	r.SetBasicAuth(name, pw)
	return r
}

// The files are read as Kubernetes 1.13 read them (reference: its
// plugin/pkg/authenticator/password/passwordfile).
func TestCSV(t *testing.T) {
	type who struct {
		uid    string
		groups []string
	}
	for _, tt := range []struct {
		text string
		in   map[string]who // by NAME:PASSWORD
		out  []string
	}{
		{"p,u,id\n", map[string]who{"u:p": {"id", nil}}, []string{"u:P", "U:p", "p:u", "u:p ", " u:p", "u:id"}},
		{"p,u,id,g\n", map[string]who{"u:p": {"id", []string{"g"}}}, nil},
		{"p,u,id,\"g1,g2\"\n", map[string]who{"u:p": {"id", []string{"g1", "g2"}}}, nil},
		{"p,u,id,g1,g2\n", map[string]who{"u:p": {"id", []string{"g1"}}}, nil},
		{"p,u,id,\"g1, g2\",extra,columns\n", map[string]who{"u:p": {"id", []string{"g1", " g2"}}}, nil},
		{"p,u,\n", map[string]who{"u:p": {"", nil}}, nil},
		{" p,u,id\n", map[string]who{"u: p": {"id", nil}}, []string{"u:p"}},
		{"#p,u,id\n", map[string]who{"u:#p": {"id", nil}}, []string{"u:p"}},
		{"p,u,id\nq,u,id2,g\n", map[string]who{"u:q": {"id2", []string{"g"}}}, []string{"u:p"}},
		{"\n\np,u,id\n", map[string]who{"u:p": {"id", nil}}, nil},
		{"\"p,\"\"q\",u,id\r\n", map[string]who{"u:p,\"q": {"id", nil}}, nil},
		{"p:q,u,id\n", map[string]who{"u:p:q": {"id", nil}}, []string{"u:p"}},
		{"p,Jane Doe,id\n", map[string]who{"Jane Doe:p": {"id", nil}}, []string{"Jane:p"}},
		{"p,a,1\np,b,2\n", map[string]who{"a:p": {"1", nil}, "b:p": {"2", nil}}, []string{"c:p"}},
		{"", nil, []string{"u:p"}},
	} {
		source, err := openCSV(t, tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		a := authenticator(t, source)
		ask := func(pair string) (*authn.Result, error) {
			name, pw, _ := strings.Cut(pair, ":")
			return a.Authenticate(login(t.Context(), name, pw))
		}
		for pair, want := range tt.in {
			res, err := ask(pair)
			if err != nil {
				t.Errorf("%q: %q: %v", tt.text, pair, err)
				continue
			}
			id := res.Identity
			name, _, _ := strings.Cut(pair, ":")
			if id.Name != name || id.UID != want.uid || !slices.Equal(id.Groups, identity.WithAuthenticated(name, want.groups)) {
				t.Errorf("%q: %q is %+v", tt.text, pair, id)
			}
			if id.Credential.Method != identity.Password || id.Credential.ID != "USER="+name {
				t.Errorf("%q: %q has the credential %+v", tt.text, pair, id.Credential)
			}
		}
		for _, pair := range tt.out {
			if res, err := ask(pair); err == nil {
				t.Errorf("%q: %q is let in as %+v", tt.text, pair, res.Identity)
			}
		}
	}
}

func TestCSVRefused(t *testing.T) {
	for text, why := range map[string]string{
		"hunter2,u\n":                                 "record 1: need at least 3 columns (password, user name, user uid), found 2",
		"p,u,1\nhunter2\n":                            "record 2: need at least 3 columns",
		"p,u,1\nhunter2,,2\n":                         "record 2: empty user name",
		"hunter2,u,\"id\n":                            "line",
		"hunter2,u\"x,id\n":                           "line 1, column",
		"hunter2,system:admin,1\n":                    `record 1: "system:admin" begins with system:`,
		"hunter2,system:,1\n":                         `"system:" begins with system:`,
		"p,a,1\nhunter2,u,1,\"dev,system:masters\"\n": `record 2: "system:masters" begins with system:`,
		"hunter2,u,1,system:authenticated\n":          `"system:authenticated" begins with`,
	} {
		if _, err := openCSV(t, text); err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error with %q and without the password", text, err, why)
		}
	}
	if _, err := password.OpenCSV(filepath.Join(t.TempDir(), "missing"), nil); err == nil {
		t.Error("a missing file is read")
	}
}

func TestCSVWarnings(t *testing.T) {
	source, err := openCSV(t, "p,u,1,\"a,,b\"\np,e,1,\n,x,1\nq,u,2\np,a:b,1\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"record 1: empty group name, group ignored",
		"record 2: empty group name, group ignored",
		"record 3: empty password, record ignored",
		"record 4: duplicate user name, the earlier record is ignored",
		"record 5: the user name has a colon, so that nobody can log in with it",
	}
	if got := source.Warnings(); !slices.Equal(got, want) {
		t.Errorf("Warnings = %q, want %q", got, want)
	}
}

func TestHtpasswd(t *testing.T) {
	dir := t.TempDir()
	groups, err := password.OpenGroups(write(t, dir, "groups", "# who does what\ndev: jane joe\nops:joe\tjane\ndev: joe\nempty:\nsystem: jane\nmy team: jane\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	source, err := password.OpenHtpasswd(write(t, dir, "users", "# people\n\njane:"+horse+"\r\nann:"+horse2+"\nJané Doe:"+horse), groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := authenticator(t, source)
	for name, want := range map[string][]string{"jane": {"dev", "ops", "system", "my team"}, "ann": nil, "Jané Doe": nil} {
		res, err := a.Authenticate(login(t.Context(), name, "correct horse"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(res.Identity.Groups, identity.WithAuthenticated(name, want)) || res.Identity.UID != "" || res.Identity.Name != name {
			t.Errorf("%s is %+v", name, res.Identity)
		}
	}
	for _, name := range []string{"joe"} {
		if res, err := a.Authenticate(login(t.Context(), name, "correct horse")); err == nil {
			t.Errorf("%s is let in as %+v", name, res.Identity)
		}
	}
	want := []string{
		"the hashes are of 2 kinds, and a wrong password is compared with one of each: make them alike",
		filepath.Join(dir, "groups") + ` names user "joe", who is not in this file`,
	}
	if got := source.Warnings(); !slices.Equal(got, want) {
		t.Errorf("Warnings = %q, want %q", got, want)
	}
}

func TestHtpasswdRefused(t *testing.T) {
	five := ""
	for i, cost := range []int{10, 11, 12, 13, 14} {
		five += fmt.Sprintf("u%d:%s\n", i, strings.Replace(horse, "$10$", fmt.Sprintf("$%d$", cost), 1))
	}
	for text, why := range map[string]string{
		"jane\n":                          "line 1: there is no colon",
		"hunter2\n":                       "line 1: there is no colon",
		"a:" + horse + "\njane:hunter2\n": `line 2: the hash of user "jane" is no hash that is known: it may be a password in plain text`,
		"jane:\n":                         "plain text",
		"jane:$apr1$lHVb4IYE$O66bvpwJUU4aql2J6t3TS0\n":      "Apache's MD5, and only bcrypt and argon2id are accepted: make it with gatehouse password hash",
		"jane:{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=\n":          "unsalted SHA-1",
		"jane:65Ilb9b6zwTlo\n":                              "crypt",
		"jane:" + strings.Replace(horse, "$10$", "$05$", 1): "cost 5",
		":" + horse:            "the user name is empty",
		" jane:" + horse:       "white space",
		"jane :" + horse:       "white space",
		"ja\x01ne:" + horse:    "control character",
		"ja\xffne:" + horse:    "not UTF-8",
		"system:jane:" + horse: "plain text",
		"jane:" + horse + ":x": "cut",
		"jane:" + horse + " ":  "cut",
		"jane:" + horse + "\njoe:" + horse + "\njane:" + horse2: `line 3: user "jane" is on line 1 as well`,
		five: "line 5: bcrypt of cost 14 is one kind of hash too many: a file may have 4",
	} {
		path := write(t, t.TempDir(), "users", text)
		if _, err := password.OpenHtpasswd(path, nil, nil); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error with %q", text, err, why)
		}
	}
}

func TestGroupsRefused(t *testing.T) {
	for text, why := range map[string]string{
		"dev jane joe\n":         "line 1: there is no colon",
		"dev: jane\n: joe\n":     "line 2: the group name is empty",
		"system:masters: jane\n": "line 1: the group begins with system:",
		"system:masters jane\n":  "the group begins with system:",
		" dev: jane\n":           "white space",
		"de\x00v: jane\n":        "control character",
		"dev: ja\xffne\n":        "not UTF-8",
		"dev: jane ops: joe\n":   "a user name has a colon",
		"dev: system:admin\n":    "a user name has a colon",
	} {
		path := write(t, t.TempDir(), "groups", text)
		if _, err := password.OpenGroups(path, nil); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want an error with %q", text, err, why)
		}
	}
}

// A change ends what was verified of the users that it changes, and of no other.
// A bad file changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "users", "jane:"+horse+"\njoe:"+horse+"\n")
	write(t, dir, "groups", "dev: jane joe\n")
	changed := make(chan error, 8)
	notify := func(err error) { changed <- err }
	groups, err := password.OpenGroups(filepath.Join(dir, "groups"), notify)
	if err != nil {
		t.Fatal(err)
	}
	source, err := password.OpenHtpasswd(filepath.Join(dir, "users"), groups, notify)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { source.Run(ctx); done <- struct{}{} }()
	go func() { groups.Run(ctx); done <- struct{}{} }()
	defer func() { cancel(); <-done; <-done }()
	a := authenticator(t, source)
	ask := func(name string) *authn.Result {
		t.Helper()
		res, err := a.Authenticate(login(ctx, name, "correct horse"))
		if err != nil {
			t.Log(err)
		}
		return res
	}
	jane, joe := ask("jane"), ask("joe")
	if jane == nil || joe == nil || ask("jane") != jane || ask("joe") != joe {
		t.Fatal("a password that was compared is compared again")
	}

	write(t, dir, "users", "jane:hunter2\n")
	if err := <-changed; err == nil || source.Status().Problem == nil || ask("jane") != jane {
		t.Errorf("a bad file is no problem (%v), or changes something", err)
	}
	write(t, dir, "groups", "system:masters: jane\n")
	if err := <-changed; err == nil || groups.Status().Problem == nil || ask("jane") != jane {
		t.Errorf("a bad file of groups is no problem (%v), or changes something", err)
	}

	write(t, dir, "users", "joe:"+horse+"\njane:"+horse2+"\n")
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if again := ask("jane"); again == nil || again == jane {
		t.Error("what was verified by a hash that is gone is still believed, or the new hash is not")
	} else {
		jane = again
	}
	if ask("joe") != joe {
		t.Error("the password of a user that did not change is compared again")
	}

	write(t, dir, "groups", "dev: jane\n")
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if again := ask("joe"); again == nil || again.Identity.InGroup("dev") {
		t.Errorf("a user that was taken out of a group is %+v", again)
	}
	if ask("jane") != jane {
		t.Error("the password of a user whose groups did not change is compared again")
	}

	write(t, dir, "users", "jane:"+horse2+"\n")
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if ask("joe") != nil {
		t.Error("a user that is gone is let in")
	}
}

// Two files: the first that has a name decides about it.
func TestTwoFiles(t *testing.T) {
	first, err := openCSV(t, "one,jane,1\n")
	if err != nil {
		t.Fatal(err)
	}
	second, err := openCSV(t, "two,jane,2\ntwo,joe,2\n")
	if err != nil {
		t.Fatal(err)
	}
	a := authenticator(t, first, second)
	for pair, want := range map[string]string{"jane:one": "1", "jane:two": "", "joe:two": "2", "joe:one": ""} {
		name, pw, _ := strings.Cut(pair, ":")
		res, err := a.Authenticate(login(t.Context(), name, pw))
		if got := res; (got == nil) != (want == "") || got != nil && got.Identity.UID != want {
			t.Errorf("%s: %+v, %v, want UID %q", pair, res, err, want)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"p,u,1\n", "p,u,1,\"a,b\"\n", ",,,\n", "\"", "p,,1\n", "p,system:x,1\n", "p,u,1,system:masters\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := password.ReadCSV([]byte(text))
		theirs, refused, theirErr := upstream(text)
		if err == nil && (theirErr != nil || refused) {
			t.Errorf("%q is read (upstream: %v)", text, theirErr)
		}
		if err == nil && n != theirs {
			t.Errorf("%q has %d users, and %d upstream", text, n, theirs)
		}
		if err != nil && theirErr == nil && !refused {
			t.Errorf("%q: %v, and upstream reads it", text, err)
		}
	})
}

// upstream reads a file as Kubernetes 1.13 did. It counts the users with a
// password, and reports whether there is something that we refuse on purpose.
func upstream(text string) (users int, refused bool, err error) {
	all := map[string]bool{}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	for {
		record, err := r.Read()
		if err == io.EOF {
			return len(all), refused, nil
		}
		if err != nil {
			return 0, false, err
		}
		if len(record) < 3 {
			return 0, false, errors.New("fewer than 3 columns")
		}
		if record[0] == "" {
			continue
		}
		names := record[1:2]
		if len(record) > 3 {
			names = append(names, strings.Split(record[3], ",")...)
		}
		refused = refused || record[1] == "" || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "system:") })
		all[record[1]] = true
	}
}

func FuzzHtpasswd(f *testing.F) {
	for _, s := range []string{"jane:" + horse, "jane:" + horse2 + "\r\n#\n\njoe:" + horse, "jane:x", ":", "\n", "\x00:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, kinds, err := password.ReadHtpasswd([]byte(text))
		if err != nil {
			return
		}
		if kinds > 4 || slices.Contains(names, "") {
			t.Errorf("%q: %d kinds, names %q", text, kinds, names)
		}
		for _, line := range strings.Split(text, "\n") {
			name, hash, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
			if !ok || strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
				continue
			}
			if _, err := passhash.Parse(hash); err != nil || !slices.Contains(names, name) {
				t.Errorf("%q is read, with the line %q", text, line)
			}
		}
	})
}

func FuzzGroups(f *testing.F) {
	for _, s := range []string{"dev: jane joe\n", "dev:\n", "system:masters: jane", "#x\n\ndev:a\n", ":", "a b: c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		of, err := password.ReadGroups([]byte(text))
		if err != nil {
			return
		}
		for user, groups := range of {
			if user == "" || strings.ContainsAny(user, ": \t\n") {
				t.Errorf("%q: user %q", text, user)
			}
			for i, g := range groups {
				if g == "" || strings.Contains(g, ":") || slices.Contains(groups[:i], g) {
					t.Errorf("%q: user %q is in %q", text, user, groups)
				}
			}
		}
		if again, err := password.ReadGroups([]byte(text)); err != nil || !reflect.DeepEqual(of, again) {
			t.Errorf("%q is read in two ways", text)
		}
	})
}
