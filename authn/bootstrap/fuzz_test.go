package bootstrap_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn/bootstrap"
)

var form = regexp.MustCompile(`\A([a-z0-9]{6})\.([a-z0-9]{16})\z`)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", ".", token, "ABCDEF.0123456789abcdef", token + "\n", "abcdef.0123456789abcdeé", "abcde\x00.0123456789abcdef"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, presented string) {
		id, secret, ok := bootstrap.Parse(presented)
		want := form.FindStringSubmatch(presented)
		if ok != (want != nil) || ok && (id != want[1] || secret != want[2]) {
			t.Errorf("Parse(%q) = %q, %q, %v, want %q", presented, id, secret, ok, want)
		}
	})
}

// FuzzSecret holds what a Secret of any content lets in to the rules, said in
// another way than the code says them.
func FuzzSecret(f *testing.F) {
	f.Add(id, secret, "", "true", "true", "")
	f.Add(id, secret, "2099-01-02T15:04:05Z", "true", "", "system:bootstrappers:a,system:bootstrappers:a")
	f.Add(id, secret, "2006-01-02T15:04:05Z", "true", "true", "system:bootstrappers:a")
	f.Add(id, secret, "2099-01-02T15:04:05.5+02:00", "True", "true", "system:masters")
	f.Add(id, secret, "0001-01-01T00:00:00Z", "true", "true", "")
	f.Add("", "", "x", "false", "false", ",")
	f.Add(id, secret, "9999-12-31T23:59:59Z", "true", "true", "system:bootstrappers:a\n,system:bootstrappers:-")
	f.Fuzz(func(t *testing.T, tokenID, tokenSecret, expiration, mayLogIn, maySign, extra string) {
		w := newWorld()
		s := good(map[string]string{
			"token-id": tokenID, "token-secret": tokenSecret, "expiration": expiration,
			"usage-bootstrap-authentication": mayLogIn, "usage-bootstrap-signing": maySign, "auth-extra-groups": extra,
		})
		w.put(name, s, true)
		end, err := time.Parse(time.RFC3339, expiration)
		inTime := expiration == "" || err == nil && time.Now().Before(end)
		group := regexp.MustCompile(`\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`)
		bad := func(name string) bool { return !group.MatchString(name) }
		lets := tokenID == id && tokenSecret == secret && inTime && mayLogIn == "true" &&
			(extra == "" || !slices.ContainsFunc(strings.Split(extra, ","), bad))
		res, err := w.verifier(t).VerifyToken(t.Context(), token, nil)
		if (err == nil) != lets {
			t.Fatalf("VerifyToken = %v, %v, want %v", res, err, lets)
		}
		if err == nil {
			for _, g := range res.Identity.Groups {
				if g != "system:bootstrappers" && g != "system:authenticated" && !strings.HasPrefix(g, "system:bootstrappers:") {
					t.Errorf("the group %q", g)
				}
			}
		}
		signs := tokenID == id && form.MatchString(id+"."+tokenSecret) && inTime && maySign == "true"
		if _, _, ok := s.Signer(name, time.Now()); ok != signs {
			t.Errorf("Signer says %v, want %v", ok, signs)
		}
	})
}
