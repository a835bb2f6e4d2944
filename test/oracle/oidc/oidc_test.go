// Package oidc_test feeds the same configurations and tokens to Gatehouse and
// to the authenticator that Kubernetes publishes, and wants the same answers,
// but for the differences that docs/kubernetes-divergences.md explains.
package oidc_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	upstream "k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/divergences"
	"gatehouse.dev/gatehouse/test/oidc"
)

// An explanation is why Gatehouse may refuse a token that Kubernetes accepts.
type explanation struct {
	// row has words of the row of the page that tells.
	row string
	// says has what a refusal for that reason says.
	says *regexp.Regexp
}

// explained are the traits of tokens that Gatehouse may refuse although
// Kubernetes accepts them.
var explained = map[string]explanation{
	"empty user":        {"a JWT with an empty user name", regexp.MustCompile(`: it is empty$`)},
	"reserved":          {"a JWT whose user or one of whose groups begins with `system:`", regexp.MustCompile(`the (user name|group) "system:[^"]*" is reserved`)},
	"null in groups":    {"a null among the groups", regexp.MustCompile(`"groups" is not an array of strings$`)},
	"odd time":          {"`exp`, `nbf` and `iat` of a JWT as a text, before 1970 or after 9999", regexp.MustCompile(`claim "exp" is not a (number|time between the years 1970 and 9999)$`)},
	"ambiguous JSON":    {"a JWT whose claims have two members of one name, in any object", regexp.MustCompile(`payload: JSON: a second member of the same name`)},
	"names in capitals": {"names of `iss`, `aud`, `exp` and `sub` in another case", regexp.MustCompile(`it has no expiry \(exp\)$|the token names no issuer|"iss" is not a string$|expected audience in|"sub": claim not present`)},
	"invalid UTF-8":     {"text that is no Unicode", regexp.MustCompile(`payload: JSON: no UTF-8 at`)},
	"half a surrogate":  {"text that is no Unicode", regexp.MustCompile(`payload: JSON: half a surrogate pair`)},
	"deep JSON":         {"more than 64 members of an object, 32 levels or 16 KiB", regexp.MustCompile(`payload: JSON: too deep`)},
	"many members":      {"more than 64 members of an object, 32 levels or 16 KiB", regexp.MustCompile(`payload: JSON: too many members`)},
	"key in the header": {"a JWT whose header has `jwk`, `jku`, `x5c`, `x5u`, `cty`, `zip`, `enc` or `b64`", regexp.MustCompile(`header: "(jwk|jku|x5u|x5c)" is not allowed`)},
	"other header":      {"a JWT whose header has `jwk`, `jku`, `x5c`, `x5u`, `cty`, `zip`, `enc` or `b64`", regexp.MustCompile(`header: "(cty|zip|enc|b64)" is not allowed`)},
	"lenient base64":    {"base64 of a JWT with padding, line breaks or spare bits", regexp.MustCompile(`(header|payload|signature): not (canonical unpadded )?base64url`)},
}

// mappings are claimMappings and rules of the issuer.
var mappings = []string{
	"  claimMappings: {username: {claim: sub, prefix: ''}}",
	"  claimMappings: {username: {claim: sub, prefix: 'o:'}, groups: {claim: groups, prefix: 'g:'}, uid: {claim: uid}}",
	"  claimMappings: {username: {claim: email, prefix: ''}, groups: {claim: groups, prefix: ''}}\n  claimValidationRules: [{claim: hd, requiredValue: example.org}]",
	"  claimMappings: {username: {expression: 'claims.sub'}, groups: {expression: 'claims.?groups.orValue([])'}, uid: {expression: 'claims.?uid.orValue(\"none\")'}}",
	"  claimMappings: {username: {expression: '\"o:\" + claims.sub'}, groups: {expression: 'dyn(claims.groups).map(g, \"g:\" + g)'}, extra: [{key: example.org/a, valueExpression: claims.nested.l}, {key: example.org/n, valueExpression: 'string(claims.n)'}]}",
	"  claimMappings: {username: {expression: 'claims.nested.a__dot__b[0].c__slash__d'}, groups: {expression: 'claims.hd.split(\".\")'}}",
	"  claimMappings: {username: {expression: 'claims.email_verified ? claims.email : claims.sub'}, groups: {expression: 'claims.groups'}}\n" +
		"  claimValidationRules: [{expression: 'claims.n == 7'}, {expression: 'has(claims.jti) && claims.jti.startsWith(\"id\")', message: jti}]\n" +
		"  userValidationRules: [{expression: 'user.username.contains(\"@\") && !user.groups.exists(g, g == \"ops2\")'}, {expression: 'size(user.extra) < 3'}]",
	"  claimMappings: {username: {expression: 'string(claims.n)'}, groups: {expression: 'claims.nested.l + [\"x\"]'}, extra: [{key: example.org/g, valueExpression: claims.groups}]}\n  userValidationRules: [{expression: 'user.groups.size() > 0'}]",
	"  claimMappings: {username: {claim: sub, prefix: 'https://issuer.example.org#'}, groups: {expression: 'claims.exists(k, k == \"groups\") ? [\"with\"] : [\"without\"]'}}",
}

const issuer = "https://issuer.example.org"

func TestSameAnswers(t *testing.T) {
	total := 108_000 // a multiple of the configurations, and at least 100,000
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		total = 540_000
	}
	if text := os.Getenv("GATEHOUSE_ORACLE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GATEHOUSE_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("GATEHOUSE_SEED=%d", seed)
	p := &oidc.Provider{Issuer: issuer, CacheControl: "max-age=86400", Keys: []oidc.Key{
		oidc.NewKey(t, "ec", "ES256"), oidc.NewKey(t, "rsa", "RS256"), oidc.NewKey(t, "ps", "PS384"), oidc.NewKey(t, "p521", "ES512"), oidc.NewKey(t, "p256", "ES256"),
	}}
	sum := &tally{differ: map[string]int{}}
	for n, mapping := range mappings {
		for _, audiences := range []string{"audiences: [gatehouse]", "audiences: [gatehouse, second], audienceMatchPolicy: MatchAny"} {
			text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {url: '" + issuer + "', " + audiences + "}\n" + mapping + "\n"
			theirs, ours := kubernetes(t, p, text), gatehouse(t, p, text)
			g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(n))), t: t, provider: p, stranger: oidc.NewKey(t, "x", "ES256")}
			for range total / len(mappings) / 2 {
				c := g.next()
				sum.compare(t, n, c, theirs(c.token), ours(c.token))
				if t.Failed() {
					return
				}
			}
		}
	}
	page := divergences.Read(t, "../../../docs/kubernetes-divergences.md")
	for trait, why := range explained {
		if !page.Tells(why.row) {
			t.Errorf("no row of the page, or more than one, tells of %s: %s", trait, why.row)
		}
		if sum.differ[trait] == 0 && total > 100_000 {
			t.Errorf("never seen: %s", trait)
		}
	}
	t.Logf("%d tokens: both accept %d, both refuse %d, Gatehouse alone refuses %v", total, sum.accepted, sum.refused, sum.differ)
	if sum.accepted < total/10 || sum.refused < total/10 {
		t.Error("the tokens are one-sided")
	}
}

// A tally counts what came of comparing.
type tally struct {
	accepted, refused int
	differ            map[string]int
}

// An answer is who a token is about, or why it is refused.
type answer struct {
	who *identity.Identity
	err string
}

func (s *tally) compare(t *testing.T, mapping int, c credential, theirs, ours answer) {
	t.Helper()
	switch {
	case theirs.who == nil && ours.who == nil:
		s.refused++
	case theirs.who == nil:
		t.Errorf("mapping %d: Gatehouse alone accepts %s\nas %+v\nKubernetes says: %s", mapping, c.token, ours.who, theirs.err)
	case ours.who == nil:
		why := slices.Sorted(maps.Keys(c.traits))
		for _, trait := range why {
			if says := explained[trait].says; says != nil && says.MatchString(ours.err) {
				s.differ[trait]++
				return
			}
		}
		t.Errorf("mapping %d: Gatehouse alone refuses %s\nbecause of %s\nKubernetes says %+v; traits %v", mapping, c.token, ours.err, theirs.who, why)
	default:
		s.accepted++
		if diff := cmp.Diff(theirs.who, ours.who); diff != "" && !c.traits["names in capitals"] {
			t.Errorf("mapping %d: %s is about somebody else:\n%s", mapping, c.token, diff)
		}
	}
}

// kubernetes returns the authenticator that Kubernetes publishes.
func kubernetes(t *testing.T, p *oidc.Provider, text string) func(string) answer {
	t.Helper()
	a := authenticatorOf(t, p, text)
	return func(token string) answer {
		res, ok, err := a.AuthenticateToken(context.Background(), token)
		if err != nil || !ok {
			return answer{err: fmt.Sprint(err)}
		}
		u := res.User
		who := &identity.Identity{Name: u.GetName(), UID: u.GetUID(), Groups: identity.WithAuthenticated(u.GetName(), u.GetGroups()), Extra: u.GetExtra()}
		if len(who.Extra) == 0 {
			who.Extra = nil
		}
		return answer{who: who}
	}
}

// authenticatorOf returns the authenticator of the one issuer in text, ready.
func authenticatorOf(t testing.TB, p http.RoundTripper, text string) authenticator.Token {
	t.Helper()
	scheme := runtime.NewScheme()
	install.Install(scheme)
	obj, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	known, _ := issuers.Algorithms()
	known = slices.DeleteFunc(known, func(a string) bool { return a == "EdDSA" })
	a, err := upstream.New(t.Context(), upstream.Options{
		JWTAuthenticator: obj.(*apiserver.AuthenticationConfiguration).JWT[0],
		Client:           &http.Client{Transport: p}, SupportedSigningAlgs: known,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if a.HealthCheck() == nil {
			return a
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("Kubernetes' authenticator is not healthy")
	return nil
}

type ignore struct{}

func (ignore) Verified(string) func(time.Duration, error) { return func(time.Duration, error) {} }
func (ignore) KeysFetched(string, []byte, error)          {}
func (ignore) Gone(string)                                {}
func (ignore) Configured([]byte, bool)                    {}
func (ignore) Refused()                                   {}

// gatehouse returns Gatehouse's, as the server assembles it.
func gatehouse(t testing.TB, p http.RoundTripper, text string) func(string) answer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authentication.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, algorithms := issuers.Algorithms()
	live, err := issuers.Open(issuers.Config{Path: path, Algorithms: algorithms, Transport: p}, ignore{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go live.Run(t.Context())
	// As a rehearsal: a token of an unknown key would wait for the issuer.
	rehearsal := authn.Rehearsal(context.Background())
	ask := func(token string) answer {
		res, err := live.Verifier().VerifyToken(rehearsal, token, nil)
		if err != nil {
			return answer{err: err.Error()}
		}
		who := *res.Identity
		who.Credential = identity.Credential{}
		return answer{who: &who}
	}
	forged := oidc.New(t, issuer).Token(t, "gatehouse", nil)
	for range 1000 {
		if !strings.Contains(ask(forged).err, "not fetched") {
			return ask
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("Gatehouse has no keys")
	return nil
}
