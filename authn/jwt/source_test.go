package jwt_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/test/ladder"
	"gatehouse.dev/gatehouse/test/oidc"
)

// A source is one that can be told what to say.
type source struct {
	until   time.Time
	down    error
	renew   func() error
	renewed int
}

func (s *source) Until() (time.Time, error) { return s.until, s.down }

func (s *source) Renew(context.Context, func() bool) error {
	s.renewed++
	return s.renew()
}

func TestUnknownKeyIsFetchedOnce(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	s := &source{until: time.Now().Add(24 * time.Hour)}
	i.Source = s
	v := verifier(t, i)
	p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256"))
	token := p.Token(t, audience, nil)

	s.renew = func() error { return errors.New("the issuer is down") }
	res, err := v.VerifyToken(t.Context(), token, nil)
	checkWhy(t, err)
	if got := outcome(res, err); !strings.Contains(got, `the issuer has no such key: "k2" (the issuer is down)`) || s.renewed != 1 {
		t.Errorf("while the issuer is down: %v, %d looks", err, s.renewed)
	}
	s.renew = func() error { return nil }
	if got := outcome(v.VerifyToken(t.Context(), token, nil)); !strings.Contains(got, `no such key: "k2"`) {
		t.Errorf("when the issuer does not have it: %s", got)
	}
	s.renew = func() error { replace(t, i.Keys, p); return nil }
	if got := outcome(v.VerifyToken(t.Context(), token, nil)); got != "o:jane" {
		t.Errorf("when the issuer has it: %s", got)
	}
	if _, err := v.VerifyToken(t.Context(), token, nil); err != nil || s.renewed != 3 {
		t.Errorf("a known key: %v, %d looks", err, s.renewed)
	}
}

// What only might be presented makes nobody fetch or count anything.
func TestRehearsalFetchesNothing(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	s := &source{until: time.Now().Add(24 * time.Hour), renew: func() error { return nil }}
	i.Source, i.Distributed = s, "groups"
	i.Verified = func(time.Duration, error) { t.Error("a rehearsal is counted") }
	i.Fetch = func(context.Context, string, string) (string, error) {
		t.Error("a rehearsal fetches a claim")
		return "", nil
	}
	v := verifier(t, i)
	elsewhere := p.Token(t, audience, map[string]any{
		"_claim_names":   map[string]any{"groups": "src"},
		"_claim_sources": map[string]any{"src": map[string]string{"endpoint": url + "/groups", "access_token": "t"}},
	})
	_, err := v.VerifyToken(authn.Rehearsal(t.Context()), elsewhere, nil)
	if why := ladder.Why(t, err); why != "unavailable: claims" {
		t.Errorf("a claim that is kept elsewhere: %v, explained by %s", err, why)
	}
	p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256"))
	_, err = v.VerifyToken(authn.Rehearsal(t.Context()), p.Token(t, audience, nil), nil)
	if why := ladder.Why(t, err); why != "unknown: key (kid)" || s.renewed != 0 {
		t.Errorf("an unknown key: %v, explained by %s, %d looks", err, why, s.renewed)
	}
}

// What a stranger can make up makes nobody fetch anything.
func TestForgeriesFetchNothing(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	s := &source{until: time.Now().Add(time.Hour), renew: func() error { return nil }}
	i.Source, i.Algorithms = s, []string{"ES256"}
	v := verifier(t, i)
	evil := oidc.Provider{Issuer: url, Keys: []oidc.Key{oidc.NewKey(t, "k1", "ES256")}}
	rsa := oidc.Provider{Issuer: url, Keys: []oidc.Key{oidc.NewKey(t, "k9", "RS256")}}
	old := map[string]any{"exp": time.Now().Unix() - 10}
	for name, token := range map[string]string{
		"bad signature of a known key":         evil.Token(t, audience, nil),
		"expired":                              p.Token(t, audience, old),
		"another audience":                     evil.Token(t, "other", nil),
		"unknown key, expired":                 rsa.Token(t, audience, old),
		"unknown key of an algorithm not used": rsa.Token(t, audience, nil),
		"another issuer":                       evil.Token(t, audience, map[string]any{"iss": "https://other"}),
	} {
		if _, err := v.VerifyToken(t.Context(), token, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if s.renewed != 0 {
			t.Errorf("%s: fetched the keys", name)
		}
	}
}

func TestSourceThatIsDown(t *testing.T) {
	p := oidc.New(t, url)
	i := issuer(t, p)
	s := &source{down: errors.New("the keys are a day old"), renew: func() error { return nil }}
	i.Source = s
	res, err := verifier(t, i).VerifyToken(t.Context(), p.Token(t, audience, nil), nil)
	if got := outcome(res, err); !strings.HasSuffix(got, "the keys are a day old") || s.renewed != 0 {
		t.Errorf("got %s and %d looks", got, s.renewed)
	}
	if why := ladder.Why(t, err); why != "unavailable: keys of the issuer" {
		t.Errorf("explained by %s", why)
	}
	s.down, s.until = nil, time.Now().Add(time.Minute)
	res, err = verifier(t, i).VerifyToken(t.Context(), p.Token(t, audience, nil), nil)
	if err != nil || !res.Until.Equal(s.until) {
		t.Errorf("result is until %v, %v; want until the keys are too old", res, err)
	}
}

// Tokens without kid, with one key and with many.
func TestNoKeyID(t *testing.T) {
	p := &oidc.Provider{Issuer: url, Keys: []oidc.Key{oidc.NewKey(t, "", "ES256")}}
	v := verifier(t, issuer(t, p))
	if got := outcome(v.VerifyToken(t.Context(), p.Token(t, audience, nil), nil)); got != "o:jane" {
		t.Errorf("one key: %s", got)
	}
	named := oidc.Key{ID: "k", Algorithm: "ES256", Signer: p.Keys[0].Signer}
	if got := outcome(v.VerifyToken(t.Context(), named.Token(t, payload(t, p)), nil)); !strings.Contains(got, "no such key") {
		t.Errorf("token that names a key that has no name: %s", got)
	}
	for range 6 {
		p.Keys = append([]oidc.Key{oidc.NewKey(t, "other", "ES256")}, p.Keys...)
	}
	if got := outcome(verifier(t, issuer(t, p)).VerifyToken(t.Context(), p.Token(t, audience, nil), nil)); got != "o:jane" {
		t.Errorf("the seventh of seven keys: %s", got)
	}
	for range 2 {
		p.Keys = append([]oidc.Key{oidc.NewKey(t, "other", "ES256")}, p.Keys...)
	}
	if got := outcome(verifier(t, issuer(t, p)).VerifyToken(t.Context(), p.Token(t, audience, nil), nil)); !strings.Contains(got, "failed to verify") {
		t.Errorf("the ninth of nine keys, where eight are tried: %s", got)
	}
}

func TestReplaceKeys(t *testing.T) {
	good := oidc.NewKey(t, "k", "ES256")
	keys := new(jwt.Keys)
	passed, err := keys.Replace(
		jwt.Key{ID: "k", Public: good.Signer.Public()},
		jwt.Key{ID: "for another algorithm", Algorithm: "RS256", Public: good.Signer.Public()},
		jwt.Key{ID: "of no kind", Public: "secret"},
	)
	if err != nil || len(passed) != 2 {
		t.Errorf("got %v, %v; want two keys passed over", passed, err)
	}
	if _, err := keys.Replace(); err == nil {
		t.Error("no keys at all: accepted")
	}
	p := &oidc.Provider{Issuer: url, Keys: []oidc.Key{good}}
	i := issuer(t, p)
	i.Keys = keys
	if got := outcome(verifier(t, i).VerifyToken(t.Context(), p.Token(t, audience, nil), nil)); got != "o:jane" {
		t.Errorf("after keys that were refused: %s", got)
	}
}

func TestDistributedClaims(t *testing.T) {
	p, other := oidc.New(t, url), oidc.New(t, "https://other.example.org")
	i := issuer(t, p)
	i.Distributed = "groups"
	var asked string
	var served string
	i.Fetch = func(_ context.Context, endpoint, accessToken string) (string, error) {
		if asked = endpoint + " " + accessToken; served == "" {
			return "", errors.New("not allowed")
		}
		return served, nil
	}
	v := verifier(t, i, issuer(t, other))
	elsewhere := map[string]any{
		"_claim_names":   map[string]string{"groups": "src"},
		"_claim_sources": map[string]any{"src": map[string]string{"endpoint": "https://issuer.example.org/groups", "access_token": "t"}},
	}
	with := func(name string, value any) map[string]any {
		out := map[string]any{}
		for k, v := range elsewhere {
			out[k] = v
		}
		out[name] = value
		return out
	}
	groups := map[string]any{"groups": []string{"a"}}
	tests := []struct {
		name   string
		claims map[string]any
		served string
		want   string // the first group, or a part of the refusal
	}{
		{"of the issuer", elsewhere, p.Token(t, audience, groups), "g:a"},
		{"of another issuer that is configured", elsewhere, other.Token(t, audience, groups), "g:a"},
		{"in the token after all", with("groups", []string{"b"}), "", "g:b"},
		{"aggregated", with("_claim_sources", map[string]any{"src": map[string]string{"JWT": "x"}}), "", "system:authenticated"},
		{"of an issuer that is not", elsewhere, p.Token(t, audience, map[string]any{"iss": "https://evil", "groups": "a"}), `no issuer "https://evil"`},
		{"of another key", elsewhere, oidc.New(t, url).Token(t, audience, groups), "failed to verify"},
		{"for another audience", elsewhere, p.Token(t, "other", groups), "expected audience"},
		{"expired", elsewhere, p.Token(t, audience, map[string]any{"groups": "a", "exp": 1}), "expired"},
		{"without the claim", elsewhere, p.Token(t, audience, nil), `has no claim "groups"`},
		{"not a token", elsewhere, "<html>", "three parts"},
		{"not allowed", elsewhere, "", "not allowed"},
		{"reserved", elsewhere, p.Token(t, audience, map[string]any{"groups": "system:masters"}), "g:system:masters"},
		{"no source", with("_claim_sources", map[string]any{}), "", "no claim source"},
		{"names are a list", with("_claim_names", []string{"groups"}), "", "not an object"},
		{"endpoint is a number", with("_claim_sources", map[string]any{"src": map[string]int{"endpoint": 1}}), "", "not a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked, served = "", tt.served
			tt.claims["jti"] = tt.name // what failed for one token is remembered
			res, err := v.VerifyToken(t.Context(), p.Token(t, audience, tt.claims), nil)
			ladder.Why(t, err)
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("refused: %v, want %s", err, tt.want)
				}
				return
			}
			if res.Identity.Groups[0] != tt.want {
				t.Errorf("groups are %q, want %s", res.Identity.Groups, tt.want)
			}
			if asked == "" {
				return
			}
			if asked != "https://issuer.example.org/groups t" {
				t.Errorf("asked %s", asked)
			}
			if left := time.Until(res.Until); left > 10*time.Second {
				t.Errorf("remembered for %v", left)
			}
		})
	}
	// A token that nobody signed sends nobody anywhere.
	asked = ""
	forged := oidc.New(t, url).Token(t, audience, elsewhere)
	if _, err := v.VerifyToken(t.Context(), forged, nil); err == nil || asked != "" {
		t.Errorf("a forged token: %v, asked %q", err, asked)
	}
	i.Fetch = nil
	if got := outcome(verifier(t, i).VerifyToken(t.Context(), p.Token(t, audience, elsewhere), nil)); !strings.Contains(got, "may not be fetched") {
		t.Errorf("nothing configured: %s", got)
	}
}

// What holds a claim that was kept elsewhere is beside the token that was
// presented, by every name that it can be taken back by.
func TestDistributedClaimsHaveTheirVoucher(t *testing.T) {
	p, graph := oidc.New(t, url), oidc.New(t, "https://graph.example.org")
	graph.Keys = []oidc.Key{oidc.NewKey(t, "graph-key", "ES256")}
	i := issuer(t, p)
	i.Distributed = "groups"
	i.Fetch = func(context.Context, string, string) (string, error) {
		return graph.Token(t, audience, map[string]any{"groups": "dev", "jti": "g", "iat": 1000}), nil
	}
	v := verifier(t, i, issuer(t, graph))
	res, err := v.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{
		"jti": "1", "_claim_names": map[string]string{"groups": "s"},
		"_claim_sources": map[string]any{"s": map[string]string{"endpoint": "https://graph.example.org/groups"}},
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	own := res.Identity.Credential
	if own.Issuer != url || own.ID != "JTI=1" || own.Beside == nil {
		t.Fatalf("the credential is %+v", own)
	}
	beside := own.Beside
	if beside.Issuer != graph.Issuer || beside.KeyID != "graph-key" || beside.ID != "JTI=g" || beside.IssuedAt.Unix() != 1000 ||
		beside.Digest == "" || beside.Digest == own.Digest || beside.Beside != nil {
		t.Errorf("beside it is %+v", beside)
	}
	res, err = v.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{"groups": "dev"}), nil)
	if err != nil || res.Identity.Credential.Beside != nil {
		t.Errorf("a token with its own groups: %v, %v", res, err)
	}
}

func payload(t testing.TB, p *oidc.Provider) []byte {
	t.Helper()
	text, err := json.Marshal(p.Claims(audience, nil))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
