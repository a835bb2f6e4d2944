// Package bootstrap verifies bootstrap tokens: short ones, for machines that are
// to join, each of which stands in a Secret of kube-system.
//
// The one idea: whether a token could be one is settled in memory, where the
// watch has put the Secrets, so that nobody makes us ask the store with a token
// that is wrong. Only a token that is right there is looked up in the store
// itself, so that one that was taken back a moment ago is refused. The result
// carries the stamp of the Secret, taken before it is read, and ends by itself
// after ten seconds, because a watch that has fallen silent must not keep a dead
// token alive.
//
// It refuses, with Kubernetes' checks in Kubernetes' order
// (plugin/pkg/auth/authenticator/token/bootstrap), a token whose Secret is there
// and says otherwise. A token that names no Secret is not its concern.
package bootstrap

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// UserPrefix begins the name of who logs in with a token, and is followed by
// its ID.
const UserPrefix = "system:bootstrap:"

// credentialPrefix begins the ID of the credential, and is followed by the ID of
// the token, which is no secret.
const credentialPrefix = "TOKENID="

// lookAgain is after how long the Secret is read again in any case.
const lookAgain = 10 * time.Second

// Secrets knows the Secrets of [Namespace].
type Secrets interface {
	// Cached returns what is known in memory of a Secret, or nil if it is of
	// none. It may lag.
	Cached(name string) *Secret
	// Live returns what the store says of it now, or nil if it has none. An error
	// refuses the token.
	Live(ctx context.Context, name string) (*Secret, error)
}

// A Config is what a [Verifier] needs.
type Config struct {
	// Audiences are those of the server: a token is for the server as a whole.
	Audiences []string
	Secrets   Secrets
	// Stripes has the generations of the Secrets: whoever watches, changes or
	// deletes one bumps its own, as one of "secrets".
	Stripes *authn.Stripes
}

// A Verifier verifies bootstrap tokens.
type Verifier struct {
	audiences []string
	secrets   Secrets
	stripes   *authn.Stripes
}

// New returns a verifier.
func New(c Config) (*Verifier, error) {
	if c.Secrets == nil || c.Stripes == nil {
		return nil, errors.New("internal error: bootstrap tokens without Secrets or stripes")
	}
	return &Verifier{slices.Clone(c.Audiences), c.Secrets, c.Stripes}, nil
}

var (
	errForm     = authn.Pass(identity.BootstrapToken, "the token has another form")
	errAudience = authn.Pass(identity.BootstrapToken, "the token is not for the audiences asked for")
	// Not even the ID is repeated: if there is no such token it may be a part of
	// somebody else's.
	errUnknown = authn.Pass(identity.BootstrapToken, "no Secret has the token's ID")
)

// Describe implements [authn.Described].
func (v *Verifier) Describe() (identity.Method, string) { return identity.BootstrapToken, "" }

// VerifyToken implements [authn.TokenVerifier].
func (v *Verifier) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	id, secret, ok := Parse(token)
	if !ok {
		return nil, errForm
	}
	meant, ok := authn.Audiences(v.audiences, audiences)
	if !ok {
		return nil, authn.Explained(errAudience, "", func() authn.Facts {
			return authn.Facts{Checks: []authn.Check{authn.AudienceCheck(v.audiences, audiences)}}
		})
	}
	name, now := SecretName(id), time.Now()
	inForce := v.stripes.Of("secrets", Namespace, name).Stamp()
	known := v.secrets.Cached(name)
	if known == nil {
		return nil, errUnknown
	}
	if _, err := judge(known, id, secret, now); err != nil {
		return nil, refusal(name, err)
	}
	live, err := v.secrets.Live(ctx, name)
	if err != nil {
		return nil, refusal(name, authn.Explained(fmt.Errorf("cannot be looked up: %w", err), authn.Unavailable, func() authn.Facts {
			return authn.Facts{Mend: "see why the store does not answer; the token may be good"}
		}))
	}
	if live == nil {
		return nil, errUnknown
	}
	who, err := judge(live, id, secret, now)
	if err != nil {
		return nil, refusal(name, err)
	}
	res := &authn.Result{Identity: who, Audiences: meant, Until: now.Add(lookAgain), Rests: []authn.Stamp{inForce}}
	if end := who.Credential.ExpiresAt; !end.IsZero() && end.Before(res.Until) {
		res.Until = end
	}
	return res, nil
}

// refusal names the Secret of a token that is there, so its ID is none of
// somebody else's secrets.
func refusal(name string, err error) error {
	return &authn.Refusal{
		Method: identity.BootstrapToken,
		Reason: "bootstrap secret " + Namespace + "/" + name + " matching bearer token",
		Cause:  err,
	}
}

// bad returns what is wrong with a Secret: what was looked at last, and what
// would mend it. Of what stands in the Secret nothing is repeated but its type
// and its end.
func bad(kind authn.Kind, text string, failed authn.Check, mend string) error {
	return authn.Explained(errors.New(text), kind, func() authn.Facts {
		return authn.Facts{Checks: []authn.Check{failed}, Mend: mend}
	})
}

const makeAnother = "make another token, as with: kubeadm token create"

// judge returns who logs in with a token, by what its Secret says.
func judge(s *Secret, id, secret string, now time.Time) (*identity.Identity, error) {
	switch {
	case s.Deleted:
		return nil, bad(authn.Revoked, "is deleted and awaiting removal",
			authn.Check{What: "the Secret", Got: "being deleted", Want: "there"}, makeAnother)
	case s.Type != SecretType || s.Data == nil:
		return nil, bad(authn.Unsuitable, "has invalid type, expected "+SecretType,
			authn.Check{What: "type", Got: s.Type, Want: SecretType + ", with data"}, "delete the Secret, and make it again with that type")
	case subtle.ConstantTimeCompare(s.Data[secretKey], []byte(secret)) != 1:
		return nil, bad(authn.BadProof, "has invalid value for key "+secretKey,
			authn.Check{What: secretKey, Got: "another one", Want: "the second part of the token"},
			"present the whole token that the Secret was made for, or "+makeAnother)
	case string(s.Data[idKey]) != id:
		return nil, bad(authn.Unsuitable, "has invalid value for key "+idKey,
			authn.Check{What: idKey, Got: "another one", Want: id}, "write there what the name of the Secret ends with")
	}
	end, err := inTime(s, now)
	if err != nil {
		return nil, err
	}
	if !s.May(Authentication) {
		return nil, bad(authn.Unsuitable, "not marked "+Authentication+"=true",
			authn.Check{What: Authentication, Got: "something else or nothing", Want: "true"},
			"write that into the Secret if the token is to let somebody in")
	}
	groups, err := s.groups()
	if err != nil {
		return nil, bad(authn.Unsuitable, "has invalid value for key "+groupsKey+": "+err.Error(),
			authn.Check{What: groupsKey, Got: "a name of another form", Want: groupForm},
			"correct that name in the Secret; names are separated by commas alone")
	}
	name := UserPrefix + id
	return &identity.Identity{
		Name:   name,
		Groups: identity.WithAuthenticated(name, groups),
		Credential: identity.Credential{
			Method: identity.BootstrapToken, ID: credentialPrefix + id, ExpiresAt: end,
		},
	}, nil
}

// inTime returns when a token ends, or zero if it never does, and refuses one
// that has ended.
func inTime(s *Secret, now time.Time) (time.Time, error) {
	end, _ := s.Expiration()
	if !s.Expired(now) {
		return end, nil
	}
	if end.IsZero() {
		return end, bad(authn.Expired, "its "+expirationKey+" is no moment in the form 2026-01-02T15:04:05Z, so it counts as expired",
			authn.Check{What: expirationKey, Got: "something else", Want: "RFC 3339"}, "correct "+expirationKey+" in the Secret")
	}
	failed := authn.TimeCheck(expirationKey, end, now, true, 0)
	failed.OK = false // at that very moment it is over
	return end, bad(authn.Expired, "expired at "+end.UTC().Format(time.RFC3339), failed, makeAnother)
}
