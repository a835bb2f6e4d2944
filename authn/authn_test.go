package authn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/ladder"
)

func named(name string) *authn.Result {
	return &authn.Result{Identity: &identity.Identity{Name: name}}
}

// A link of a chain with a fixed answer, which notes that it was asked.
type link struct {
	res   *authn.Result
	err   error
	asked bool
}

func (l *link) Authenticate(*http.Request) (*authn.Result, error) {
	l.asked = true
	return l.res, l.err
}

func yes(name string) *link { return &link{res: named(name)} }
func no(why string) *link   { return &link{err: authn.Refuse("Test", authn.Other, why)} }
func none() *link           { return &link{err: authn.Pass("Test", "nothing here")} }

func TestChain(t *testing.T) {
	hidden := &link{err: &authn.Refusal{Method: "Test", Reason: "hidden", Cause: authn.ErrNoCredential}}
	joined := &link{err: errors.Join(authn.ErrNoCredential, authn.Refuse("Test", authn.Other, "joined"))}
	tests := []struct {
		name  string
		links []*link
		want  string // the user, or what the error says
	}{
		{"nobody asked", nil, "anonymous"},
		{"no credential", []*link{none(), none()}, "anonymous"},
		{"first", []*link{yes("a"), yes("b")}, "a"},
		{"second", []*link{none(), yes("b")}, "b"},
		{"good after bad", []*link{no("bad"), yes("b")}, "b"},
		{"bad is not anonymous", []*link{none(), no("bad"), none()}, "Test: bad"},
		{"all refusals", []*link{no("one"), none(), no("two")}, "Test: one\nTest: two"},
		{"plain error", []*link{{err: errors.New("boom")}}, "boom"},
		{"refusal caused by no credential", []*link{hidden}, "Test: hidden: no credential of this kind"},
		{"refusal joined with no credential", []*link{joined}, "Test: joined"},
		{"accepts nobody", []*link{{}}, "accepted a credential without saying whose"},
		{"accepts no name", []*link{{res: named("")}}, "accepted a credential without saying whose"},
		{"accepts nobody any more", []*link{{res: renamed("jane", nil)}}, "accepted a credential without saying whose"},
		{"accepts no name any more", []*link{{res: renamed("jane", new(identity.Identity))}}, "accepted a credential without saying whose"},
		{"accepts another", []*link{{res: renamed("jane", &identity.Identity{Name: "joe"})}}, "joe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var as []authn.Authenticator
			for _, l := range tt.links {
				as = append(as, l)
			}
			last := yes("anonymous")
			res, err := authn.OrAnonymous(authn.Chain(as...), last).Authenticate(httptest.NewRequest("GET", "/", nil))
			got := fmt.Sprint(err)
			if err == nil {
				got = res.Identity.Name
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if last.asked != (tt.want == "anonymous") {
				t.Errorf("anonymous was asked: %v", last.asked)
			}
		})
	}
}

// renamed is a copy of the result of a name, with another identity.
func renamed(name string, other *identity.Identity) *authn.Result {
	res := named(name).Copy()
	res.Identity = other
	return &res
}

// Whoever lets requests without a credential in has to say as whom, too.
func TestOrAnonymous(t *testing.T) {
	for name, tt := range map[string]struct {
		last *link
		want string
	}{
		"somebody": {yes("anybody"), "anybody"},
		"nobody":   {&link{}, "accepted a credential without saying whose"},
		"no name":  {&link{res: named("")}, "accepted a credential without saying whose"},
		"passes":   {none(), authn.ErrNoCredential.Error()},
		"refuses":  {no("not here"), "Test: not here"},
	} {
		t.Run(name, func(t *testing.T) {
			chain, r := authn.OrAnonymous(authn.Chain(none()), tt.last), httptest.NewRequest("GET", "/", nil)
			res, err := chain.Authenticate(r)
			again, _, traced := authn.Trace(chain, r)
			got := fmt.Sprint(err)
			if err == nil {
				got = res.Identity.Name
			}
			if !strings.Contains(got, tt.want) || (res == nil) != (err != nil) || res != again || fmt.Sprint(err) != fmt.Sprint(traced) {
				t.Errorf("%v, %v, and traced %v, %v; want %q", res, err, again, traced, tt.want)
			}
		})
	}
}

// verifiers is a [authn.TokenVerifier] of one token.
type verifier struct {
	token string
	err   error
}

func (v verifier) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	if token == v.token {
		return named("jane"), nil
	}
	return nil, v.err
}

func TestShortcut(t *testing.T) {
	all := authn.Tokens(verifier{"known", authn.Pass("All", "not here")})
	for _, tt := range []struct{ token, by, err string }{
		{"heart", "jane", ""},
		{"known", "jane", ""},
		{"other", "", "Bearer: invalid bearer token (All: not here)"},
		{"", "", "Bearer: the bearer token is empty"},
		{" heart", "", "Bearer: the bearer token has white space or a control character"},
	} {
		for _, first := range []authn.TokenVerifier{
			verifier{"heart", authn.Pass("First", "no")}, verifier{"heart", errors.New("refused")}, verifier{" heart", authn.ErrNoCredential},
		} {
			if first.(verifier).token == " heart" && tt.token == "heart" {
				continue
			}
			res, err := authn.Shortcut(first, all).VerifyToken(t.Context(), tt.token, nil)
			if tt.err == "" && (err != nil || res.Identity.Name != tt.by) || tt.err != "" && (err == nil || err.Error() != tt.err) {
				t.Errorf("%q: %v, %v, want %q, %q", tt.token, res, err, tt.by, tt.err)
			}
		}
	}
}

func TestBearer(t *testing.T) {
	chain := authn.OrAnonymous(authn.Chain(authn.Bearer(authn.Tokens(
		verifier{"good", authn.Pass("Static", "no such token")},
		verifier{"secret", authn.Pass("JWT", "no JWT")},
	))), anonymous.New())
	theirs := bearertoken.New(authenticator.TokenFunc(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		if token == "good" || token == "secret" {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "jane"}}, true, nil
		}
		return nil, false, nil
	}))
	const unknown = "Bearer: invalid bearer token (Static: no such token; JWT: no JWT)"
	tests := []struct {
		name    string
		headers []string
		want    string // the user, or the error
		differs string // what upstream does instead
	}{
		{"good", []string{"Bearer good"}, "jane", ""},
		{"second verifier", []string{"Bearer secret"}, "jane", ""},
		{"any case", []string{"bEaReR good"}, "jane", ""},
		{"none", nil, "system:anonymous", ""},
		{"unknown", []string{"Bearer bad"}, unknown, ""},
		{"prefix", []string{"Bearer goo"}, unknown, ""},
		{"suffix", []string{"Bearer goodx"}, unknown, ""},
		{"junk after it", []string{"Bearer good junk"}, "white space", "accepts it"},
		{"empty header", []string{""}, "the Authorization header is empty", "anonymous"},
		{"no token", []string{"Bearer"}, "has no bearer token", "anonymous"},
		{"empty token", []string{"Bearer "}, "the bearer token is empty", "anonymous"},
		{"two spaces", []string{"Bearer  good"}, "white space", "anonymous with a warning"},
		{"tab", []string{"Bearer\tgood"}, "not of the form", "anonymous"},
		{"tab inside", []string{"Bearer good\t"}, "white space", "accepts it"},
		{"no-break space", []string{"Bearer\u00a0good"}, "not of the form", "anonymous"},
		{"space before", []string{" Bearer good"}, "not of the form", "accepts it"},
		{"Basic", []string{"Basic Z29vZDpnb29k"}, "scheme Basic is not accepted", "anonymous"},
		{"Negotiate", []string{"Negotiate abc"}, "scheme Negotiate is not accepted", "anonymous"},
		{"bare secret", []string{"hunter2"}, "not of the form", "anonymous"},
		{"two headers", []string{"Bearer good", "Bearer bad"}, "more than one", "takes the first"},
		{"too long", []string{"Bearer " + strings.Repeat("x", authn.MaxToken+1)}, "16 KiB", "invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			for _, h := range tt.headers {
				r.Header.Add("Authorization", h)
			}
			res, err := chain.Authenticate(r)
			got := fmt.Sprint(err)
			if err == nil {
				got = res.Identity.Name
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			why := ladder.Why(t, err)
			if err != nil && why != "malformed: " && !(why == "unknown: " && tt.want == unknown) {
				t.Errorf("explained by %q", why)
			}
			for _, secret := range []string{"hunter2", "Z29vZ", "junk"} {
				if strings.Contains(got+fmt.Sprint(authn.Ladder(err)), secret) {
					t.Errorf("%q repeats what was sent", got)
				}
			}
			if tt.differs != "" {
				return
			}
			// Upstream's "no opinion" is our anonymous.
			resp, ok, theirErr := theirs.AuthenticateRequest(r)
			want := "system:anonymous"
			if ok {
				want = resp.User.GetName()
			} else if theirErr != nil {
				want = theirErr.Error()
			}
			if !strings.Contains(got, want) {
				t.Errorf("got %q, upstream %q", got, want)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	refuse := verifier{"", authn.Refuse("JWT", authn.Expired, "expired")}
	tests := []struct{ name, token, want string }{
		{"good after a refusal", "good", "jane"},
		{"refused", "bad", "JWT: expired"},
		{"empty", "", "is empty"},
		{"white space", "go od", "white space"},
		{"line break", "good\n", "white space"},
		{"NUL", "good\x00", "control character"},
		{"DEL", "good\x7f", "control character"},
		{"too long", strings.Repeat("x", authn.MaxToken+1), "16 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := authn.Tokens(refuse, verifier{"good", authn.ErrNoCredential}).VerifyToken(t.Context(), tt.token, nil)
			got := fmt.Sprint(err)
			if err == nil {
				got = res.Identity.Name
			}
			if !strings.Contains(got, tt.want) || errors.Is(err, authn.ErrNoCredential) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A verifier that is not behind Tokens must not let an unknown token pass as
// none.
func TestBearerAloneRefusesUnknownTokens(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer bad")
	_, err := authn.OrAnonymous(authn.Bearer(verifier{"good", authn.ErrNoCredential}), anonymous.New()).Authenticate(r)
	if err == nil || errors.Is(err, authn.ErrNoCredential) {
		t.Errorf("error %v, want a refusal", err)
	}
}

// A header of a scheme that somebody else reads is not refused as a token, and
// never served as a stranger's if nobody else takes it.
func TestBearerLeavesOtherSchemes(t *testing.T) {
	for header, want := range map[string]bool{
		"Basic amFuZTp4": true, "basic amFuZTp4": true, "Basic": true, "Basic ": true,
		"Basic\tamFuZTp4": false, "Basics x": false, "Negotiate x": false, "Bearer bad": false, "": false, " Basic x": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		_, err := authn.Bearer(authn.Tokens(verifier{"good", authn.ErrNoCredential}), "Basic").Authenticate(r)
		if errors.Is(err, authn.ErrNoCredential) != want {
			t.Errorf("%q: %v, want it left to others = %v", header, err, want)
		}
	}
}

func TestAnonymousPaths(t *testing.T) {
	some := authn.OrAnonymous(authn.Chain(), anonymous.New("/healthz", "/livez"))
	for path, want := range map[string]bool{
		"/healthz": true, "/livez": true, "/": false, "/healthz/": false, "/healthz/x": false, "/Healthz": false, "//healthz": false,
	} {
		res, err := some.Authenticate(httptest.NewRequest("GET", path+"?healthz", nil))
		if (err == nil) != want || err != nil && !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("%s: %v, %v, want admitted = %v", path, res, err, want)
		}
	}
	res, err := anonymous.New().Authenticate(httptest.NewRequest("GET", "/any", nil))
	if err != nil || res.Identity.InGroup(identity.GroupAuthenticated) || !res.Identity.InGroup(identity.GroupUnauthenticated) {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestStripes(t *testing.T) {
	s := authn.NewStripes()
	pod, same := s.Of("pods", "ns", "a"), s.Of("pods", "ns", "a")
	stamp := same.Stamp()
	if pod.Bump(); stamp.Current() {
		t.Error("one object has two generations")
	}
	// Moving a letter from one part to the next gives another object. A few
	// share a stripe by chance; all would if the parts were not kept apart.
	shared := 0
	for i := range 100 {
		name := fmt.Sprint("x", i)
		if s.Of("pods", "a"+name, "b") == s.Of("pods", "a", name+"b") || s.Of("pods", "a", name) == s.Of("podsa", "", name) {
			shared++
		}
	}
	if shared > 5 {
		t.Errorf("%d of 100 pairs share a generation", shared)
	}
	a := s.Of("pods", "ns", "other").Stamp()
	if s.BumpAll(); a.Current() {
		t.Error("BumpAll leaves a stamp current")
	}
}

func TestConn(t *testing.T) {
	c := new(authn.Conn)
	ctx := authn.WithConn(t.Context(), c)
	if authn.ConnFrom(ctx) != c || authn.ConnFrom(t.Context()) != nil {
		t.Error("ConnFrom is not what WithConn was given")
	}
	a, b := new(int), new(int)
	c.Remember(a, 1)
	c.Remember(b, 2)
	c.Remember(a, 3)
	if c.Memo(a) != 3 || c.Memo(b) != 2 || c.Memo(new(int)) != nil {
		t.Errorf("memos %v, %v", c.Memo(a), c.Memo(b))
	}
	var no *authn.Conn
	if no.Remember(a, 1); no.Memo(a) != nil {
		t.Error("no connection remembers")
	}
}

func FuzzBearer(f *testing.F) {
	for _, s := range []string{"Bearer good", "bearer  good", "Bearer", "Basic x", "", "Bearer good good"} {
		f.Add(s)
	}
	chain := authn.OrAnonymous(authn.Chain(authn.Bearer(authn.Tokens(verifier{"good", authn.ErrNoCredential}))), anonymous.New())
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		_, err := chain.Authenticate(r)
		if accepted := err == nil; accepted != (strings.EqualFold(header, "Bearer good") && strings.HasSuffix(header, " good")) {
			t.Errorf("%q: accepted = %v", header, accepted)
		}
	})
}

func TestFirstUse(t *testing.T) {
	r := authn.Result{
		Identity: &identity.Identity{Name: "jane"}, Audiences: []string{"a"}, Warnings: []string{"w"}, Until: time.Unix(1, 0),
		Rests: make([]authn.Stamp, 1), Annotations: make([]authn.Annotation, 1),
	}
	for i, want := range []struct {
		period uint32
		first  bool
	}{{7, true}, {7, false}, {8, true}, {8, false}, {7, true}} {
		if got := r.FirstUse(want.period); got != want.first {
			t.Errorf("call %d: FirstUse(%d) = %v", i, want.period, got)
		}
	}
	c := r.Copy()
	if !c.FirstUse(7) || r.FirstUse(7) {
		t.Error("a copy shares what it is a copy of")
	}
	for i, whole := 0, reflect.ValueOf(&r).Elem(); i < whole.NumField(); i++ {
		field := whole.Type().Field(i)
		if field.IsExported() && (whole.Field(i).IsZero() || !reflect.DeepEqual(whole.Field(i).Interface(), reflect.ValueOf(&c).Elem().Field(i).Interface())) {
			t.Errorf("%s is not copied, or not tested", field.Name)
		}
	}
	// Of many who come at once, one is the first.
	var firsts atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if r.FirstUse(9) {
				firsts.Add(1)
			}
		})
	}
	all.Wait()
	if n := firsts.Load(); n != 1 {
		t.Errorf("%d were the first", n)
	}
}

// A control character is seen wherever it is in a token.
func TestEveryByteOfAToken(t *testing.T) {
	all := authn.Tokens()
	for c := range 256 {
		for at := range 18 {
			for behind := range 9 {
				token := strings.Repeat("~", at) + string([]byte{byte(c)}) + strings.Repeat("!", behind)
				_, err := all.VerifyToken(t.Context(), token, nil)
				want := authn.Unknown
				if c <= ' ' || c == 0x7f {
					want = authn.Malformed
				}
				if _, kind := authn.Blame(err); kind != want {
					t.Fatalf("%q: %v, of kind %q, want %q", token, err, kind, want)
				}
			}
		}
	}
}
