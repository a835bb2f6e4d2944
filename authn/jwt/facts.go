package jwt

import (
	"errors"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn"
)

// What would mend a refusal.
const (
	mendAlgorithm = "have the issuer sign with an algorithm that is accepted, or accept its own (--oidc-signing-algs, --jwt-signing-algs)"
	mendForm      = "an issuer that keeps to OpenID Connect does not issue such a token: look at it with gatehouse token inspect"
	mendAudience  = "get a token for one of the audiences wanted (the client ID of the login), or add its own to the issuer's audiences (--oidc-client-id)"
	mendExpiry    = "have the issuer put an expiry (exp) into its tokens: one that never ends is not accepted"
	mendExpired   = "log in again, or have the client refresh its token"
	mendClock     = "compare the clocks of this server and of the issuer"
	mendKey       = "if the issuer has changed its keys, see in the log of this server when it last fetched them, and whether that failed; else the token is not that issuer's"
	mendSource    = "have the issuer serve its discovery document and its keys to this server, or correct its url, discoveryURL or certificateAuthority in the configuration"
	mendElsewhere = "allow the origin of the claim with --jwt-claim-sources, or have the issuer put the claim into the token"
	mendName      = "have the issuer give another name, or allow this one with --jwt-reserved-name"
	mendClaims    = "have the issuer put into the token what the configuration asks for, or change claimMappings and the validation rules"
)

// A trial is what a token is judged by.
type trial struct {
	*Issuer
	token token
	now   time.Time
}

// refuse returns err with what was compared until then, and what else was.
func (t trial) refuse(err error, kind authn.Kind, mend string, last ...authn.Check) error {
	return authn.Explained(err, kind, func() authn.Facts {
		return authn.Facts{Checks: append(t.checks(), last...), Mend: mend}
	})
}

// checks are what is compared of the claims, up to the first that is not right.
func (t trial) checks() []authn.Check {
	alg := t.token.Algorithm
	all := []authn.Check{
		{What: "issuer (iss)", Got: t.token.issuer, Want: t.URL, OK: true},
		{What: "algorithm (alg)", Got: alg, Want: "one of " + authn.List(t.Algorithms), OK: slices.Contains(t.Algorithms, alg)},
	}
	meant, err := t.token.claims.Strings("aud")
	if err == nil {
		all = append(all, authn.AudienceCheck(meant, t.Audiences))
	}
	expires, err := t.token.claims.Time("exp")
	if err == nil {
		expiry := authn.TimeCheck("expiry (exp)", expires, t.now, true, 0)
		expiry.OK = expiry.OK && !expires.IsZero()
		all = append(all, expiry)
	}
	if notBefore, err := t.token.claims.Time("nbf"); err == nil && !notBefore.IsZero() {
		all = append(all, authn.TimeCheck("not before (nbf)", notBefore, t.now, false, notBeforeLeeway))
	}
	if i := slices.IndexFunc(all, func(c authn.Check) bool { return !c.OK }); i >= 0 {
		all = all[:i+1]
	}
	return all
}

// unproved returns why the signature is not good, with what was compared.
func (t trial) unproved(err error) error {
	key := authn.Check{What: "key (kid)", Got: t.token.KeyID, OK: true}
	why := authn.FactsOf(err)
	switch {
	case why.Kind == authn.Throttled:
		return t.refuse(err, why.Kind, why.Mend)
	case errors.Is(err, errNoKey):
		key.OK, key.Want = false, "one of "+authn.List(t.Keys.ids())
		return t.refuse(err, authn.Unknown, mendKey, key)
	case errors.Is(err, errSignature):
		return t.refuse(err, authn.BadProof, mendKey, key, authn.Check{What: "signature", Got: t.token.Algorithm, Want: "one that the key has made"})
	}
	return t.refuse(err, authn.Unavailable, mendSource, authn.Check{What: "keys of the issuer", Got: err.Error(), Want: "fetched, and not too long ago"})
}

// unnamed returns why the claims stand for nobody who is let in.
func (t trial) unnamed(err error, kind authn.Kind, mend string) error {
	why := authn.FactsOf(err)
	if why.Kind != "" {
		kind = why.Kind
	}
	if why.Mend != "" {
		mend = why.Mend
	}
	if len(why.Checks) == 0 {
		why.Checks = []authn.Check{{What: "claims", Got: err.Error()}}
	}
	return t.refuse(err, kind, mend, append([]authn.Check{{What: "signature", Got: "good", OK: true}}, why.Checks...)...)
}

// ids are the names of the keys.
func (k *Keys) ids() []string {
	var ids []string
	if p := k.current.Load(); p != nil {
		for _, one := range *p {
			ids = append(ids, one.ID)
		}
	}
	return ids
}
