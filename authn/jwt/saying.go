package jwt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/compact"
)

// A saying is what a token says about itself.
type saying struct {
	issued, expires time.Time // or zero
	id              []byte    // or none
	elsewhere       bool      // whether claims may be kept elsewhere
}

// accepts judges what a token says about itself, in the way of go-oidc.
func (t trial) accepts() (said saying, err error) {
	if alg := t.token.Algorithm; !slices.Contains(t.Algorithms, alg) {
		return said, t.refuse(fmt.Errorf("it is signed with %s, and only %q are accepted", alg, t.Algorithms), authn.Unsuitable, mendAlgorithm)
	}
	var notBefore time.Time
	meant := false
	for v := t.token.claims.First(); v.There(); v = v.Next() {
		switch string(v.Name()) {
		case "aud":
			meant, err = v.HasAny(t.Audiences)
		case "exp":
			said.expires, err = v.Time()
		case "nbf":
			notBefore, err = v.Time()
		case "iat":
			said.issued, err = timeOrNull(v)
		case "sub", "nonce", "at_hash":
			err = textOrNull(v)
		case "jti":
			// One of another type names nothing; Kubernetes passes over it too.
			said.id, _ = v.Text()
		case "_claim_names", "_claim_sources":
			said.elsewhere = true
		}
		if err != nil {
			return said, t.refuse(fmt.Errorf("claim %w", err), authn.Malformed, mendForm, authn.Check{What: "claims", Got: err.Error()})
		}
	}
	switch {
	case !meant:
		got, _ := t.token.claims.Strings("aud")
		return said, t.refuse(fmt.Errorf("expected audience in %q got %.400q", t.Audiences, got), authn.WrongAudience, mendAudience)
	case said.expires.IsZero():
		return said, t.refuse(errors.New("it has no expiry (exp)"), authn.Unsuitable, mendExpiry)
	case said.expires.Before(t.now):
		return said, t.refuse(fmt.Errorf("token is expired (Token Expiry: %s)", said.expires.UTC().Format(time.RFC3339)), authn.Expired, mendExpired)
	case t.now.Add(notBeforeLeeway).Before(notBefore):
		return said, t.refuse(fmt.Errorf("current time is before the nbf (not before) time: %s", notBefore.UTC().Format(time.RFC3339)), authn.NotYet, mendClock)
	}
	return said, nil
}

// textOrNull refuses a claim of an ID token that is of another type than it should
// be (OpenID Connect Core 1.0 section 2), although nobody looks at it here: who
// writes such a token means something else by it.
func textOrNull(v compact.Value) error {
	if string(v.Raw()) == "null" {
		return nil
	}
	_, err := v.Text()
	return err
}

func timeOrNull(v compact.Value) (time.Time, error) {
	if string(v.Raw()) == "null" {
		return time.Time{}, nil
	}
	return v.Time()
}
