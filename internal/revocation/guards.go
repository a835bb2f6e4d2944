package revocation

import (
	"context"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
)

// Tokens returns a verifier that asks next, and refuses what is revoked.
func (x *Index) Tokens(next authn.TokenVerifier) authn.TokenVerifier { return tokens{x, next} }

type tokens struct {
	index *Index
	next  authn.TokenVerifier
}

func (t tokens) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	res, err := t.next.VerifyToken(ctx, token, audiences)
	if err != nil {
		return nil, err
	}
	if err := t.index.JudgeResult(res); err != nil {
		return nil, err
	}
	return res, nil
}

// Access returns an authorizer for the reviews of others: it denies what is asked
// about somebody who is revoked, so that no authorizer after it allows that, and
// asks next about everybody else.
func (x *Index) Access(next authz.Authorizer) authz.Authorizer { return access{x, next} }

type access struct {
	index *Index
	next  authz.Authorizer
}

func (g access) Authorize(ctx context.Context, a *authz.Attributes) (authz.Answer, error) {
	if err := g.index.JudgeSubject(a.User); err != nil {
		return authz.Answer{Verdict: authz.Deny, Why: authz.Text(err.Error())}, nil
	}
	return g.next.Authorize(ctx, a)
}
