// Package webhook verifies bearer tokens by asking somebody else about them, with
// Kubernetes' TokenReview.
//
// The one idea: what is asked is asked once. Whoever presents a token that is
// being asked about waits for the same answer, and both kinds of answer are
// believed for a while: whose the token is, and that the webhook does not know
// it. Each kind has a bounded table of its own, so that tokens nobody knows, of
// which a stranger can make any number, displace nothing of worth.
//
// The package reaches nobody by itself: how the webhook is asked is a function of
// its user.
//
// It refuses an answer that is not the TokenReview that was asked for, one
// without a user name, and one that names users or groups beginning with
// "system:", unless the configuration allows those names.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/flight"
)

const (
	// limit is how long a token is asked about at most, with all tries
	// (k8s.io/apiserver pkg/authentication/token/cache).
	limit = 30 * time.Second
	// remembered bounds each of the two tables of answers.
	remembered = 1 << 14
)

// A Config says what to ask, and what an answer may say.
type Config struct {
	// Ask sends a review, and has an answer read that is a success. An error of
	// read is what Ask returns. One of the kind [authn.Throttled] says that the
	// webhook was not asked, because too much is, or says so itself.
	Ask func(ctx context.Context, review []byte, read func(answer []byte) error) error
	// Version is that of the reviews: v1 or v1beta1.
	Version string
	// Audiences are those of the server.
	Audiences []string
	// TTL is how long an answer is believed. Zero asks again each time.
	TTL time.Duration
	// Reserved are the user names and groups beginning with "system:" that an
	// answer may have. A star at the end of one stands for anything, but never
	// for system:masters.
	Reserved []string
}

// A Verifier asks about tokens. Use [New].
type Verifier struct {
	cfg      Config
	inForce  authn.Generation
	accepted *verified.Table[authn.Result, *authn.Result]
	refused  *verified.Table[refusal, *refusal]
	asking   flight.Group[verified.Key, *authn.Result]
}

// A refusal is a token that the webhook does not know.
type refusal struct {
	err   error
	until time.Time
	rests authn.Stamp
}

// Fresh implements [verified.Fresh].
func (r *refusal) Fresh(now time.Time) bool { return now.Before(r.until) && r.rests.Current() }

// New returns a verifier.
func New(cfg Config) (*Verifier, error) {
	if cfg.Version != "v1" && cfg.Version != "v1beta1" {
		return nil, fmt.Errorf("unsupported authentication webhook version %q, supported versions are %q, %q", cfg.Version, "v1", "v1beta1")
	}
	if cfg.TTL < 0 {
		return nil, fmt.Errorf("answers cannot be believed for %v", cfg.TTL)
	}
	if err := CheckReserved(cfg.Reserved); err != nil {
		return nil, err
	}
	v := &Verifier{cfg: cfg}
	v.cfg.Audiences, v.cfg.Reserved = slices.Clone(cfg.Audiences), slices.Clone(cfg.Reserved)
	var err error
	if v.accepted, err = verified.NewTable[authn.Result](remembered); err != nil {
		return nil, err
	}
	v.refused, err = verified.NewTable[refusal](remembered)
	return v, err
}

// Forget ends all answers so far: it is another webhook that is asked from now
// on.
func (v *Verifier) Forget() { v.inForce.Bump() }

// Describe implements [authn.Described].
func (*Verifier) Describe() (identity.Method, string) { return identity.Webhook, "" }

// VerifyToken implements [authn.TokenVerifier].
func (v *Verifier) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	asked := audiences
	if len(asked) == 0 {
		asked = v.cfg.Audiences
	}
	key := v.accepted.Key(string(identity.Webhook), token, asked)
	now := time.Now()
	if res := v.accepted.Lookup(key, now); res != nil {
		return res, nil
	}
	if no := v.refused.Lookup(key, now); no != nil {
		return nil, no.err
	}
	if authn.IsRehearsal(ctx) {
		return nil, notAsked()
	}
	res, err := v.asking.Do(ctx, key, limit, func(ctx context.Context) (*authn.Result, error) {
		return v.ask(ctx, key, token, asked)
	})
	if err != nil && ctx.Err() != nil {
		return nil, unavailable(errors.New("the caller did not wait for its answer"))
	}
	return res, err
}

// ask asks the webhook, and remembers what it says.
func (v *Verifier) ask(ctx context.Context, key verified.Key, token string, asked []string) (*authn.Result, error) {
	// Before the question: an answer of a webhook that is replaced meanwhile is
	// old when it comes.
	stamp := v.inForce.Stamp()
	var status *status
	err := v.cfg.Ask(ctx, review(v.cfg.Version, token, asked), func(answer []byte) (err error) {
		status, err = parse(answer, v.cfg.Version)
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	now := time.Now()
	until := now.Add(v.cfg.TTL)
	res, err := v.judge(status, token, asked)
	switch {
	case err == nil:
		res.Until, res.Rests = until, []authn.Stamp{stamp}
		return v.accepted.Store(key, res, now), nil
	case !errors.Is(err, errSaid):
		// As upstream: what it gives a reason for may have been its own failure.
		v.refused.Store(key, &refusal{err, until, stamp}, now)
	}
	return res, err
}

// unavailable is the refusal of a token that there is no answer about.
func unavailable(why error) error {
	kind := authn.Unavailable
	if authn.FactsOf(why).Kind == authn.Throttled {
		kind = authn.Throttled
	}
	return &authn.Refusal{
		Method: identity.Webhook, Reason: "the webhook gave no answer", Cause: why,
		Facts: authn.Facts{
			Kind: kind,
			Mend: "see that the webhook runs, answers in time, and says what Kubernetes' TokenReview says; the log tells when it does not answer, and when it does again",
		},
	}
}

// notAsked is what is said of a token that nobody has presented.
func notAsked() error {
	return &authn.Refusal{
		Method: identity.Webhook, Reason: "the webhook would be asked now, and a rehearsal sends nothing",
		Facts: authn.Facts{Kind: authn.Unavailable, Mend: "present the token, and look at what is recorded of the request"},
	}
}

// CheckReserved returns what is wrong with names that an answer may have.
func CheckReserved(names []string) error {
	for _, name := range names {
		prefix, star := strings.CutSuffix(name, "*")
		rest, ok := strings.CutPrefix(prefix, reserved)
		switch {
		case !ok:
			return fmt.Errorf("%q does not begin with %q, so that it is not reserved", name, reserved)
		case strings.Contains(prefix, "*"):
			return fmt.Errorf("%q has a star that is not at its end", name)
		case rest == "" && star:
			return fmt.Errorf("%q would allow every name: name them, or write a beginning such as system:node:*", name)
		case rest == "":
			return fmt.Errorf("%q is no name", name)
		case name == identity.Anonymous || name == identity.GroupUnauthenticated:
			return fmt.Errorf("%q is nobody, whom no token can prove", name)
		}
	}
	return nil
}

// mayName reports whether an answer may have the name.
func (v *Verifier) mayName(name string) bool {
	if !strings.HasPrefix(name, reserved) {
		return true
	}
	for _, allowed := range v.cfg.Reserved {
		prefix, star := strings.CutSuffix(allowed, "*")
		if name == allowed || star && strings.HasPrefix(name, prefix) && name != identity.GroupMasters {
			return true
		}
	}
	return false
}
