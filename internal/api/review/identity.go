package review

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// tokenReview says whose a token is. Unlike upstream it does not pass the token
// off as a header, which would be split at white space, and ignores a status
// that the caller has sent; and of a token that nobody got to look at it does not
// say that it is bad. A 429 has Kubernetes' webhook ask again, five times within
// some four seconds; with a Retry-After it would be 31 times in the 30 s after
// which it gives up, and it would log that instead of what it was told.
func (h *Handler) tokenReview(q Question, review *authenticationv1.TokenReview) error {
	if review.Spec.Token == "" {
		return apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	review.Status = authenticationv1.TokenReviewStatus{}
	who, err := caller(q.R.Context())
	if err != nil {
		return err
	}
	result, audiences, err := h.verify(q.R.Context(), h.Clients[who.Name], review.Spec.Token, review.Spec.Audiences)
	if told := (apierrors.APIStatus)(nil); errors.As(err, &told) {
		return err
	}
	if err != nil {
		throttled := authn.IsThrottled(err)
		if throttled {
			q.Code = http.StatusTooManyRequests
		}
		id := h.notAuthenticated(q, review.Spec.Audiences, result, err)
		if throttled {
			return apierrors.NewTooManyRequestsError(explained("too many tokens wait to be verified; ask again", id))
		}
		review.Status.Error = explained(reasonOf(err), id)
		return nil
	}
	review.Status.Authenticated = true
	review.Status.User = userInfo(result.Identity)
	review.Status.Audiences = audiences
	return nil
}

// verify returns whose a token is and for which of the audiences, or why it does
// not count. It returns whose it is in that case too, if that is known.
func (h *Handler) verify(ctx context.Context, client *Client, token string, asked []string) (*authn.Result, []string, error) {
	if hasSpace(token) {
		return nil, nil, &authn.Refusal{Method: authn.AnyBearer, Cause: errSpace, Facts: authn.Facts{
			Kind: authn.Malformed, Mend: "have who asks send the token alone, as it was issued",
		}}
	}
	wanted := asked
	if client != nil {
		var err error
		if wanted, asked, err = client.ask(asked, h.Audiences); err != nil {
			return nil, nil, err
		}
	}
	result, err := h.Tokens.VerifyToken(ctx, token, asked)
	if err != nil {
		return nil, nil, err
	}
	audiences, ok := common(result.Audiences, asked)
	if !ok {
		return nil, nil, apierrors.NewInternalError(errors.New("token is valid for none of the audiences, but was accepted"))
	}
	if client != nil {
		audiences, err = client.grant(result, wanted)
	}
	return result, audiences, err
}

// notAuthenticated keeps why a token does not count, and returns where.
func (h *Handler) notAuthenticated(q Question, asked []string, result *authn.Result, err error) string {
	var whose *identity.Identity
	if result != nil {
		whose = result.Identity
	}
	return h.Journal.NotAuthenticated(q, asked, whose, func() []authn.Rung {
		if whose == nil {
			return authn.Ladder(err)
		}
		good := authn.Rung{Method: whose.Credential.Method, Source: whose.Credential.Issuer, Found: authn.Accepted}
		return append([]authn.Rung{good}, authn.Ladder(err)...)
	})
}

// reasonOf returns what is told of a token that does not count. An API server that
// asks logs that, and nothing else of the answer.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, errSpace):
		return errSpace.Error()
	case errors.Is(err, errNotForClient):
		return notForClient
	case errors.Is(err, authn.ErrNoCredential):
		// Upstream's text for a token that no authenticator recognizes.
		return "invalid bearer token"
	}
	return err.Error()
}

// explained returns text with where to ask for more.
func explained(text, id string) string {
	switch {
	case id == "":
		return text
	case text == "":
		return "gatehouse explain " + id
	}
	return text + " (gatehouse explain " + id + ")"
}

// errSpace is in the refusal of a token with white space in it.
var errSpace = errors.New("invalid bearer token: white space in token")

// hasSpace reports whether token has white space of any script. Nearly all
// tokens are ASCII and long: those are looked at eight bytes at a time.
func hasSpace(token string) bool {
	if plain(token) {
		return strings.IndexByte(token, ' ') >= 0
	}
	return strings.ContainsFunc(token, unicode.IsSpace)
}

// common returns those of the audiences of a token that were asked for, or all
// if none were. It returns false if a token that has audiences has none of
// those asked for.
func common(audiences, asked []string) ([]string, bool) {
	if audiences == nil || len(asked) == 0 {
		return audiences, true
	}
	var both []string
	for _, a := range audiences {
		if slices.Contains(asked, a) {
			both = append(both, a)
		}
	}
	return both, len(both) > 0
}

// selfSubjectReview tells the caller who they are.
func (h *Handler) selfSubjectReview(q Question, review *authenticationv1.SelfSubjectReview) error {
	who, err := caller(q.R.Context())
	if err != nil {
		return err
	}
	*review = authenticationv1.SelfSubjectReview{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Now()},
		Status:     authenticationv1.SelfSubjectReviewStatus{UserInfo: userInfo(who)},
	}
	return nil
}

func userInfo(who *identity.Identity) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: who.Name, UID: who.UID, Groups: who.Groups}
	if len(who.Extra) > 0 {
		info.Extra = make(map[string]authenticationv1.ExtraValue, len(who.Extra))
		for k, v := range who.Extra {
			info.Extra[k] = v
		}
	}
	return info
}
