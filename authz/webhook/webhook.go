// Package webhook decides by asking somebody else, with Kubernetes'
// SubjectAccessReview.
//
// The one idea: an answer is for one question, and the question is everything
// that is known of the request. What many ask at the same time is asked once,
// and an answer is believed for a while that its kind decides. Answers are found
// by a keyed digest of the question, without a lock; there is a bounded table for
// what is allowed and one for the rest, so that refusals displace nothing.
//
// The package reaches nobody by itself: how the webhook is asked, and which
// requests it is asked about, are functions of its user.
//
// It refuses an answer that is not the SubjectAccessReview that was asked for,
// and takes one that both allows and denies for a denial.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/flight"
)

const (
	// limit is how long one question is asked at most, with all tries: as long
	// as a request may take.
	limit = time.Minute
	// remembered bounds each of the two tables of answers. It is upstream's
	// number for both.
	remembered = 8192
	// maxControlled is the size in bytes of what a caller chooses of a question
	// from which on its answer is not remembered.
	maxControlled = 10_000
)

// A Config says what to ask, and what its answers are worth.
type Config struct {
	// Ask sends a review, and has an answer read that is a success. An error of
	// read is what Ask returns.
	Ask func(ctx context.Context, review []byte, read func(answer []byte) error) error
	// Version is that of the reviews: v1 or v1beta1.
	Version string
	// Allowed is how long it is believed that something is allowed, and Denied
	// that it is not. Zero asks again each time.
	Allowed, Denied time.Duration
	// OnError is what counts where there is no answer: NoOpinion or Deny.
	OnError authz.Verdict
	// Match, which may be nil, says whether the webhook is asked at all.
	Match func(context.Context, *authorizationv1.SubjectAccessReviewSpec) (bool, error)
	// FailedOpen, which may be nil, is told each time that there is no answer and
	// OnError is NoOpinion.
	FailedOpen func(why error)
}

// An Authorizer asks a webhook. Use [New].
type Authorizer struct {
	cfg             Config
	allowed, denied *verified.Table[answer, *answer]
	asking          flight.Group[verified.Key, *answer]
	rooms           sync.Pool // of *[]string, for the parts of a question
}

// An answer is what the webhook has said about one question.
type answer struct {
	authz.Answer
	err   error
	until time.Time
}

// Fresh implements [verified.Fresh].
func (a *answer) Fresh(now time.Time) bool { return now.Before(a.until) }

// New returns an authorizer that has asked nothing yet.
func New(cfg Config) (*Authorizer, error) {
	switch {
	case cfg.Version != "v1" && cfg.Version != "v1beta1":
		return nil, fmt.Errorf("unsupported webhook authorizer version %q, supported versions are %q, %q", cfg.Version, "v1", "v1beta1")
	case cfg.OnError != authz.NoOpinion && cfg.OnError != authz.Deny:
		return nil, errors.New("a webhook that fails must not allow anything")
	case cfg.Allowed < 0 || cfg.Denied < 0:
		return nil, errors.New("an answer cannot be believed for less than no time")
	}
	w := &Authorizer{cfg: cfg, rooms: sync.Pool{New: func() any { return new([]string) }}}
	var err error
	if w.allowed, err = verified.NewTable[answer](remembered); err != nil {
		return nil, err
	}
	w.denied, err = verified.NewTable[answer](remembered)
	return w, err
}

// Authorize implements [authz.Authorizer].
func (w *Authorizer) Authorize(ctx context.Context, a *authz.Attributes) (authz.Answer, error) {
	if w.cfg.Match != nil {
		matches, err := w.cfg.Match(ctx, spec(a))
		switch {
		case err != nil:
			return authz.Answer{Verdict: w.cfg.OnError}, err
		case !matches:
			return authz.Answer{}, nil
		}
	}
	key := w.key(a)
	now := time.Now()
	if said := w.allowed.Lookup(key, now); said != nil {
		return said.Answer, said.err
	}
	if said := w.denied.Lookup(key, now); said != nil {
		return said.Answer, said.err
	}
	// The question outlives the request if others ask it too.
	question, keep := review(w.cfg.Version, spec(a)), controlled(a) < maxControlled
	said, err := w.asking.Do(ctx, key, limit, func(ctx context.Context) (*answer, error) {
		return w.ask(ctx, key, question, keep)
	})
	if err == nil {
		return said.Answer, said.err
	}
	if w.cfg.OnError == authz.NoOpinion && ctx.Err() == nil && w.cfg.FailedOpen != nil {
		w.cfg.FailedOpen(err)
	}
	return authz.Answer{Verdict: w.cfg.OnError}, fmt.Errorf("asking the authorization webhook: %w", err)
}

// ask asks the webhook, and remembers what it says.
func (w *Authorizer) ask(ctx context.Context, key verified.Key, question []byte, keep bool) (*answer, error) {
	var said *answer
	err := w.cfg.Ask(ctx, question, func(text []byte) (err error) {
		said, err = parse(text, w.cfg.Version)
		return err
	})
	if err != nil || !keep {
		return said, err
	}
	now := time.Now()
	table, ttl := w.denied, w.cfg.Denied
	if said.Verdict == authz.Allow {
		table, ttl = w.allowed, w.cfg.Allowed
	}
	said.until = now.Add(ttl)
	return table.Store(key, said, now), nil
}

// RulesFor implements [authz.RuleLister]: nobody knows what the webhook allows.
func (*Authorizer) RulesFor(context.Context, *identity.Identity, string) (authz.Rules, error) {
	return authz.Rules{Incomplete: true}, errors.New("webhook authorizer does not support user rule resolution")
}
