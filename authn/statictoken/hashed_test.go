package statictoken_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/identity"
)

// A token that is made once, so that its hash can be written down:
// printf gh_Qm7... | sha256sum
const (
	made     = "gh_Qm7xV2nRk9TzLw4JbYc8HsDf3GpXe6UaN1iWoZ5tKvM"
	madeHash = "sha256:4860eb8edda9af4a7a37d25d68d86e8266aa6ed165c1dbc5309ff91ad7e45a38"
)

func openHashed(t testing.TB, text string) (*statictoken.Verifier, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := statictoken.OpenHashed(statictoken.Config{Path: path, Key: key, Audiences: []string{"api", "other"}})
	return v, path, err
}

func TestHashed(t *testing.T) {
	for _, tt := range []struct {
		line string
		want identity.Identity
	}{
		{"ci " + madeHash + " user=bot", identity.Identity{Name: "bot"}},
		{"ci\t" + madeHash + " \tuser=bot uid=7 group=dev group=ops\t# for the builds\r", identity.Identity{Name: "bot", UID: "7", Groups: []string{"dev", "ops"}}},
		{"  ci " + madeHash + ` group="a, b" user="Jane \"J\" Doe" # x`, identity.Identity{Name: `Jane "J" Doe`, Groups: []string{"a, b"}}},
		{"ci " + madeHash + " user=system:admin group=system:masters", identity.Identity{Name: "system:admin", Groups: []string{"system:masters"}}},
		{"ci " + madeHash + ` user="#1" uid=a=b`, identity.Identity{Name: "#1", UID: "a=b"}},
		{"# a comment\n\n \nci " + madeHash + " user=Jané", identity.Identity{Name: "Jané"}},
	} {
		v, _, err := openHashed(t, tt.line+"\n")
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		res, err := v.VerifyToken(t.Context(), made, nil)
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		tt.want.Groups = identity.WithAuthenticated(tt.want.Name, tt.want.Groups)
		tt.want.Credential = identity.Credential{Method: identity.StaticToken, ID: "NAME=ci"}
		if !reflect.DeepEqual(res.Identity, &tt.want) || !res.Until.IsZero() || !reflect.DeepEqual(res.Audiences, []string{"api", "other"}) {
			t.Errorf("%q gives %+v, want %+v", tt.line, res.Identity, tt.want)
		}
		for _, other := range []string{made[3:], made + "x", made[:len(made)-1], madeHash, strings.TrimPrefix(madeHash, "sha256:"), "", strings.ToUpper(made)} {
			if res, err := v.VerifyToken(t.Context(), other, nil); !errors.Is(err, authn.ErrNoCredential) {
				t.Errorf("%q: the token %q: %v, %v", tt.line, other, res, err)
			}
		}
		if _, err := v.VerifyToken(t.Context(), made, []string{"foreign"}); !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("a foreign audience: %v", err)
		}
	}
}

func TestHashedRefused(t *testing.T) {
	good := "ci " + madeHash + " user=bot"
	for text, why := range map[string]string{
		made + "\n":                                                         "line 1: after the name there is no sha256:",
		"hunter2,u,1\n":                                                     "line 1: the name of the token is not of letters",
		good + "\nhunter2\n":                                                "line 2: after the name there is no sha256:",
		"ci " + madeHash[:70] + " user=bot":                                 "no sha256: with 64 digits",
		"ci " + madeHash + "0 user=bot":                                     "no sha256: with 64 digits",
		"ci " + strings.ToUpper(madeHash) + " user=bot":                     "no sha256:",
		"ci sha256:" + strings.ToUpper(madeHash[7:]) + " user=bot":          "no sha256:",
		"ci " + strings.Replace(madeHash, "f", "g", 1) + " user=bot":        "no sha256:",
		"ci md5:d41d8cd98f00b204e9800998ecf8427e user=bot":                  "no sha256:",
		"ci " + madeHash:                                                    "there is no user=",
		"ci " + madeHash + " uid=7":                                         "there is no user=",
		"ci " + madeHash + " user=":                                         "user= has no value",
		"ci " + madeHash + ` user=""`:                                       "user= has no value",
		"ci " + madeHash + ` user="  `:                                      "a quote that does not end",
		"ci " + madeHash + ` user="\q"`:                                     "a wrong escape",
		"ci " + madeHash + ` user="a"b`:                                     "no white space behind a value in quotes",
		"ci " + madeHash + ` us"er=a"`:                                      "a quote that does not begin a value",
		"ci " + madeHash + ` user=a="b"`:                                    "a quote that does not begin a value",
		"ci " + madeHash + ` user=a'b#c`:                                    "a # within a value",
		"ci " + madeHash + ` user="a\n"`:                                    "a control character",
		"ci " + madeHash + ` user="\xff"`:                                   "not UTF-8",
		"ci " + madeHash + " user=a\xff":                                    "not UTF-8",
		good + " user=other":                                                "user= is there twice",
		good + " uid=1 uid=1":                                               "uid= is there twice",
		good + " group=":                                                    "group= has no value",
		good + " User=x":                                                    "something else than user=",
		good + " groups=a,b":                                                "something else than user=",
		good + " hunter2":                                                   "something else than user=",
		good + " expires=tomorrow":                                          "expires= is no time",
		good + " expires=2030-02-30T00:00:00Z":                              "expires= is no time",
		good + " expires=2030-12-31":                                        "expires= is no time",
		good + " expires=0000-01-01T00:00:00Z":                              "expires= is no time",
		good + " expires=2030-12-31T00:00:00Z expires=2031-12-31T00:00:00Z": "expires= is there twice",
		"-ci " + madeHash + " user=bot":                                     "the name of the token",
		"c/i " + madeHash + " user=bot":                                     "the name of the token",
		"cí " + madeHash + " user=bot":                                      "the name of the token",
		`"ci" ` + madeHash + " user=bot":                                    "a quote that does not begin a value",
		strings.Repeat("a", 254) + " " + madeHash + " user=bot":             "the name of the token",
		good + "\nother " + madeHash + " user=x":                            `line 2: the name or hash of token "other" is on line 1 as well`,
		good + "\n\nci sha256:" + strings.Repeat("0", 64) + " user=x":       `line 3: the name or hash of token "ci" is on line 1 as well`,
	} {
		_, path, err := openHashed(t, text)
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want an error with %q", text, err, why)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), made)) {
			t.Errorf("%q: the error may repeat a token: %v", text, err)
		}
	}
}

// A token that has expired is known, and refused: also one that was remembered.
func TestHashedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour).UTC()
		v, _, err := openHashed(t, "ci "+madeHash+" user=bot expires="+end.Format(time.RFC3339)+"\n")
		if err != nil {
			t.Fatal(err)
		}
		res, err := v.VerifyToken(t.Context(), made, nil)
		if err != nil || !res.Until.Equal(end) || !res.Identity.Credential.ExpiresAt.Equal(end) || !res.Fresh(time.Now()) {
			t.Fatalf("before its end: %+v, %v", res, err)
		}
		time.Sleep(time.Hour - time.Second)
		if _, err := v.VerifyToken(t.Context(), made, nil); err != nil {
			t.Errorf("a second before its end: %v", err)
		}
		time.Sleep(time.Second)
		if res.Fresh(time.Now()) {
			t.Error("what was verified outlives the token")
		}
		for _, audiences := range [][]string{nil, {"api"}, {"foreign"}} {
			_, err = v.VerifyToken(t.Context(), made, audiences)
			want := `StaticToken: token "ci" of "bot" expired at ` + end.Format(time.RFC3339)
			if err == nil || errors.Is(err, authn.ErrNoCredential) || err.Error() != want {
				t.Errorf("after its end: %v, want %q", err, want)
			}
			if f := authn.FactsOf(err); f.Kind != authn.Expired || len(f.Checks) != 1 || f.Checks[0].OK || f.Mend == "" {
				t.Errorf("the facts are %+v", f)
			}
		}
		again, _, err := openHashed(t, "ci "+madeHash+" user=bot expires="+end.Format(time.RFC3339)+"\n")
		if err != nil || !slices.Equal(again.Warnings(), []string{`line 1: token "ci" has expired, its line can be removed`}) {
			t.Errorf("warnings %q, %v", again.Warnings(), err)
		}
	})
}

// What is made is read again.
func TestLineOf(t *testing.T) {
	token := statictoken.NewToken()
	if !strings.HasPrefix(token, "gh_") || len(token) != 46 || token == statictoken.NewToken() {
		t.Errorf("made %q", token)
	}
	end := time.Date(2100, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	line := statictoken.Line{Name: "ci", User: "Jane \"J\" # Doe", UID: `\`, Groups: []string{"a b", "é", "x,y"}, Expires: end}
	text, err := line.Of(token)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := openHashed(t, text+"  # made by a test\n")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	res, err := v.VerifyToken(t.Context(), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := statictoken.Line{
		Name: strings.TrimPrefix(res.Identity.Credential.ID, "NAME="), User: res.Identity.Name, UID: res.Identity.UID,
		Groups: res.Identity.Groups[:3], Expires: res.Until,
	}
	if line.Expires = end.UTC(); !reflect.DeepEqual(got, line) {
		t.Errorf("%s is read as %+v, want %+v", text, got, line)
	}
	for _, bad := range []statictoken.Line{{}, {Name: "ci"}, {User: "u"}, {Name: "a b", User: "u"}, {Name: "#", User: "u"}, {Name: "ci", User: "a\n"}, {Name: "ci", User: "u", Groups: []string{""}}} {
		if text, err := bad.Of(token); err == nil {
			t.Errorf("%+v gives %q", bad, text)
		}
	}
	if text, err := (statictoken.Line{Name: "ci", User: "u"}).Of("hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a weak token gives %q, %v", text, err)
	}
}

// Random tokens are taken in all their usual forms.
func TestCheckToken(t *testing.T) {
	refused := 0
	const n = 2000
	for range n {
		b := make([]byte, 32)
		rand.Read(b)
		for _, token := range []string{
			"gh_" + base64.RawURLEncoding.EncodeToString(b), base64.StdEncoding.EncodeToString(b),
			base64.RawURLEncoding.EncodeToString(b[:17]), hex.EncodeToString(b[:16]), fmt.Sprintf("%X", b), hex.EncodeToString(b),
		} {
			if err := statictoken.CheckToken(token); err != nil {
				t.Logf("%s: %v", token, err)
				refused++
			}
		}
	}
	if refused > n*6/1000 {
		t.Errorf("%d of %d random tokens are refused", refused, n*6)
	}
	for _, weak := range []string{
		"", "gh_", "hunter2", "correct horse battery staple", "correct-horse-battery-staple-and-more",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "gh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"0123456789abcdef0123456789abcdef", "00000000000000000000000000000001", "12345678901234567890123456789012",
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1", "QwErTyUiOpQwErTyUiOpQwErTyUiOp",
		"550e8400-e29b-41d4-a716-446655440000", // 122 bits
		"d41d8cd98f00b204e9800998ecf8427",      // 124 bits
		"Qm7xV2nRk9TzLw4JbYc8H",                // 126 bits
		made + "\n", made + " ", "é" + made, "Bearer " + made, `"` + made + `"`,
	} {
		err := statictoken.CheckToken(weak)
		if err == nil {
			t.Errorf("%q is taken", weak)
		} else if len(weak) > 6 && strings.Contains(err.Error(), weak) {
			t.Errorf("the error repeats %q", weak)
		}
	}
}

func FuzzHashed(f *testing.F) {
	for _, s := range []string{
		"ci " + madeHash + " user=bot\n", "a " + madeHash + ` user="x y" group=g expires=2030-01-01T00:00:00Z # c`, "#\n\n", `"`, "a b=\"", "a " + madeHash + ` user="\u00e9"`,
		"ci " + madeHash[:len(madeHash)-1] + "9 user=bot", // a slip in the second half
	} {
		f.Add(s)
	}
	path := filepath.Join(f.TempDir(), "tokens")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := statictoken.OpenHashed(statictoken.Config{Path: path, Key: key})
		if err != nil {
			return
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !strings.Contains(line, "sha256:") {
				t.Errorf("%q is read, with %q", text, line)
			}
		}
		res, err := v.VerifyToken(t.Context(), made, nil)
		if (err == nil || !errors.Is(err, authn.ErrNoCredential)) && !strings.Contains(text, madeHash) {
			t.Errorf("%q lets somebody in: %v", text, err)
		}
		if err == nil && (res.Identity.Name == "" || slices.Contains(res.Identity.Groups, "")) {
			t.Errorf("%q makes %+v", text, res.Identity)
		}
	})
}

func BenchmarkHashed(b *testing.B) {
	var text strings.Builder
	var token string
	for i := range 100_000 {
		token = statictoken.NewToken()
		line, err := statictoken.Line{Name: fmt.Sprint("t", i), User: fmt.Sprint("user", i), Groups: []string{"dev"}}.Of(token)
		if err != nil {
			b.Fatal(err)
		}
		text.WriteString(line + "\n")
	}
	path := filepath.Join(b.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	config := statictoken.Config{Path: path, Key: key}
	b.Run("load 100,000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := statictoken.OpenHashed(config); err != nil {
				b.Fatal(err)
			}
		}
	})
	v, err := statictoken.OpenHashed(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.VerifyToken(b.Context(), token, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
