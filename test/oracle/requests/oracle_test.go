package requests_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/test/divergences"
)

// What is generated is the same in each run, unless a seed is asked for. Each
// night is another one.
var seed = flag.Uint64("seed", 0, "the seed of what is generated")

func nightly() bool { return os.Getenv("GATEHOUSE_NIGHTLY") == "1" }

// rounds is how many requests each test generates.
func rounds() int {
	if nightly() {
		return 200_000
	}
	return 15_000
}

func random(t *testing.T) *rand.Rand {
	t.Helper()
	n := *seed
	switch {
	case n == 0 && nightly():
		n = uint64(time.Now().UnixNano())
	case n == 0:
		n = 1
	}
	t.Logf("-seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// usually picks the first, and now and then another one: a near miss is one
// thing wrong among many that are right.
func usually(r *rand.Rand, usual string, odd ...string) string {
	if r.IntN(8) > 0 {
		return usual
	}
	return pick(r, odd...)
}

// An outcome is an answer that can be compared: who, or refused, or neither.
type outcome struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
	Refused   bool
}

// same compares without regard to what is nil and what is empty.
func same(a, b outcome) bool {
	return a.Name == b.Name && a.UID == b.UID && a.Refused == b.Refused && slices.Equal(a.Groups, b.Groups) &&
		len(a.Extra) == len(b.Extra) && (len(a.Extra) == 0 || reflect.DeepEqual(a.Extra, b.Extra))
}

func of(u user.Info) outcome {
	return outcome{Name: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra()}
}

func ours(res *authn.Result, err error) outcome {
	switch {
	case err == nil:
		return of(res.Identity)
	case authnPasses(err):
		return outcome{}
	}
	return outcome{Refused: true}
}

// authnPasses asks the chain what it makes of an error.
func authnPasses(err error) bool {
	_, joined := authn.Chain(failing{err}).Authenticate(&http.Request{})
	return joined == authn.ErrNoCredential
}

type failing struct{ err error }

func (f failing) Authenticate(*http.Request) (*authn.Result, error) { return nil, f.err }

func theirs(resp *authenticator.Response, ok bool, err error) outcome {
	switch {
	case err != nil:
		return outcome{Refused: true}
	case !ok:
		return outcome{}
	}
	return of(resp.User)
}

// A difference is one that we want, in words of the row that tells of it in
// docs/kubernetes-divergences.md, and how often it was seen.
type differences map[string]int

// check fails unless a and b are the same, or we refuse what they do not, as the
// row with the words why tells.
func (d differences) check(t *testing.T, what any, a, b outcome, why string) {
	t.Helper()
	switch {
	case same(a, b):
		if why == "" {
			d["the same"]++
			if a.Name != "" {
				d["the same, accepted"]++
			}
		}
	case why == "" || !a.Refused:
		t.Fatalf("%.400v:\nours   %v\ntheirs %v", what, a, b)
	default:
		d[why]++
	}
}

// seen fails unless every difference that is told was seen, no other one was,
// the page tells of each, and many answers were the same.
func (d differences) seen(t *testing.T, told ...string) {
	t.Helper()
	page := divergences.Read(t, "../../../docs/kubernetes-divergences.md")
	for _, why := range told {
		if d[why] == 0 {
			t.Errorf("never seen: %s", why)
		}
		if !page.Tells(why) {
			t.Errorf("no row of the page, or more than one, tells of: %s", why)
		}
	}
	for why := range d {
		if !strings.HasPrefix(why, "the same") && !slices.Contains(told, why) {
			t.Errorf("seen but not told: %s", why)
		}
	}
	total := 0
	for why, n := range d {
		if why != "the same, accepted" {
			total += n
		}
	}
	if d["the same"] < total/5 {
		t.Errorf("only %d of %d answers are the same", d["the same"], total)
	}
	t.Log(d)
}

type requestAuthenticator = authenticator.Request

// tokens are those that both sides accept.
var tokens = []string{"good", "other.token-with_all~kinds+of/characters==", "käse", strings.Repeat("x", 16<<10), strings.Repeat("x", 16<<10+1)}

type ourTokens struct{}

func (ourTokens) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	if slices.Contains(tokens, token) {
		return &authn.Result{Identity: &identity.Identity{Name: token}}, nil
	}
	return nil, authn.ErrNoCredential
}

type theirTokens struct{}

func (theirTokens) AuthenticateToken(_ context.Context, token string) (*authenticator.Response, bool, error) {
	if slices.Contains(tokens, token) {
		return &authenticator.Response{User: &user.DefaultInfo{Name: token}}, true, nil
	}
	return nil, false, nil
}
