package identity_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/env"
)

const (
	horse = "$2y$10$oqqQjp3W9KbVSLyTn4gIsO.5XXNnGbzLI7ej4LKvcURm3j22HtZ7q"                                      // correct horse
	same  = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc" // the same
)

// withPassword is what a client sends for a user name and a password.
func withPassword(name, password string) credential {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(name, password)
	return credential{header: r.Header}
}

// A password is who its line says it is, in every file, until the line changes;
// a bad one is nobody, and never anonymous.
func TestPasswords(t *testing.T) {
	w := start(t, map[string]string{
		"users": "jane:" + horse + "\nann:" + same + "\n", "groups": "dev: jane\n", "users.csv": "s3cret,joe,1002,\"dev,ops\"\n",
		"tokens.csv": "joes-t0ken,bob,uid-7\n", "policy.yaml": everything,
	}, "--htpasswd-file=DIR/users", "--htpasswd-groups-file=DIR/groups", "--basic-auth-file=DIR/users.csv",
		"--audit-policy-file=DIR/policy.yaml", "--audit-log-path=DIR/audit.log")
	for _, tt := range []struct {
		name, password, uid string
		groups              []string
	}{
		{"jane", "correct horse", "", []string{"dev", "system:authenticated"}},
		{"ann", "correct horse", "", []string{"system:authenticated"}},
		{"joe", "s3cret", "1002", []string{"dev", "ops", "system:authenticated"}},
	} {
		for range 2 { // compared, and remembered
			got, a := w.as(withPassword(tt.name, tt.password)).whoami()
			if a.code != http.StatusCreated || got.Username != tt.name || got.UID != tt.uid || !slices.Equal(got.Groups, tt.groups) {
				t.Errorf("%s is %d %+v", tt.name, a.code, got)
			}
		}
	}
	for name, c := range map[string]credential{
		"wrong":         withPassword("jane", "correct horses"),
		"of another":    withPassword("joe", "correct horse"),
		"unknown":       withPassword("nobody", "s3cret"),
		"in other case": withPassword("Jane", "correct horse"),
		"empty":         withPassword("jane", ""),
		"hash":          withPassword("jane", horse),
		"a token":       withPassword("bob", "joes-t0ken"),
		"as a token":    {token: "s3cret"},
		"two headers":   {header: http.Header{"Authorization": {withPassword("jane", "correct horse").header.Get("Authorization"), "Bearer x"}}},
		"other scheme":  {header: http.Header{"Authorization": {strings.Replace(withPassword("joe", "s3cret").header.Get("Authorization"), "Basic", "Basics", 1)}}},
	} {
		a := w.as(c).ask("GET", "/version", nil)
		if a.code != http.StatusUnauthorized || a.body != unauthorized {
			t.Errorf("%s: %d %s", name, a.code, a.body)
		}
		if got := a.header.Values("WWW-Authenticate"); !slices.Equal(got, []string{"Bearer", `Basic realm="gatehouse", charset="UTF-8"`}) {
			t.Errorf("%s: is offered %q", name, got)
		}
	}
	if a := w.as(credential{token: "joes-t0ken"}).ask("GET", "/version", nil); a.code != http.StatusOK {
		t.Errorf("a token beside passwords: %d", a.code)
	}
	if got := w.admin.review("s3cret"); got.Authenticated {
		t.Error("a TokenReview takes a password")
	}
	audit, err := os.ReadFile(w.file("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"authentication.gatehouse.dev/method":"Password"`, `"authentication.gatehouse.dev/credential-id":"USER=jane"`} {
		if !strings.Contains(string(audit), want) {
			t.Errorf("the audit log has no %s", want)
		}
	}

	// A bad file changes nothing, and is told of; a good one is in force at once.
	jane := w.as(withPassword("jane", "correct horse"))
	w.write("users", "jane:correct horse\n")
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note("htpasswd-file") && w.stale("htpasswd-file") })
	w.write("groups", "system:masters: jane\n")
	env.Eventually(w.t, "telling of bad groups", func() bool { return w.note("htpasswd-groups-file") })
	if got, a := jane.whoami(); a.code != http.StatusCreated || !slices.Contains(got.Groups, "dev") {
		t.Errorf("while the files are bad: %d %+v", a.code, got)
	}
	w.write("groups", "ops: jane\n")
	env.Eventually(w.t, "taking other groups", func() bool { got, _ := jane.whoami(); return slices.Contains(got.Groups, "ops") })
	w.write("users", "ann:"+same+"\n")
	env.Eventually(w.t, "refusing who is gone", func() bool { _, a := jane.whoami(); return a.code == http.StatusUnauthorized })
	if log := w.Log(); strings.Contains(log, "correct horse") || strings.Contains(log, horse) || !strings.Contains(log, `wrong password of user \"jane\" (line 1)`) {
		t.Error("the log tells a password or a hash, or not what was wrong")
	}
	if w.stale("htpasswd-file") || w.stale("basic-auth-file") {
		t.Error("good files are told of")
	}
}

// A hashed token is its line's, under the name of the line, until the line says
// that it is over or is gone.
func TestHashedTokens(t *testing.T) {
	const token = "gh_Qm7xV2nRk9TzLw4JbYc8HsDf3GpXe6UaN1iWoZ5tKvM"
	hash := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(token)))
	line := "ci " + hash + " user=ci-bot uid=7 group=dev"
	w := start(t, map[string]string{"hashed": line + " expires=2100-01-01T00:00:00Z # builds\n", "policy.yaml": everything},
		"--hashed-token-file=DIR/hashed", "--audit-policy-file=DIR/policy.yaml", "--audit-log-path=DIR/audit.log")
	ci := w.as(credential{token: token})
	if got, a := ci.whoami(); a.code != http.StatusCreated || got.Username != "ci-bot" || got.UID != "7" || !slices.Contains(got.Groups, "dev") {
		t.Errorf("is %d %+v", a.code, got)
	}
	if got := w.admin.review(token); !got.Authenticated || got.User.Username != "ci-bot" {
		t.Errorf("a TokenReview says %+v", got)
	}
	for name, bad := range map[string]string{"hash": hash, "bare hash": hash[7:], "name": "ci", "without prefix": token[3:], "longer": token + "A"} {
		if _, a := w.as(credential{token: bad}).whoami(); a.code != http.StatusUnauthorized {
			t.Errorf("the %s as a token: %d", name, a.code)
		}
	}
	w.write("hashed", token+"\n")
	env.Eventually(w.t, "telling of a bad file", func() bool { return w.note("hashed-token-file") && w.stale("hashed-token-file") })
	if _, a := ci.whoami(); a.code != http.StatusCreated {
		t.Errorf("while the file is bad: %d", a.code)
	}
	w.write("hashed", line+" expires=2020-01-01T00:00:00Z\n")
	env.Eventually(w.t, "refusing a token that is over", func() bool { _, a := ci.whoami(); return a.code == http.StatusUnauthorized })
	if got := w.admin.review(token); got.Authenticated || !strings.Contains(got.Error, `token "ci" of "ci-bot" expired at 2020-01-01T00:00:00Z`) {
		t.Errorf("a TokenReview of a token that is over: %+v", got)
	}
	w.write("hashed", line+"\n")
	env.Eventually(w.t, "taking it again", func() bool { _, a := ci.whoami(); return a.code == http.StatusCreated })
	w.write("hashed", "# nobody\n")
	env.Eventually(w.t, "refusing a token that is gone", func() bool { _, a := ci.whoami(); return a.code == http.StatusUnauthorized })
	audit, err := os.ReadFile(w.file("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for place, text := range map[string]string{"audit log": string(audit), "log": w.Log()} {
		if strings.Contains(text, token) {
			t.Errorf("the %s has the token", place)
		}
	}
	if !strings.Contains(string(audit), `"authentication.gatehouse.dev/credential-id":"NAME=ci"`) || !strings.Contains(w.Log(), "expired at 2020-01-01T00:00:00Z") {
		t.Error("the audit log has no name of the token, or the log not why it was refused")
	}
}
