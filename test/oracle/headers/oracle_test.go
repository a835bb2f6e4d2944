package headers_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// What is generated is the same in each run, unless a seed is asked for.
var seed = flag.Uint64("seed", 1, "the seed of what is generated")

// rounds is how many requests each test generates.
func rounds() int {
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		return 1_000_000
	}
	return 40_000
}

func random() *rand.Rand { return rand.New(rand.NewPCG(*seed, 0)) }

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

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

// A difference is one that we want, and how often it was seen.
type differences map[string]int

// check fails unless a and b are the same, or differ as why says.
func (d differences) check(t *testing.T, what any, a, b outcome, why string) {
	t.Helper()
	switch {
	case same(a, b):
		if why == "" {
			d["the same"]++
		}
	case why == "":
		t.Fatalf("%v:\nours   %v\ntheirs %v", what, a, b)
	default:
		d[why]++
	}
}

// seen fails unless every difference that is told was seen, and many the same.
func (d differences) seen(t *testing.T, told ...string) {
	t.Helper()
	for _, why := range told {
		if d[why] == 0 {
			t.Errorf("never seen: %s", why)
		}
	}
	if d["the same"] < rounds()/10 {
		t.Errorf("only %d of %d answers are the same", d["the same"], rounds())
	}
	t.Log(d)
}

type requestAuthenticator = authenticator.Request

// tokens are those that both sides accept.
var tokens = []string{"good", "other.token-with_all~kinds+of/characters==", "käse"}

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
