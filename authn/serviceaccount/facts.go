package serviceaccount

import (
	"errors"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// What would mend a refusal.
const (
	mendFresh  = "get a new token: kubectl create token, or let the volume of the pod be refreshed"
	mendClock  = "compare the clocks of this server and of the one that issued the token"
	mendMeant  = "get a token for one of the audiences wanted (kubectl create token --audience), or add its own to --api-audiences"
	mendKey    = "the key that signed it is not, or not any more, among those of this server: give all servers the same --service-account-key-file, or get a new token"
	mendForm   = "no API server issues such a token: get one with kubectl create token"
	mendObject = "what the token rests on is gone, or was made anew under the same name: get a token for what is there now"
	mendStore  = "the store has to answer before a token can be judged: see /readyz of this server"
	mendLabel  = "remove the label " + InvalidSinceLabel + " from the Secret, or better, get a token with kubectl create token"
)

// unread is the refusal of a token of one of our issuers whose signature or form
// is bad.
func (s *keySet) unread(t claimed, err error) error {
	kind := authn.Malformed
	switch {
	case errors.Is(err, errNoKeys):
		kind = authn.Unknown
	case errors.Is(err, compact.ErrSignature):
		kind = authn.BadProof
	}
	return authn.Explained(authn.Refuse(t.method, kind, err.Error()), kind, func() authn.Facts {
		from := authn.Check{What: "issuer (iss)", Got: t.issuer, OK: true}
		key := authn.Check{What: "key (kid)", Got: t.KeyID, Want: "one of " + authn.List(s.ids()), OK: kind != authn.Unknown}
		signature := authn.Check{What: "signature", Got: "good", OK: true}
		switch kind {
		case authn.Unknown:
			return authn.Facts{Checks: []authn.Check{from, key}, Mend: mendKey}
		case authn.BadProof:
			signature = authn.Check{What: "signature", Got: t.Algorithm, Want: "one that the key has made"}
			return authn.Facts{Checks: []authn.Check{from, key, signature}, Mend: mendKey}
		}
		return authn.Facts{Checks: []authn.Check{from, key, signature, {What: "claims", Got: err.Error()}}, Mend: mendForm}
	})
}

// unread says why a text is no token that could be ours.
func unread(err error) error {
	return authn.PassTelling(identity.ServiceAccount, err.Error(), func(why string) (string, []authn.Check) {
		return "the token is no signed JWT: " + why, nil
	})
}

// foreign says that a token is not ours, and whose ours are.
func (v *Verifier) foreign(issuer string) (string, []authn.Check) {
	return foreign, []authn.Check{{What: "issuer (iss)", Got: issuer, Want: "one of " + authn.List(v.issuers)}}
}

// ids are the names of the first keys.
func (s *keySet) ids() []string {
	var ids []string
	for id := range s.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// A trial is what a token is judged by, apart from the objects.
type trial struct {
	*claims
	issuers, meant, asked []string
	now                   time.Time
}

// refuse returns err with what was compared until then, and what else was.
func (t trial) refuse(err error, kind authn.Kind, mend string, last ...authn.Check) error {
	return authn.Explained(err, kind, func() authn.Facts {
		return authn.Facts{Checks: append(t.checks(), last...), Mend: mend}
	})
}

// checks are what is compared of the claims, up to the first that is not right.
func (t trial) checks() []authn.Check {
	by := &t.who.Credential
	from := authn.Check{What: "issuer (iss)", Got: by.Issuer, Want: "one of " + authn.List(t.issuers), OK: true}
	if by.Method == identity.LegacyServiceAccount {
		from.Want = LegacyIssuer
	}
	all := []authn.Check{from, {What: "signature", Got: "good", OK: true}, authn.AudienceCheck(t.meant, t.asked)}
	if by.Method != identity.LegacyServiceAccount {
		all = append(all,
			authn.TimeCheck("not before (nbf)", t.notBefore, t.now, false, leeway),
			authn.TimeCheck("expiry (exp)", by.ExpiresAt, t.now, true, leeway),
			authn.TimeCheck("issued at (iat)", by.IssuedAt, t.now, false, leeway))
	}
	if i := slices.IndexFunc(all, func(c authn.Check) bool { return !c.OK }); i >= 0 {
		all = all[:i+1]
	}
	return all
}

// wanted says what an object should be, and what is there instead.
func wanted(resource, namespace, name, uid, found string) authn.Check {
	what := resource + " " + name
	if namespace != "" {
		what = resource + " " + namespace + "/" + name
	}
	return authn.Check{What: what, Got: found, Want: "there, with UID " + uid}
}
