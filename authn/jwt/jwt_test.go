package jwt_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/ladder"
	"gatehouse.dev/gatehouse/test/oidc"
)

const (
	url      = "https://issuer.example.org"
	audience = "gatehouse"
)

var every = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// issuer returns the issuer that a provider is, with static keys.
func issuer(t testing.TB, p *oidc.Provider) jwt.Issuer {
	t.Helper()
	return jwt.Issuer{
		URL: p.Issuer, Audiences: []string{audience}, Algorithms: every, Keys: keysOf(t, p),
		Identify: jwt.Mapping{UsernameClaim: "sub", UsernamePrefix: "o:", GroupsClaim: "groups", GroupsPrefix: "g:"}.Identify,
	}
}

func keysOf(t testing.TB, p *oidc.Provider) *jwt.Keys {
	t.Helper()
	keys := new(jwt.Keys)
	replace(t, keys, p)
	return keys
}

func replace(t testing.TB, keys *jwt.Keys, p *oidc.Provider) {
	t.Helper()
	var all []jwt.Key
	for _, k := range p.Keys {
		all = append(all, jwt.Key{ID: k.ID, Algorithm: k.Algorithm, Public: k.Signer.Public()})
	}
	if passed, err := keys.Replace(all...); err != nil || len(passed) > 0 {
		t.Fatal(passed, err)
	}
}

func verifier(t testing.TB, issuers ...jwt.Issuer) *jwt.Verifier {
	t.Helper()
	v, err := jwt.New([]string{"https://api"}, issuers...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// outcome is what an answer comes to: "user", "pass: text" or "refused: text".
func outcome(res *authn.Result, err error) string {
	_, refusal := errors.AsType[*authn.Refusal](err)
	switch {
	case err == nil:
		return res.Identity.Name
	case refusal:
		return "refused: " + err.Error()
	case errors.Is(err, authn.ErrNoCredential):
		return "pass: " + err.Error()
	}
	return "neither: " + err.Error()
}

// whys are what texts of refusals stand for; the first that fits counts.
var whys = []struct{ text, why string }{
	{"expected audience in", "audience: audience (aud)"},
	{"token is expired", "expired: expiry (exp)"},
	{"it has no expiry", "unsuitable: expiry (exp)"},
	{"current time is before", "not-yet-valid: not before (nbf)"},
	{"it is signed with", "unsuitable: algorithm (alg)"},
	{"failed to verify id token signature", "bad-proof: signature"},
	{"no such key", "unknown: key (kid)"},
	{"parse username claims", "nobody: claim sub"},
	{"parse groups claim", "unsuitable: claims"},
	{"parse uid claim", "unsuitable: claims"},
	{"email not verified", "unsuitable: claim email_verified"},
	{"required claim hd", "unsuitable: claim hd"},
	{"parse claim hd", "unsuitable: claim hd"},
	{"is reserved", "reserved-name: claims"},
	{"could not expand", "malformed: claims"},
	{"distributed claim", "unavailable: claims"},
	{"kept elsewhere", "unsuitable: claims"},
	{"ago", "unavailable: keys of the issuer"},
	{"claim", "malformed: claims"}, // of a type that it should not be
}

// checkWhy wants err to explain itself, and to name the true cause.
func checkWhy(t *testing.T, err error) {
	t.Helper()
	got := ladder.Why(t, err)
	if err == nil || errors.Is(err, authn.ErrNoCredential) {
		return
	}
	i := slices.IndexFunc(whys, func(w struct{ text, why string }) bool { return strings.Contains(err.Error(), w.text) })
	if i < 0 || !strings.HasPrefix(got, whys[i].why) {
		t.Errorf("%v is explained by %q", err, got)
	}
}

func TestClaims(t *testing.T) {
	p := oidc.New(t, url)
	now := time.Now()
	tests := []struct {
		name string
		with map[string]any
		want string
	}{
		{"plain", nil, "o:jane"},
		{"audiences", map[string]any{"aud": []string{"other", audience}}, "o:jane"},
		{"expiry with a fraction", map[string]any{"exp": float64(now.Unix()) + 60.5}, "o:jane"},
		{"not before, within a minute", map[string]any{"nbf": now.Unix() + 50}, "o:jane"},
		{"issued in the future", map[string]any{"iat": now.Unix() + 3600}, "o:jane"},
		{"no iat", map[string]any{"iat": nil}, "o:jane"},
		{"odd jti", map[string]any{"jti": 7}, "o:jane"},
		{"more claims", map[string]any{"nonce": "n", "azp": "other", "a": map[string]any{"b": []int{1}}}, "o:jane"},

		{"another audience", map[string]any{"aud": "other"}, `refused: JWT: token of https://issuer.example.org: expected audience in ["gatehouse"] got ["other"]`},
		{"no audience", map[string]any{"aud": nil}, "refused: JWT: token of https://issuer.example.org: expected audience in"},
		{"empty audience", map[string]any{"aud": ""}, "refused: JWT: token of https://issuer.example.org: expected audience in"},
		{"no audiences", map[string]any{"aud": []string{}}, "refused: JWT: token of https://issuer.example.org: expected audience in"},
		{"beginning of the audience", map[string]any{"aud": audience[:4]}, "refused: JWT: token of https://issuer.example.org: expected audience in"},
		{"audience is a number", map[string]any{"aud": 1}, `refused: JWT: token of https://issuer.example.org: claim "aud" is neither`},
		{"nested audience", map[string]any{"aud": [][]string{{audience}}}, `refused: JWT: token of https://issuer.example.org: claim "aud" is not`},
		{"expired", map[string]any{"exp": now.Unix() - 1}, "refused: JWT: token of https://issuer.example.org: token is expired"},
		{"no expiry", map[string]any{"exp": nil}, "refused: JWT: token of https://issuer.example.org: it has no expiry"},
		{"expiry is a text", map[string]any{"exp": "4102444800"}, `refused: JWT: token of https://issuer.example.org: claim "exp" is not a number`},
		{"expiry is zero", map[string]any{"exp": 0}, "refused: JWT: token of https://issuer.example.org: token is expired"},
		{"negative expiry", map[string]any{"exp": -1}, `refused: JWT: token of https://issuer.example.org: claim "exp" is not a time`},
		{"expiry of no time", map[string]any{"exp": json.Number("1e308")}, `refused: JWT: token of https://issuer.example.org: claim "exp" is not a time`},
		{"not yet", map[string]any{"nbf": now.Unix() + 120}, "refused: JWT: token of https://issuer.example.org: current time is before"},
		{"not before is a text", map[string]any{"nbf": "0"}, `refused: JWT: token of https://issuer.example.org: claim "nbf" is not a number`},
		{"no user", map[string]any{"sub": nil}, "refused: JWT: token of https://issuer.example.org: parse username claims \"sub\": claim not present"},
		{"empty user", map[string]any{"sub": ""}, "refused: JWT: token of https://issuer.example.org: parse username claims \"sub\": it is empty"},
		{"null user", map[string]any{"sub": json.RawMessage("null")}, "refused: JWT: token of https://issuer.example.org: parse username claims \"sub\": it is empty"},
		{"user is a number", map[string]any{"sub": 1}, `refused: JWT: token of https://issuer.example.org: claim "sub" is not a string`},
		{"nonce is a number", map[string]any{"nonce": 1}, `refused: JWT: token of https://issuer.example.org: claim "nonce" is not a string`},
		{"iat is a text", map[string]any{"iat": "0"}, `refused: JWT: token of https://issuer.example.org: claim "iat" is not a number`},
		{"groups are numbers", map[string]any{"groups": []int{1}}, "refused: JWT: token of https://issuer.example.org: parse groups claim"},
		{"groups are an object", map[string]any{"groups": map[string]any{}}, "refused: JWT: token of https://issuer.example.org: parse groups claim"},

		{"another issuer", map[string]any{"iss": "https://other"}, `pass: JWT: no issuer "https://other" is configured`},
		{"issuer with a slash", map[string]any{"iss": url + "/"}, "pass: JWT: no issuer"},
		{"issuer in capitals", map[string]any{"iss": strings.ToUpper(url)}, "pass: JWT: no issuer"},
		{"no issuer", map[string]any{"iss": nil}, "pass: JWT: the token names no issuer"},
		{"issuer is a list", map[string]any{"iss": []string{url}}, "pass: JWT: the token is no signed JWT"},
	}
	v := verifier(t, issuer(t, p))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := v.VerifyToken(t.Context(), p.Token(t, audience, tt.with), nil)
			checkWhy(t, err)
			got := outcome(res, err)
			if !strings.HasPrefix(got, tt.want) || !strings.Contains(tt.want, ":") && got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAlgorithms(t *testing.T) {
	for _, alg := range every {
		t.Run(alg, func(t *testing.T) {
			p := &oidc.Provider{Issuer: url, Keys: []oidc.Key{oidc.NewKey(t, "k", alg)}}
			i := issuer(t, p)
			token := p.Token(t, audience, nil)
			if got := outcome(verifier(t, i).VerifyToken(t.Context(), token, nil)); got != "o:jane" {
				t.Errorf("accepted algorithm: %s", got)
			}
			i.Algorithms = nil
			for _, other := range every {
				if other != alg {
					i.Algorithms = append(i.Algorithms, other)
				}
			}
			res, err := verifier(t, i).VerifyToken(t.Context(), token, nil)
			checkWhy(t, err)
			if got := outcome(res, err); !strings.Contains(got, "it is signed with "+alg) {
				t.Errorf("other algorithms: %s", got)
			}
		})
	}
}

// Headers that attack the choice of the key.
func TestHeaders(t *testing.T) {
	p, evil := oidc.New(t, url), oidc.NewKey(t, "k1", "ES256")
	v := verifier(t, issuer(t, p))
	payload, err := json.Marshal(p.Claims(audience, nil))
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(evil.JWK())
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{
		`{"alg":"ES256","kid":"k1"}`,
		`{"alg":"ES256"}`,
		`{"alg":"ES256","jwk":` + string(jwk) + `}`,
		`{"alg":"ES256","kid":"k1","jku":"https://evil.example.org/keys"}`,
		`{"alg":"ES256","x5u":"https://evil.example.org/cert"}`,
		`{"alg":"ES256","x5c":["AAAA"]}`,
		`{"alg":"none","kid":"k1"}`,
		`{"alg":"HS256","kid":"k1"}`,
		`{"alg":"ES256","kid":"k1","crit":["b64"],"b64":false}`,
		`{"alg":"ES256","kid":"../../dev/null"}`,
		`{"alg":"RS256","kid":"k1"}`,
	} {
		token := evil.Sign(t, []byte(header), payload)
		if res, err := v.VerifyToken(t.Context(), token, nil); err == nil {
			t.Errorf("%s: accepted as %s", header, res.Identity.Name)
		}
		// The right key does not make up for a header that says other things.
		bad := strings.Contains(header, "jwk") || strings.Contains(header, "jku") || strings.Contains(header, "x5") ||
			strings.Contains(header, "crit") || strings.Contains(header, "dev") || !strings.Contains(header, `"ES256"`)
		if _, err := v.VerifyToken(t.Context(), p.Keys[0].Sign(t, []byte(header), payload), nil); (err != nil) != bad {
			t.Errorf("%s with the right key: %v", header, err)
		}
	}
}

// Keys of one issuer are no keys of another one.
func TestKeysOfAnotherIssuer(t *testing.T) {
	a, b := oidc.New(t, url), oidc.New(t, "https://b.example.org")
	v := verifier(t, issuer(t, a), issuer(t, b))
	for _, p := range []*oidc.Provider{a, b} {
		if got := outcome(v.VerifyToken(t.Context(), p.Token(t, audience, nil), nil)); got != "o:jane" {
			t.Error(got)
		}
	}
	posing := a.Token(t, audience, map[string]any{"iss": b.Issuer})
	res, err := v.VerifyToken(t.Context(), posing, nil)
	checkWhy(t, err)
	if got := outcome(res, err); !strings.Contains(got, "failed to verify id token signature") {
		t.Errorf("a poses as b: %s", got)
	}
}

func TestReservedNames(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	i.Identify = jwt.Mapping{UsernameClaim: "sub", GroupsClaim: "groups"}.Identify
	i.Reserved = []string{"system:monitoring", "system:agent"}
	v := verifier(t, i)
	tests := []struct {
		user   string
		groups []string
		want   string
	}{
		{"jane", []string{"dev", "systemic", "System:masters"}, "jane"},
		{"system:agent", []string{"system:monitoring"}, "system:agent"},
		{"system:masters", nil, "refused"},
		{"system:serviceaccount:kube-system:admin", nil, "refused"},
		{"system:", nil, "refused"},
		{"jane", []string{"dev", "system:masters"}, "refused"},
		{"jane", []string{"system:authenticated"}, "refused"},
		{"jane", []string{"system:unauthenticated"}, "refused"},
		{"jane", []string{"system:monitoring2"}, "refused"},
	}
	for _, tt := range tests {
		res, err := v.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{"sub": tt.user, "groups": tt.groups}), nil)
		checkWhy(t, err)
		got := outcome(res, err)
		if got != tt.want && !(tt.want == "refused" && strings.Contains(got, "is reserved")) {
			t.Errorf("%s of %v: %s, want %s", tt.user, tt.groups, got, tt.want)
		}
	}
}

func TestResult(t *testing.T) {
	p := oidc.New(t, url)
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	token := p.Token(t, audience, map[string]any{
		"jti": "id", "groups": []string{"a", "b"}, "exp": exp.Unix(), "iat": exp.Add(-2 * time.Hour).Unix(),
	})
	sum := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')]))
	res, err := verifier(t, issuer(t, p)).VerifyToken(t.Context(), token, []string{"vault", "https://api"})
	if err != nil {
		t.Fatal(err)
	}
	want := &identity.Identity{
		Name: "o:jane", Groups: []string{"g:a", "g:b", "system:authenticated"},
		Extra: map[string][]string{identity.CredentialIDKey: {"JTI=id"}},
		Credential: identity.Credential{
			Method: identity.JWT, Issuer: url, ID: "JTI=id", Digest: hex.EncodeToString(sum[:]), KeyID: p.Keys[0].ID, IssuedAt: exp.Add(-2 * time.Hour), ExpiresAt: exp,
		},
	}
	if diff := cmp.Diff(want, res.Identity); diff != "" {
		t.Error(diff)
	}
	if !res.Until.Equal(exp) || len(res.Rests) != 2 || cmp.Diff(res.Audiences, []string{"https://api"}) != "" {
		t.Errorf("until %v, rests on %d, for %v", res.Until, len(res.Rests), res.Audiences)
	}
	if got := outcome(verifier(t, issuer(t, p)).VerifyToken(t.Context(), p.Token(t, audience, nil), []string{"vault"})); !strings.HasPrefix(got, "pass: ") {
		t.Errorf("for an audience that is not the server's: %s", got)
	}
}

func TestEmailHasToBeVerified(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	i.Identify = jwt.Mapping{UsernameClaim: "email"}.Identify
	v := verifier(t, i)
	for verified, want := range map[any]bool{nil: true, true: true, false: false, "true": false, 1: false, 0: false} {
		_, err := v.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{"email": "jane@example.org", "email_verified": verified}), nil)
		checkWhy(t, err)
		if (err == nil) != want {
			t.Errorf("email_verified %#v: %v, want accepted = %v", verified, err, want)
		}
	}
}

func TestRequiredClaims(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	i.Identify = jwt.Mapping{UsernameClaim: "sub", UIDClaim: "uid", Required: map[string]string{"hd": "example.org"}}.Identify
	v := verifier(t, i)
	tests := []struct {
		with map[string]any
		want string
	}{
		{map[string]any{"hd": "example.org", "uid": "7"}, "jane"},
		{map[string]any{"uid": "7"}, "required claim hd not present"},
		{map[string]any{"hd": "evil.org", "uid": "7"}, "value does not match"},
		{map[string]any{"hd": []string{"example.org"}, "uid": "7"}, "parse claim hd"},
		{map[string]any{"hd": "example.org"}, "parse uid claim"},
		{map[string]any{"hd": "example.org", "uid": 7}, "parse uid claim"},
	}
	for _, tt := range tests {
		res, err := v.VerifyToken(t.Context(), p.Token(t, audience, tt.with), nil)
		checkWhy(t, err)
		if got := outcome(res, err); !strings.Contains(got, tt.want) {
			t.Errorf("%v: %s, want %s", tt.with, got, tt.want)
		}
	}
}

// What was verified ends with its key and with the configuration, and not with
// a change that leaves both as they are.
func TestResultsEnd(t *testing.T) {
	p := oidc.New(t, url)
	p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256"))
	i := issuer(t, p)
	v := verifier(t, i)
	check := func() *authn.Result {
		res, err := v.VerifyToken(t.Context(), p.Token(t, audience, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := check()
	p.Keys = []oidc.Key{oidc.NewKey(t, "k0", "ES256"), p.Keys[1]} // k1 is withdrawn
	replace(t, i.Keys, p)
	if !res.Fresh(time.Now()) {
		t.Error("ended because another key was withdrawn")
	}
	p.Keys[0], p.Keys[1] = p.Keys[1], oidc.NewKey(t, "k2", "ES256") // another key by the same name
	replace(t, i.Keys, &oidc.Provider{Keys: p.Keys[1:]})
	if res.Fresh(time.Now()) {
		t.Error("outlives its key")
	}
	res = check()
	if err := v.Replace(i); err != nil {
		t.Fatal(err)
	}
	if res.Fresh(time.Now()) {
		t.Error("outlives the configuration")
	}
	if err := v.Replace(); err != nil {
		t.Fatal(err)
	}
	if got := outcome(v.VerifyToken(t.Context(), p.Token(t, audience, nil), nil)); !strings.HasPrefix(got, "pass: ") {
		t.Errorf("after the issuer is gone: %s", got)
	}
}

// A key that is read before it is withdrawn, and used after, cannot make a
// result that lasts.
func TestAWithdrawnKeyMakesNothingThatLasts(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	plain := i.Identify
	i.Identify = func(ctx context.Context, c *jwt.Claims, who *identity.Identity) error {
		replace(t, i.Keys, oidc.New(t, url))
		return plain(ctx, c, who)
	}
	res, err := verifier(t, i).VerifyToken(t.Context(), p.Token(t, audience, nil), nil)
	if err == nil && res.Fresh(time.Now()) {
		t.Error("a result rests on a key that is gone")
	}
}

func TestNewRefuses(t *testing.T) {
	good := issuer(t, oidc.New(t, url))
	for name, change := range map[string]func(*jwt.Issuer){
		"no name":      func(i *jwt.Issuer) { i.URL = "" },
		"no audience":  func(i *jwt.Issuer) { i.Audiences = nil },
		"no algorithm": func(i *jwt.Issuer) { i.Algorithms = nil },
		"no keys":      func(i *jwt.Issuer) { i.Keys = nil },
		"no mapping":   func(i *jwt.Issuer) { i.Identify = nil },
	} {
		bad := good
		change(&bad)
		if _, err := jwt.New(nil, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := jwt.New(nil, good, good); err == nil {
		t.Error("one issuer twice: accepted")
	}
	if _, err := jwt.New(nil, good); err != nil {
		t.Error(err)
	}
}

// Google writes its name in two ways.
func TestGoogle(t *testing.T) {
	p := oidc.New(t, "https://accounts.google.com")
	v := verifier(t, issuer(t, p))
	for _, iss := range []string{"https://accounts.google.com", "accounts.google.com"} {
		if got := outcome(v.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{"iss": iss}), nil)); got != "o:jane" {
			t.Errorf("%s: %s", iss, got)
		}
	}
	other := verifier(t, issuer(t, oidc.New(t, url)))
	if got := outcome(other.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{"iss": "issuer.example.org"}), nil)); !strings.HasPrefix(got, "pass: ") {
		t.Errorf("another issuer without https: %s", got)
	}
}

// A token is good until its last second is over, and what was remembered ends
// then too.
func TestExpiryIsExact(t *testing.T) {
	p := oidc.New(t, url)
	synctest.Test(t, func(t *testing.T) {
		v := verifier(t, issuer(t, p))
		token := p.Token(t, audience, map[string]any{"exp": time.Now().Add(10 * time.Second).Unix()})
		res, err := v.VerifyToken(t.Context(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second - 1)
		if !res.Fresh(time.Now()) {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Nanosecond)
		if res.Fresh(time.Now()) {
			t.Error("remembered too long")
		}
		if _, err := v.VerifyToken(t.Context(), token, nil); err == nil {
			t.Error("accepted when expired")
		}
	})
}
