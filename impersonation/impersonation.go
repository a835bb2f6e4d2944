// Package impersonation decides whether a caller may act as somebody else, by
// the Impersonate-* headers of a request: what kubectl's --as sends.
//
// [Read] says whom a request asks to act as, [Checker.Decide] whether its
// caller may, and [Remove] takes the headers away. There are two models, as in
// Kubernetes since 1.36. The old one asks for the verb impersonate on each
// thing that is asked for, and then lets the caller do whatever that user may.
// The constrained one (KEP-5284) has a mode for each kind of user, and asks for
// two permissions: to act as this user in the mode, and to do in the mode what
// this request does. The modes are tried in order and the old model last.
//
// The one idea: deciding is cheap, so nothing is remembered. A permission that
// is taken away is gone with the next request, and the same request always has
// the same answer. The package asks an [authz.Authorizer] and does no I/O.
//
// It refuses requests that name other Impersonate-* headers, no user, or two,
// because serving these as their caller could do more than was asked for.
package impersonation

import (
	"context"
	"errors"
	"time"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Metrics count what is decided. A mode is "associated-node", "arbitrary-node",
// "serviceaccount", "user-info" or "legacy", and of an attempt that is denied
// it is empty.
type Metrics interface {
	// Impersonated is called for each attempt to act as somebody.
	Impersonated(mode string, allowed bool, took time.Duration)
	// ImpersonationChecked is called for each question to the authorizer.
	ImpersonationChecked(mode string, allowed bool, took time.Duration)
}

// A Grant is the leave to act as somebody.
type Grant struct {
	// Identity is who the caller acts as. Its Impersonator is the caller, and
	// its Credential is the caller's.
	Identity *identity.Identity
	// Constraint is the verb that was allowed, such as "impersonate:user-info",
	// as audit events name it. It is empty in the old model.
	Constraint string
}

// A Checker decides who may act as whom.
type Checker struct {
	authorizer authz.Authorizer
	metrics    Metrics
	modes      []mode
}

// New returns a Checker that asks authorizer.
func New(authorizer authz.Authorizer, metrics Metrics) *Checker {
	return &Checker{authorizer, metrics, modes()}
}

// Decide returns the leave for the caller of request, which is request.User, to
// make that request as want says. Otherwise the error is a [*Refusal], and says
// what was lacking in the first mode that want fits.
func (c *Checker) Decide(ctx context.Context, request *authz.Attributes, want *Wanted) (*Grant, error) {
	start := time.Now()
	var first *Refusal
	for i := range c.modes {
		m := &c.modes[i]
		if !m.fits(want, request.User) {
			continue
		}
		grant, err := c.attempt(m, request.User, want).decide(ctx, request)
		if err == nil {
			c.metrics.Impersonated(m.name, true, time.Since(start))
			return grant, nil
		}
		lacking, ok := errors.AsType[*Refusal](err)
		switch {
		case !ok:
			return nil, err
		case first == nil:
			first = lacking
		default:
			first.Others = append(first.Others, lacking)
		}
	}
	c.metrics.Impersonated("", false, time.Since(start))
	return nil, first
}

// A Refusal says what a caller who wants to act as somebody else may not do.
type Refusal struct {
	// Asked is what the authorizer did not allow.
	Asked authz.Attributes
	// Reason is why, in Kubernetes' words, or empty.
	Reason string
	// Verdict is [authz.Deny] if no rule would do, because it is denied to
	// everybody or by an authorizer that was asked.
	Verdict authz.Verdict
	// Cause is the error of an authorizer that could not decide, or nil. It is
	// for the operator and not for the caller.
	Cause error
	// Others say what was lacking in the other modes, in their order. Any of them
	// would have done instead.
	Others []*Refusal
}

// Error returns what may not be done, and the reason, but not the cause.
func (r *Refusal) Error() string {
	if r.Reason == "" {
		return r.Asked.Denial()
	}
	return r.Asked.Denial() + ": " + r.Reason
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }
