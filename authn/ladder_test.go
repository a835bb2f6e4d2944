package authn_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/identity"
)

// described is a verifier that says which one it is.
type described struct {
	verifier
	method identity.Method
	source string
}

func (d described) Describe() (identity.Method, string) { return d.method, d.source }

// hidden is a verifier of which nobody can see what it is made of.
type hidden struct{ authn.TokenVerifier }

// short writes a ladder as method[source]=finding/kind, a word for each rung.
func short(rungs []authn.Rung) string {
	var words []string
	for _, r := range rungs {
		w := string(r.Method)
		if r.Source != "" {
			w += "[" + r.Source + "]"
		}
		w += "=" + string(r.Found)
		if r.Kind != "" {
			w += "/" + string(r.Kind)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestLadder(t *testing.T) {
	expired := &authn.Refusal{
		Method: identity.JWT, Source: "https://issuer", Reason: "token of https://issuer",
		Cause: authn.Explained(errors.New("token is expired"), authn.Expired, func() authn.Facts {
			return authn.Facts{Mend: "log in again", Checks: []authn.Check{{What: "audience (aud)", OK: true}, {What: "expiry (exp)", Got: "then"}}}
		}),
	}
	static := described{verifier{"static", authn.Pass(identity.StaticToken, "no record has this token")}, identity.StaticToken, "tokens.csv"}
	jwt := described{verifier{"jwt", expired}, identity.JWT, ""}
	tokens := authn.Tokens(static, jwt)
	some := authn.OrAnonymous(authn.Chain(
		no("bad certificate"), authn.Bearer(tokens), authn.WebSocket(tokens)), anonymous.New("/open"))
	clean := authn.OrAnonymous(authn.Chain(none(), authn.Bearer(tokens), authn.WebSocket(tokens)), anonymous.New("/open"))
	unknown := authn.Chain(none(), authn.Bearer(authn.Tokens(static)))
	alone := authn.Chain(authn.Bearer(verifier{"x", authn.ErrNoCredential}))
	tests := []struct {
		name   string
		chain  authn.Authenticator
		header string
		want   string
		blame  string
	}{
		{"two refusals", some, "Bearer other",
			"Test=refused/other StaticToken[tokens.csv]=passed JWT[https://issuer]=refused/expired WebSocket=passed", "JWT expired"},
		{"accepted after a refusal", some, "Bearer jwt",
			"Test=refused/other StaticToken[tokens.csv]=passed JWT=accepted", ""},
		{"accepted at once", clean, "Bearer static", "Test=passed StaticToken[tokens.csv]=accepted", ""},
		{"nobody knows it", unknown, "Bearer other", "Test=passed StaticToken[tokens.csv]=passed Bearer=refused/unknown", "Bearer unknown"},
		{"tokens of tokens", authn.Chain(authn.Bearer(authn.Tokens(hidden{authn.Tokens(static, static)}, verifier{"x", authn.Pass("Test", "nor here")}))), "Bearer other",
			"StaticToken[tokens.csv]=passed StaticToken[tokens.csv]=passed Test=passed Bearer=refused/unknown", "Bearer unknown"},
		{"tokens of tokens, and a refusal", authn.Chain(authn.Bearer(authn.Tokens(hidden{authn.Tokens(static)}, jwt))), "Bearer other",
			"StaticToken[tokens.csv]=passed JWT[https://issuer]=refused/expired", "JWT expired"},
		{"a verifier alone", alone, "Bearer other", "=passed Bearer=refused/unknown", "Bearer unknown"},
		{"malformed", clean, "Basic abc", "Test=passed Bearer=refused/malformed WebSocket=passed", "Bearer malformed"},
		{"white space", clean, "Bearer a b", "Test=passed Bearer=refused/malformed WebSocket=passed", "Bearer malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", tt.header)
			res, err := tt.chain.Authenticate(r)
			again, rungs, traced := authn.Trace(tt.chain, r)
			if (err == nil) != (traced == nil) || err == nil && res.Identity.Name != again.Identity.Name {
				t.Errorf("traced: %v, %v; asked: %v, %v", again, traced, res, err)
			}
			if got := short(rungs); got != tt.want {
				t.Errorf("traced\n  %s, want\n  %s", got, tt.want)
			}
			if err == nil {
				if last := rungs[len(rungs)-1]; last.Who != again.Identity {
					t.Errorf("accepted as %v", last.Who)
				}
				return
			}
			if got := authn.Ladder(err); !reflect.DeepEqual(got, rungs) {
				t.Errorf("the error tells %+v, tracing %+v", got, rungs)
			}
			if method, kind := authn.Blame(err); fmt.Sprint(method, " ", kind) != tt.blame {
				t.Errorf("Blame = %s %s, want %s", method, kind, tt.blame)
			}
		})
	}
}

// A request without a credential has a ladder too, and so has one that nobody
// but anonymous takes.
func TestLadderWithoutCredential(t *testing.T) {
	chain := authn.OrAnonymous(authn.Chain(none(), authn.Bearer(authn.Tokens()), authn.WebSocket(authn.Tokens())), anonymous.New("/open"))
	for path, want := range map[string]string{
		"/":     "Test=passed Bearer=passed WebSocket=passed Anonymous=passed",
		"/open": "Test=passed Bearer=passed WebSocket=passed Anonymous=accepted",
	} {
		if _, rungs, _ := authn.Trace(chain, httptest.NewRequest("GET", path, nil)); short(rungs) != want {
			t.Errorf("%s: %s, want %s", path, short(rungs), want)
		}
	}
	if method, kind := authn.Blame(authn.ErrNoCredential); method != "" || kind != "" {
		t.Errorf("nobody is to blame, and %s %s is blamed", method, kind)
	}
	if got := authn.Ladder(nil); len(got) != 0 {
		t.Errorf("no error has a ladder: %v", got)
	}
}

// Facts are those of the outermost that knows them.
func TestFactsOf(t *testing.T) {
	inner := authn.Explained(errors.New("boom"), authn.Expired, func() authn.Facts {
		return authn.Facts{Mend: "inner", Checks: []authn.Check{{What: "a"}}}
	})
	for _, tt := range []struct {
		name string
		err  error
		want authn.Facts
	}{
		{"none", errors.New("x"), authn.Facts{}},
		{"wrapped", fmt.Errorf("x: %w", inner), authn.Facts{Kind: authn.Expired, Mend: "inner", Checks: []authn.Check{{What: "a"}}}},
		{"joined", errors.Join(errors.New("x"), inner), authn.Facts{Kind: authn.Expired, Mend: "inner", Checks: []authn.Check{{What: "a"}}}},
		{"overruled", &authn.Refusal{Cause: inner, Facts: authn.Facts{Kind: authn.Revoked, Mend: "outer"}},
			authn.Facts{Kind: authn.Revoked, Mend: "outer", Checks: []authn.Check{{What: "a"}}}},
		{"kind alone", authn.Explained(errors.New("x"), authn.Unknown, nil), authn.Facts{Kind: authn.Unknown}},
	} {
		if got := authn.FactsOf(tt.err); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if !errors.Is(authn.Explained(authn.ErrNoCredential, "", nil), authn.ErrNoCredential) {
		t.Error("an explained pass is no pass any more")
	}
}

// What outsiders have a hand in is bounded.
func TestLadderIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 1<<20)
	err := &authn.Refusal{Method: "Test", Source: long, Reason: long, Facts: authn.Facts{
		Mend: long, Checks: slices.Repeat([]authn.Check{{What: long, Got: long, Want: long}}, 1000),
	}}
	rungs := authn.Ladder(err)
	if size := len(fmt.Sprintf("%+v", rungs)); size > 128<<10 {
		t.Errorf("a rung of %d bytes", size)
	}
	if len(authn.List(slices.Repeat([]string{long}, 1000))) > 20<<10 {
		t.Error("a list is not bounded")
	}
}

func TestTimeCheck(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		at     int64
		after  bool
		leeway time.Duration
		want   bool
	}{
		{1001, true, 0, true}, {1000, true, 0, true}, {999, true, 0, false}, {999, true, time.Second, true}, {998, true, time.Second, false},
		{999, false, 0, true}, {1000, false, 0, true}, {1001, false, 0, false}, {1001, false, time.Second, true}, {1002, false, time.Second, false},
	} {
		if c := authn.TimeCheck("x", time.Unix(tt.at, 0), now, tt.after, tt.leeway); c.OK != tt.want {
			t.Errorf("%d, after %v, leeway %v: %+v", tt.at, tt.after, tt.leeway, c)
		}
		if c := authn.TimeCheck("x", time.Time{}, now, tt.after, tt.leeway); !c.OK || c.Got != "none" {
			t.Errorf("no time: %+v", c)
		}
	}
}

// A token in a subprotocol climbs the same ladder.
func TestLadderOfWebSocket(t *testing.T) {
	static := described{verifier{"good", authn.Pass(identity.StaticToken, "no record has this token")}, identity.StaticToken, ""}
	chain := authn.Chain(authn.Bearer(authn.Tokens(static)), authn.WebSocket(authn.Tokens(static)))
	for token, want := range map[string]string{
		"good": "Bearer=passed StaticToken=accepted",
		"bad":  "Bearer=passed StaticToken=passed Bearer=refused/unknown",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Protocol": {
			"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))}}
		if _, rungs, _ := authn.Trace(chain, r); short(rungs) != want {
			t.Errorf("%s: %s, want %s", token, short(rungs), want)
		}
	}
}

// A chain says yes, or that there is nothing, without allocating.
func TestChainAllocatesNothing(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer good")
	for name, chain := range map[string]authn.Authenticator{
		"accepted": authn.Chain(none(), none(), authn.Bearer(authn.Tokens(verifier{"", authn.ErrNoCredential}, yesToken{named("jane")}))),
		"nothing":  authn.Chain(none(), none(), authn.WebSocket(authn.Tokens())),
	} {
		if n := testing.AllocsPerRun(100, func() { chain.Authenticate(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

type yesToken struct{ *authn.Result }

func (y yesToken) VerifyToken(context.Context, string, []string) (*authn.Result, error) {
	return y.Result, nil
}

// A passer says of each thing what is to be said of it, whatever came before.
func TestPassesOfOthers(t *testing.T) {
	p := authn.NewPasses(identity.JWT, func(about string) (string, []authn.Check) {
		return "it is of " + about, []authn.Check{{What: "issuer", Got: about}}
	})
	var before error
	for i, about := range []string{"a", "a", "b", "a"} {
		err := p.Pass(about)
		if !errors.Is(err, authn.ErrNoCredential) || err.Error() != "JWT: it is of "+about || authn.FactsOf(err).Checks[0].Got != about {
			t.Errorf("Pass(%q) = %v", about, err)
		}
		if again := i == 1; (err == before) != again {
			t.Errorf("step %d: the same as before: %t, want %t", i, err == before, again)
		}
		before = err
	}
}
