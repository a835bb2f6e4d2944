package requests_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/klog/v2"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/statictoken"
)

// Rows of the page about the token file.
const (
	noUserInFile  = "a record without a user name in the token file"
	noGroupInFile = "an empty group name in the token file"
)

// TestTokenFile has both sides read generated files, and asks about the tokens in
// them and tokens that are nearly those.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	klog.SetLogger(logr.Discard()) // upstream logs each oddity
	r, seen := random(t), differences{}
	path := filepath.Join(t.TempDir(), "tokens.csv")
	files := 1000
	if nightly() {
		files = 15_000
	}
	for range files {
		text := tokenFile(r)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		our, err := statictoken.Open(statictoken.Config{Path: path, Key: bytes.Repeat([]byte("k"), 32)})
		their, theirErr := tokenfile.NewCSV(path)
		switch {
		case err != nil && theirErr == nil && strings.Contains(err.Error(), "empty user name"):
			seen[noUserInFile]++
			continue
		case (err == nil) != (theirErr == nil):
			t.Fatalf("%q: %v, theirs %v", text, err, theirErr)
		case err != nil:
			seen["the same: the file is refused"]++
			continue
		}
		compareTokens(t, r, seen, text, our, their)
	}
	seen.seen(t, noUserInFile, noGroupInFile)
}

func compareTokens(t *testing.T, r *rand.Rand, seen differences, text string, our authn.TokenVerifier, their authenticator.Token) {
	t.Helper()
	for range 20 {
		token := nearlyToken(r)
		a := ours(our.VerifyToken(t.Context(), token, nil))
		adder := group.NewAuthenticatedGroupAdder(authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			return their.AuthenticateToken(r.Context(), token)
		}))
		b := theirs(adder.AuthenticateRequest(new(http.Request)))
		if slices.Contains(b.Groups, "") && !a.Refused {
			seen[noGroupInFile]++
			b.Groups = slices.DeleteFunc(slices.Clone(b.Groups), func(g string) bool { return g == "" })
		}
		seen.check(t, []string{text, token}, a, b, "")
	}
}

// tokenFile is a file of a few records, with the odd one among them.
func tokenFile(r *rand.Rand) string {
	var b strings.Builder
	if r.IntN(40) == 0 {
		b.WriteString("\ufeff")
	}
	for range 1 + r.IntN(6) {
		if r.IntN(25) == 0 {
			b.WriteString(pick(r, "\n", "\r\n", "# a comment\n", "#,a,comment\n", "  \n", "only,two\n", "one\n", ",,\n", "\"\n", "a,b,\"c\" d\n", "\x00,u,1\n"))
			continue
		}
		fields := []string{
			field(r, fileToken(r)), field(r, usually(r, "jane", "joe", "", " jane ", "system:anonymous", "system:admin", "a\"b", "multi\nline", "käse", "\xff")),
			field(r, usually(r, "1", "", "u-1", " ")),
		}
		if r.IntN(3) > 0 {
			fields = append(fields, field(r, usually(r, pick(r, "dev", "dev,ops", "a,b,c"), "", ",", "dev,", ",dev", "dev, ops", "dev,,ops", "system:masters", "system:unauthenticated,x", "system:authenticated", "\"dev\"")))
		}
		if r.IntN(10) == 0 {
			fields = append(fields, field(r, pick(r, "more", "", "\"")))
		}
		b.WriteString(strings.Join(fields, usually(r, ",", ",", ",", ", ", ";", "\t")))
		b.WriteString(usually(r, "\n", "\r\n", "", "\r", "\n\n"))
	}
	return b.String()
}

// field writes a field with quotes where it needs them, or rarely as it is.
func field(r *rand.Rand, s string) string {
	switch {
	case r.IntN(60) == 0:
		return s
	case strings.ContainsAny(s, ",\"\n\r") || r.IntN(6) == 0:
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

func fileToken(r *rand.Rand) string {
	return usually(r, pick(r, "abc", "def", "ghi", "jkl"), "", "abc.def", " abc", "abc ", "#abc", "a\"c", "ABC", "käse", "secret")
}

func nearlyToken(r *rand.Rand) string {
	return usually(r, fileToken(r), "ab", "abcd", "abC", "jane", "1", "dev", "\ufeffabc", "abc,jane", "# a comment", "#", "a\x00")
}
