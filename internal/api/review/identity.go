package review

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// notForClient is told to a [Client] of a token that does not count there. It
// does not say whose the token is.
const notForClient = "the token is not for this API server: see authentication.webhookClients in the configuration"

// tokenReview says whose a token is. Unlike upstream it does not pass the token
// off as a header, which would be split at white space, and ignores a status
// that the caller has sent.
func (h *Handler) tokenReview(ctx context.Context, review *authenticationv1.TokenReview, _ string) error {
	if review.Spec.Token == "" {
		return apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	review.Status = authenticationv1.TokenReviewStatus{}
	if hasSpace(review.Spec.Token) {
		review.Status.Error = "invalid bearer token: white space in token"
		return nil
	}
	who, err := caller(ctx)
	if err != nil {
		return err
	}
	client, asked := h.Clients[who.Name], review.Spec.Audiences
	wanted := asked
	if client != nil {
		if wanted, asked = client.ask(asked, h.Audiences); len(wanted) == 0 {
			review.Status.Error = notForClient
			return nil
		}
	}
	result, err := h.Tokens.VerifyToken(ctx, review.Spec.Token, asked)
	switch {
	case errors.Is(err, authn.ErrNoCredential):
		// Upstream's text for a token that no authenticator recognizes.
		review.Status.Error = "invalid bearer token"
		return nil
	case err != nil:
		review.Status.Error = err.Error()
		return nil
	}
	audiences, ok := common(result.Audiences, asked)
	if !ok {
		return apierrors.NewInternalError(errors.New("token is valid for none of the audiences, but was accepted"))
	}
	if client != nil {
		if audiences = client.grant(result, wanted); len(audiences) == 0 {
			review.Status.Error = notForClient
			return nil
		}
	}
	review.Status.Authenticated = true
	review.Status.User = userInfo(result.Identity)
	review.Status.Audiences = audiences
	return nil
}

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
func (h *Handler) selfSubjectReview(ctx context.Context, review *authenticationv1.SelfSubjectReview, _ string) error {
	who, err := caller(ctx)
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
