package password_test

import (
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn/password"
)

// What is made is read again, and lets its user in.
func TestLine(t *testing.T) {
	for i, algorithm := range password.Algorithms() {
		user, pw := []string{"jane", "Jané Doe"}[i], []string{strings.Repeat("long ", 20), "pässwörd"}[i]
		line, err := password.Line(user, pw, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		source, err := password.OpenHtpasswd(write(t, t.TempDir(), "users", line+"\n"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := authenticator(t, source)
		if res, err := a.Authenticate(login(t.Context(), user, pw)); err != nil || res.Identity.Name != user {
			t.Errorf("%s: %v, %v", line, res, err)
		}
	}
}

func TestLineRefused(t *testing.T) {
	for _, tt := range []struct{ user, password, algorithm, why string }{
		{"", "hunter22", "argon2id", "the user name is empty"},
		{"a:b", "hunter22", "argon2id", "a colon"},
		{"#a", "hunter22", "argon2id", "a comment"},
		{" a", "hunter22", "argon2id", "white space"},
		{"a\n", "hunter22", "argon2id", "a control character"},
		{"a\xff", "hunter22", "argon2id", "not UTF-8"},
		{"system:a", "hunter22", "argon2id", "begins with system:"},
		{"jane", "", "argon2id", "0 characters"},
		{"jane", "hunter2", "argon2id", "7 characters"},
		{"jane", "äöüäöüä", "argon2id", "7 characters"}, // of 14 bytes
		{"jane", "hunter22\n", "argon2id", "a control character"},
		{"jane", "hunter22\xff", "argon2id", "not UTF-8"},
		{"jane", "hunter22" + strings.Repeat("x", password.MaxPair), "argon2id", "longer than 1 KiB"},
		{"jane", "hunter22" + strings.Repeat("x", 72), "bcrypt", "only looks at 72"},
		{"jane", "hunter22", "sha1", `no algorithm "sha1"`},
	} {
		line, err := password.Line(tt.user, tt.password, tt.algorithm)
		if err == nil || !strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q, %.20q, %s: %q, %v, want an error with %q", tt.user, tt.password, tt.algorithm, line, err, tt.why)
		}
	}
}
