// Package serviceaccount verifies the tokens of service accounts: bound ones,
// which the TokenRequest API gives out, and legacy ones, which stand in Secrets.
//
// The one idea: two questions, remembered apart. What a token says is settled by
// its signature, and stays settled until it expires or its key is taken back.
// Whether it still counts depends on the objects that it rests on: the account,
// and the Secret, Pod or Node it is bound to. A result carries the stamps of
// these objects, taken before they are read, so that a deletion ends it at once;
// and it ends by itself after ten seconds, because a watch that has fallen silent
// must not keep a dead token alive. Then only the objects are read again.
//
// It refuses a token of our issuer with an unknown key, one that names another
// audience, and one with a binding that it does not understand. A token of
// another issuer is not its concern.
package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// LegacyIssuer is the iss of legacy tokens.
const LegacyIssuer = "kubernetes/serviceaccount"

const (
	// leeway is how far clocks may differ, and how long an object counts after
	// its deletion began (go-jose's DefaultLeeway, which Kubernetes uses).
	leeway = time.Minute
	// lookAgain is after how long the objects are read again in any case. It is
	// how long Kubernetes keeps a verified token without looking at all.
	lookAgain = 10 * time.Second
	// usualRests is how many things a token rests on: its key, its account and
	// what it is bound to.
	usualRests = 3
	// remembered is the default number of signatures to remember.
	remembered = 16 << 10
)

// A Config is what a [Verifier] needs.
type Config struct {
	// Issuers are the values of iss that bound tokens may have
	// (--service-account-issuer), at least one.
	Issuers []string
	// Audiences are those of the server (--api-audiences). The default is
	// Issuers.
	Audiences []string
	// Keys are those that tokens are signed with.
	Keys *Keys
	// Refresh, which may be nil, is called when a token of our issuers names a key
	// that is not known. It returns when Keys are no older than the call, and may
	// take its time, so that strangers cannot have it done often.
	Refresh func(context.Context) error
	// Objects knows the objects that tokens rest on, and Stripes has their
	// generations: whoever watches or deletes one bumps its own, by the names
	// [ServiceAccounts], [Secrets], [Pods] and [Nodes].
	Objects Objects
	Stripes *authn.Stripes
	// Remember is for how many tokens the verdict about the signature is
	// remembered, at about 1 KB each. The default is 16384.
	Remember int
	// LegacyUsed, which may be nil, is told when a legacy token was used on a
	// day (YYYY-MM-DD, UTC) that the label [LastUsedLabel] of its Secret does
	// not have yet. It must not block.
	LegacyUsed func(ctx context.Context, namespace, secret, day string)
	// Count, which may be nil, is told of each judgment of a token that was
	// presented: at most once in ten seconds for a token that is remembered.
	Count func(Use)
}

// A Use is a kind of token that was presented. The values are what Kubernetes'
// metrics of them are called, between serviceaccount_ and _total.
type Use string

// The kinds. A legacy token counts twice, as Kubernetes does it.
const (
	UsedValid         Use = "valid_tokens"
	UsedStale         Use = "stale_tokens"
	UsedLegacy        Use = "legacy_tokens"
	UsedManual        Use = "legacy_manual_token_uses"
	UsedAutomatic     Use = "legacy_auto_token_uses"
	UsedInvalidLegacy Use = "invalid_legacy_auto_token_uses"
)

// Uses returns all kinds.
func Uses() []Use {
	return []Use{UsedValid, UsedStale, UsedLegacy, UsedManual, UsedAutomatic, UsedInvalidLegacy}
}

// A Verifier verifies tokens of service accounts.
type Verifier struct {
	issuers    []string
	audiences  []string
	keys       *Keys
	refresh    func(context.Context) error
	objects    Objects
	stripes    *authn.Stripes
	legacyUsed func(ctx context.Context, namespace, secret, day string)
	count      func(Use)
	signed     *verified.Table[claims, *claims]
	others     *authn.Passes // tokens of other issuers
}

// New returns a verifier.
func New(c Config) (*Verifier, error) {
	switch {
	case len(c.Issuers) == 0:
		return nil, errors.New("no issuer of service account tokens")
	case slices.Contains(c.Issuers, ""):
		return nil, errors.New("an issuer of service account tokens is empty")
	case c.Keys == nil || c.Keys.current.Load() == nil || c.Objects == nil || c.Stripes == nil:
		return nil, errors.New("internal error: service account tokens without keys, objects or stripes")
	}
	if len(c.Audiences) == 0 {
		c.Audiences = c.Issuers
	}
	if c.Remember == 0 {
		c.Remember = remembered
	}
	signed, err := verified.NewTable[claims](c.Remember)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		issuers:    slices.Clone(c.Issuers),
		audiences:  slices.Clone(c.Audiences),
		keys:       c.Keys,
		refresh:    c.Refresh,
		objects:    c.Objects,
		stripes:    c.Stripes,
		legacyUsed: c.LegacyUsed,
		count:      c.Count,
		signed:     signed,
	}
	v.others = authn.NewPasses(identity.ServiceAccount, v.foreign)
	return v, nil
}

// Describe implements [authn.Described].
func (v *Verifier) Describe() (identity.Method, string) { return identity.ServiceAccount, "" }

const foreign = "the token has another issuer"

var (
	errForeign = authn.Pass(identity.ServiceAccount, foreign)
	errNoJWT   = authn.Pass(identity.ServiceAccount, "the token is no signed JWT")
)

// VerifyToken implements [authn.TokenVerifier].
func (v *Verifier) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	if len(token) > compact.MaxSize {
		return nil, errNoJWT
	}
	t, err := v.read(ctx, token)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	key := v.signed.Key("", token, nil)
	c := v.signed.Lookup(key, now)
	if c == nil {
		anew := new(verified.Entry[claims])
		c = &anew.Value
		if err := v.verify(ctx, t, c); err != nil {
			return nil, err
		}
		if c.Fresh(now) {
			v.signed.Keep(key, anew, now)
		}
	}
	res, err := v.judge(ctx, c, token, audiences, now)
	if err != nil {
		return nil, &authn.Refusal{Method: c.who.Credential.Method, Reason: "token of " + c.who.Name, Cause: err, Annotations: res.Annotations}
	}
	return res, nil
}

// A claimed token is one that says that it is ours.
type claimed struct {
	*compact.Token
	payload *compact.Object
	issuer  string
	method  identity.Method
}

// read returns a token that says that it is ours, which is settled before any work
// is spent on it. Before the signature is verified that chooses only the keys.
func (v *Verifier) read(ctx context.Context, token string) (claimed, error) {
	r, err := compact.Open(ctx, token)
	if err != nil {
		return claimed{}, unread(err)
	}
	iss, err := r.Issuer()
	if err != nil {
		return claimed{}, errForeign
	}
	ours := slices.Contains(v.issuers, iss)
	if !ours && iss != LegacyIssuer {
		return claimed{}, v.others.Pass(iss)
	}
	t, payload, err := r.All()
	if err != nil {
		return claimed{}, unread(err)
	}
	// An issuer may have the name of the legacy one; the claims tell them apart.
	if iss == LegacyIssuer && !(ours && payload.Has("kubernetes.io")) {
		return claimed{t, payload, iss, identity.LegacyServiceAccount}, nil
	}
	return claimed{t, payload, iss, identity.ServiceAccount}, nil
}

// verify settles what a token says.
func (v *Verifier) verify(ctx context.Context, t claimed, c *claims) error {
	keys, key, err := v.proven(ctx, t.Token)
	if err != nil {
		return keys.unread(t, err)
	}
	if err := c.read(&t, v.audiences); err != nil {
		return keys.unread(t, err)
	}
	c.who.Credential.KeyID, c.keys = key.ID, keys.inForce
	return nil
}

// proven returns the key that made the signature of a token, and the keys that
// it is among. Before one that is not known is refused, the keys are brought up
// to date: another process may have just begun to sign with it.
func (v *Verifier) proven(ctx context.Context, t *compact.Token) (*keySet, *compact.Key, error) {
	keys := v.keys.current.Load()
	key, err := keys.verify(t)
	if err != errNoKeys || t.KeyID == "" || v.refresh == nil {
		return keys, key, err
	}
	if err := v.refresh(ctx); err != nil {
		return keys, nil, fmt.Errorf("%w: asking for them: %w", errNoKeys, err)
	}
	keys = v.keys.current.Load()
	key, err = keys.verify(t)
	return keys, key, err
}

// judge settles whether a token counts now, for one of the audiences. The result
// has the annotations even if it does not.
func (v *Verifier) judge(ctx context.Context, c *claims, token string, asked []string, now time.Time) (*authn.Result, error) {
	made := new(struct {
		authn.Result
		rests [usualRests]authn.Stamp
	})
	made.Identity, made.Until, made.Rests = &c.who, now.Add(lookAgain), append(made.rests[:0], c.keys)
	l := look{Verifier: v, ctx: ctx, res: &made.Result}
	meant := c.audiences
	if len(meant) == 0 {
		// So are all legacy tokens; one for the server, then.
		l.annotate("authentication.k8s.io/legacy-token", c.subject)
		l.use(UsedLegacy)
		meant = v.audiences
	}
	if len(asked) == 0 {
		asked = v.audiences
	}
	l.trial = trial{claims: c, issuers: v.issuers, meant: meant, asked: asked, now: now}
	l.res.Audiences = authn.Intersect(meant, asked)
	if len(l.res.Audiences) == 0 {
		return l.res, l.refuse(fmt.Errorf("token audiences %q is invalid for the target audiences %q", meant, asked), authn.WrongAudience, mendMeant)
	}
	if c.who.Credential.Method == identity.LegacyServiceAccount {
		// Kubernetes looks at no time in these: they have none.
		return l.res, l.legacy(token)
	}
	if err := l.checkTime(); err != nil {
		return l.res, err
	}
	if end := c.who.Credential.ExpiresAt; !end.IsZero() {
		l.endBy(end.Add(leeway))
	}
	return l.res, l.bound()
}
