// Package kubeauth gives the authenticators and authorizers of Gatehouse the
// interfaces of k8s.io/apiserver, for API servers that are built on that library.
//
// The one idea: nothing is decided here. "Not mine", "mine and bad" and "this is
// who" stay three answers, audiences that the library asks for are asked for,
// warnings and audit annotations go where the library's own authenticators put
// them, and an error is never turned into an answer.
package kubeauth

import (
	"context"
	"net/http"

	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/warning"

	"gatehouse.dev/gatehouse/authn"
)

// Request returns a as the library asks about a request. Where the library has
// audiences of its own, a token must be for one of those that a accepts and one
// of the library's.
func Request(a authn.Authenticator) authenticator.Request {
	a = authn.Chain(a) // which makes sure that nobody is let in without a name
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		res, err := a.Authenticate(r)
		return respond(r.Context(), res, err)
	})
}

// Token returns v as the library asks about a token. Like [authn.Tokens], which
// it uses, it refuses what cannot be a token.
func Token(v authn.TokenVerifier) authenticator.Token {
	v = authn.Tokens(v)
	return authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		audiences, limited := authenticator.AudiencesFrom(ctx)
		if limited && len(audiences) == 0 {
			// To us, none is those of the server; to the library, none.
			return nil, false, nil
		}
		res, err := v.VerifyToken(ctx, token, audiences)
		return respond(ctx, res, err)
	})
}

func respond(ctx context.Context, res *authn.Result, err error) (*authenticator.Response, bool, error) {
	if err == authn.ErrNoCredential { // a chain says it like this
		return nil, false, nil
	}
	if err != nil {
		for _, a := range authn.AnnotationsOf(err) {
			audit.AddAuditAnnotation(ctx, a.Key, a.Value)
		}
		return nil, false, err
	}
	for _, a := range res.Annotations {
		audit.AddAuditAnnotation(ctx, a.Key, a.Value)
	}
	for _, text := range res.Warnings {
		warning.AddWarning(ctx, "", text)
	}
	return &authenticator.Response{User: res.Identity, Audiences: res.Audiences}, true, nil
}
