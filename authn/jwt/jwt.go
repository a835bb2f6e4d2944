// Package jwt verifies tokens of OpenID Connect providers and other issuers of
// JSON Web Tokens (RFC 7519).
//
// The one idea: a token goes straight to its issuer. Its iss chooses among the
// issuers that are configured, in one look-up; what the issuer signs with and
// how its claims are to be read is the configuration's, and nothing that a
// token says can change it. What was verified may be remembered until it
// expires: a result rests on the key that signed it and on the configuration,
// and ends when either is taken back.
//
// The package fetches nothing. Keys, and claims that are kept elsewhere, come
// from functions of its user.
//
// It refuses: tokens without an expiry, for another audience, or of an
// algorithm that is not asked for; symmetric signatures, and all that package
// compact refuses; claims of another type than they should be; an empty user
// name; and, unless the configuration says otherwise, user names and groups
// that begin with "system:".
package jwt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/flight"
)

const (
	// notBeforeLeeway is how far our clock may be behind the issuer's. There is
	// none for the expiry (go-oidc's verify.go, which Kubernetes uses).
	notBeforeLeeway = time.Minute
	// googleURL and googleName are the two ways in which one provider writes
	// its own name (OpenID Connect Core 1.0 section 15.6.2).
	googleURL  = "https://accounts.google.com"
	googleName = "accounts.google.com"
	// usualRests is how many things a result rests on: the key, and the issuers.
	usualRests = 2
	// reserved begins the names that Kubernetes keeps for itself.
	reserved = "system:"
)

// An Issuer is one issuer of tokens, and what its tokens mean here.
type Issuer struct {
	// URL is the iss of its tokens.
	URL string
	// Audiences are those that a token may be for: one of its own has to be
	// among them. At least one.
	Audiences []string
	// Algorithms are those that its tokens may be signed with, of RS256, RS384,
	// RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA. At least one.
	Algorithms []string
	// Keys are those that it signs with.
	Keys *Keys
	// Source keeps Keys fresh. Without it they are good for ever.
	Source Source
	// Identify fills in who the claims are about, or says why that is nobody.
	// The claims are those of a token that was verified, and are in memory that is
	// used again once it has returned nil. Extra may have an entry already.
	Identify func(ctx context.Context, claims *Claims, who *identity.Identity) error
	// Reserved are the user names and groups beginning with "system:" that its
	// tokens may name.
	Reserved []string
	// Distributed is the claim that may be kept elsewhere (OpenID Connect Core
	// 1.0 section 5.6.2), or "" if none may.
	Distributed string
	// Fetch returns the token with that claim, which endpoint gives for
	// accessToken. Without it such claims are refused. It is not called while it
	// is at work for the same token.
	Fetch func(ctx context.Context, endpoint, accessToken string) (string, error)
	// Verified, which may be nil, is told of every token of the issuer that was
	// looked at: how long that took, and whether it was refused.
	Verified func(took time.Duration, err error)
}

// A Source keeps the keys of an issuer fresh.
type Source interface {
	// Until returns until when the keys may be relied on without asking again,
	// or why they may not be relied on.
	Until() (time.Time, error)
	// Renew fetches the keys because a token names one that is not there, and
	// returns when that is done, or before if found reports that the key is
	// there. It is called for whatever strangers send, so it must decide for
	// itself how often it does anything. Its error may have a kind: it is that of
	// the refusal if it is [authn.Throttled].
	Renew(ctx context.Context, found func() bool) error
}

// A Verifier verifies tokens of several issuers. Use [New].
type Verifier struct {
	audiences []string
	current   atomic.Pointer[map[string]*Issuer]
	inForce   authn.Generation
	fetching  flight.Group[fetch, *kept]
	failed    failures
	others    *authn.Passes // tokens of other issuers
}

// New returns a verifier. Audiences are those of the server; a token of any
// issuer is good for all of them.
func New(audiences []string, issuers ...Issuer) (*Verifier, error) {
	v := &Verifier{audiences: slices.Clone(audiences)}
	v.others = authn.NewPasses(identity.JWT, v.foreign)
	if err := v.Replace(issuers...); err != nil {
		return nil, err
	}
	return v, nil
}

// Replace puts other issuers in force. Every result of before is ended. On an
// error nothing changes.
func (v *Verifier) Replace(issuers ...Issuer) error {
	byName := make(map[string]*Issuer, len(issuers)+1)
	for _, i := range issuers {
		if err := i.check(); err != nil {
			return fmt.Errorf("issuer %q: %w", i.URL, err)
		}
		if byName[i.URL] != nil {
			return fmt.Errorf("issuer %q is given twice", i.URL)
		}
		byName[i.URL] = &i
	}
	if google := byName[googleURL]; google != nil && byName[googleName] == nil {
		byName[googleName] = google
	}
	v.current.Store(&byName)
	v.inForce.Bump()
	return nil
}

func (i *Issuer) check() error {
	switch {
	case i.URL == "":
		return errors.New("it has no name")
	case len(i.Audiences) == 0:
		return errors.New("it has no audience")
	case len(i.Algorithms) == 0:
		return errors.New("it has no algorithm")
	case i.Keys == nil || i.Identify == nil:
		return errors.New("internal error: it has no keys, or nothing to identify by")
	}
	return nil
}

// unread says why a text is no token that could be ours.
func unread(err error) error {
	return authn.PassTelling(identity.JWT, err.Error(), func(why string) (string, []authn.Check) {
		return "the token is no signed JWT: " + why, nil
	})
}

// unknown says whose a token is that is not ours.
func unknown(issuer string) string {
	if issuer == "" {
		return "the token names no issuer"
	}
	return fmt.Sprintf("no issuer %.200q is configured", issuer)
}

// foreign is what is said of it, with the issuers that there are.
func (v *Verifier) foreign(issuer string) (string, []authn.Check) {
	return unknown(issuer), []authn.Check{{What: "issuer (iss)", Got: issuer, Want: "one of " + authn.List(v.names())}}
}

// names are those of the issuers.
func (v *Verifier) names() []string { return slices.Sorted(maps.Keys(*v.current.Load())) }

var errAudience = authn.Pass(identity.JWT, "the token is not for the audiences asked for")

// Describe implements [authn.Described].
func (v *Verifier) Describe() (identity.Method, string) { return identity.JWT, "" }

// VerifyToken implements [authn.TokenVerifier].
func (v *Verifier) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	// Before anything is read that it stands for.
	stamp := v.inForce.Stamp()
	issuers := *v.current.Load()
	opened, err := open(ctx, token)
	if err != nil {
		return nil, unread(err)
	}
	issuer := issuers[opened.issuer]
	if issuer == nil {
		return nil, v.others.Pass(opened.issuer)
	}
	t, err := opened.read()
	if err != nil {
		return nil, unread(err)
	}
	granted, ok := authn.Audiences(v.audiences, audiences)
	if !ok {
		return nil, authn.Explained(errAudience, "", func() authn.Facts {
			return authn.Facts{Checks: []authn.Check{authn.AudienceCheck(v.audiences, audiences)}}
		})
	}
	start := time.Now()
	res, err := issuer.verify(ctx, t, elsewhere{issuers, &v.fetching, &v.failed}, start)
	if issuer.Verified != nil && !authn.IsRehearsal(ctx) {
		issuer.Verified(time.Since(start), err)
	}
	if err != nil {
		return nil, &authn.Refusal{Method: identity.JWT, Source: issuer.URL, Reason: "token of " + issuer.URL, Cause: err}
	}
	res.Audiences = granted
	res.Rests = append(res.Rests, stamp)
	return res, nil
}

// A token is one whose form is right.
type token struct {
	*compact.Token
	claims *compact.Object
	issuer string
}

// An opened token is one that is read as far as it says whose it is.
type opened struct {
	*compact.Reading
	issuer string
}

func open(ctx context.Context, text string) (opened, error) {
	r, err := compact.Open(ctx, text)
	if err != nil {
		return opened{}, err
	}
	issuer, err := r.Issuer()
	return opened{r, issuer}, err
}

func (o opened) read() (token, error) {
	t, claims, err := o.All()
	return token{t, claims, o.issuer}, err
}

// verify settles whether the token is good, and who it is about. What costs
// least is looked at first.
func (i *Issuer) verify(ctx context.Context, t token, other elsewhere, now time.Time) (*authn.Result, error) {
	trial := trial{i, t, now}
	said, err := trial.accepts()
	if err != nil {
		return nil, err
	}
	proof, err := i.prove(ctx, t, said)
	if err != nil {
		return nil, trial.unproved(err)
	}
	// In one place, as nothing of it is kept by who remembers the result.
	made := &struct {
		authn.Result
		rests  [usualRests]authn.Stamp
		claims Claims
	}{claims: Claims{object: t.claims}}
	gathered, err := i.expand(ctx, t, said, &made.claims, other, now)
	if err != nil {
		return nil, trial.unnamed(err, authn.Unavailable, mendElsewhere)
	}
	who, err := i.name(ctx, t, proof, gathered, &made.claims)
	if err != nil {
		return nil, trial.unnamed(err, authn.Unsuitable, mendClaims)
	}
	if err := i.checkNames(who); err != nil {
		return nil, trial.unnamed(err, authn.Reserved, mendName)
	}
	who.Groups = identity.WithAuthenticated(who.Name, who.Groups)
	res := &made.Result
	res.Identity, res.Rests = who, made.rests[:0]
	proof.carry(res)
	if gathered != nil {
		gathered.proof.carry(res)
	}
	return res, nil
}

// name returns who the claims are about.
func (i *Issuer) name(ctx context.Context, t token, proof proved, gathered *kept, claims *Claims) (*identity.Identity, error) {
	made := new(struct { // in one place, as they are of no use without each other
		identity.Identity
		id [1]string
	})
	who := &made.Identity
	i.vouch(&who.Credential, t, proof)
	if gathered != nil {
		who.Credential.Beside = &gathered.token
	}
	if id := who.Credential.ID; id != "" {
		made.id[0] = id
		who.Extra = map[string][]string{identity.CredentialIDKey: made.id[:]}
	}
	return who, i.Identify(ctx, claims, who)
}

// vouch notes what of a token may be told whose signature is good.
func (i *Issuer) vouch(c *identity.Credential, t token, by proved) {
	*c = identity.Credential{
		Method: identity.JWT, Issuer: i.URL, KeyID: by.key.name, IssuedAt: by.said.issued, ExpiresAt: by.said.expires,
	}
	const prefix = "JTI="
	var room [compact.DigestSize]byte
	var texts compact.Cuts
	texts.Grow(len(room) + len(prefix) + len(by.said.id))
	c.Digest = texts.Add("", t.AppendDigest(room[:0]))
	if len(by.said.id) > 0 {
		c.ID = texts.Add(prefix, by.said.id)
	}
}

// checkNames refuses names that mean something to Kubernetes itself.
func (i *Issuer) checkNames(who *identity.Identity) error {
	if who.Name == "" {
		return authn.Explained(errors.New("the user name is empty"), authn.Nobody, nil)
	}
	if !i.mayName(who.Name) {
		return fmt.Errorf("the user name %.200q is reserved: names beginning with %q have to be allowed for the issuer", who.Name, reserved)
	}
	for _, group := range who.Groups {
		if !i.mayName(group) {
			return fmt.Errorf("the group %.200q is reserved: names beginning with %q have to be allowed for the issuer", group, reserved)
		}
	}
	return nil
}

func (i *Issuer) mayName(name string) bool {
	return !strings.HasPrefix(name, reserved) || slices.Contains(i.Reserved, name)
}
