package authn

import (
	"context"
	"net/http"
	"strings"
)

// MaxToken is the longest bearer token, in bytes, that anything is done with.
// Kubernetes' own tokens have about 1,000; those of directories with many
// groups reach 8 KiB.
const MaxToken = 16 << 10

type bearer struct{ tokens TokenVerifier }

// Bearer returns an [Authenticator] of the bearer token in the Authorization
// header of a request (RFC 6750 section 2.1).
//
// It reads the header strictly: one header, the word Bearer in any case, one
// space, the token. An Authorization header of any other form is not absent but
// refused, so that its sender learns that it counts for nothing; an
// authenticator of another scheme in the same [Chain] may still accept it.
//
// The header stays in the request; whoever passes the request on removes it
// with [RemoveTokens].
func Bearer(tokens TokenVerifier) Authenticator { return bearer{tokens} }

func (b bearer) Authenticate(r *http.Request) (*Result, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return nil, ErrNoCredential
	}
	if len(values) > 1 {
		return nil, Refuse(AnyBearer, "request has more than one Authorization header")
	}
	const scheme = "Bearer "
	value := values[0]
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return nil, Refuse(AnyBearer, unread(value))
	}
	token := value[len(scheme):]
	return presented(r, token, b.tokens)
}

// presented verifies a token that r was sent with as a bearer token. If nobody
// takes it, that is a refusal.
func presented(r *http.Request, token string, tokens TokenVerifier) (*Result, error) {
	if len(token) > MaxToken {
		return nil, errTooLong
	}
	res, err := tokens.VerifyToken(r.Context(), token, nil)
	if err == nil {
		err = complete(res, tokens)
	}
	switch {
	case err == nil:
		return res, nil
	case !refused(err):
		return nil, &Refusal{Method: AnyBearer, Reason: invalidToken, passed: []error{err}}
	}
	return nil, err
}

// RemoveTokens removes from h every bearer token that [Bearer] or [WebSocket]
// would read, whether it was accepted or not.
func RemoveTokens(h http.Header) {
	delete(h, "Authorization")
	removeSubprotocols(h)
}

// unread says why an Authorization header is no bearer token. It repeats only
// the names of known schemes, because a header without one is likely to be a
// bare secret.
func unread(value string) string {
	if value == "" {
		return "the Authorization header is empty"
	}
	word, _, _ := strings.Cut(value, " ")
	if strings.EqualFold(word, "Bearer") {
		return "the Authorization header has no bearer token"
	}
	for _, known := range []string{"Basic", "Digest", "Negotiate", "NTLM", "DPoP"} {
		if strings.EqualFold(word, known) {
			return "the Authorization scheme " + known + " is not accepted"
		}
	}
	return "the Authorization header is not of the form \"Bearer TOKEN\""
}

const invalidToken = "invalid bearer token"

var errTooLong = Refuse(AnyBearer, "the bearer token is longer than 16 KiB")

type tokens []TokenVerifier

// Tokens returns a [TokenVerifier] that asks all of vs in turn, with the rules
// of [Chain]. A token that none of them knows is refused as an "invalid bearer
// token", with what each of them found. One that is empty, longer than
// [MaxToken], or has white space or a control character is refused unasked.
func Tokens(vs ...TokenVerifier) TokenVerifier { return tokens(vs) }

func (t tokens) VerifyToken(ctx context.Context, token string, audiences []string) (*Result, error) {
	if err := checkForm(token); err != nil {
		return nil, err
	}
	var refusals, passed []error
	for _, v := range t {
		res, err := v.VerifyToken(ctx, token, audiences)
		if err == nil {
			err = complete(res, v)
		}
		switch {
		case err == nil:
			return res, nil
		case refused(err):
			refusals = append(refusals, err)
		default:
			passed = append(passed, err)
		}
	}
	if len(refusals) == 0 {
		return nil, &Refusal{Method: AnyBearer, Reason: invalidToken, passed: passed}
	}
	return nil, joined(refusals)
}

// checkForm refuses what cannot be a token. Bytes above ASCII may be: static
// tokens are what the operator wrote.
func checkForm(token string) error {
	if token == "" {
		return Refuse(AnyBearer, "the bearer token is empty")
	}
	if len(token) > MaxToken {
		return errTooLong
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] == 0x7f {
			return Refuse(AnyBearer, "the bearer token has white space or a control character")
		}
	}
	return nil
}
