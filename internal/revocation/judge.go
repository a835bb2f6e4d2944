package revocation

import (
	"fmt"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/pki"
)

// JudgeResult is [Index.Judge] of who was authenticated. It is remembered with
// the result under which Revocations that was found good, so that the usual
// request costs two loads of memory.
func (x *Index) JudgeResult(res *authn.Result) error {
	now := x.current.Load()
	if res.JudgedUnder(now) {
		return nil
	}
	if err := x.Judge(res.Identity); err != nil {
		return err
	}
	res.Judged(now)
	return nil
}

// Judge returns nil, or an [*authn.Refusal] that says which Revocation hits who:
// himself, who acts as him, or the credential of either with what is beside it. It is as fast with many
// Revocations as with few.
func (x *Index) Judge(who *identity.Identity) error {
	if who == nil {
		return nil
	}
	c := &who.Credential
	for each := c; each != nil; each = each.Beside {
		if r := x.credential(each); r != nil {
			return refusal(r, who, each.IssuedAt)
		}
	}
	person := moment{issued: c.IssuedAt}
	if c.Method == identity.FrontProxy {
		// That of the proxy says nothing of when it began to name the user.
		person.issued = time.Time{}
	}
	hearsay := c.Issuer == "" || c.Method == identity.FrontProxy
	for each := who; each != nil; each = each.Impersonator {
		r := x.person(each, person)
		if r == nil && hearsay {
			r = x.mentioned(each, person)
		}
		if r != nil {
			return refusal(r, who, person.issued)
		}
	}
	return nil
}

// JudgeSubject judges somebody of whom only that is known which an API server
// says in an access review: nothing proved it here. What rests on the time of
// issue is passed over: it is not known of him, and whoever asks has had his
// credential judged.
func (x *Index) JudgeSubject(who *identity.Identity) error {
	m := moment{passOver: true}
	r := x.person(who, m)
	if r == nil {
		r = x.mentioned(who, m)
	}
	if r != nil {
		return refusal(r, who, time.Time{})
	}
	return nil
}

// A moment is when what is judged was issued: zero if nobody knows it. Rules that
// rest on that may be passed over.
type moment struct {
	issued   time.Time
	passOver bool
}

// hits reports whether the rule is about what was issued then.
func (r *rule) hits(m moment) bool {
	switch {
	case r.before.IsZero():
		return true
	case m.passOver:
		return false
	}
	return m.issued.IsZero() || m.issued.Before(r.before)
}

// person returns the rule that hits a user or one of his groups, or nil.
func (x *Index) person(who *identity.Identity, m moment) *rule {
	if r := x.find(key{what: byUser, a: who.Name}, m); r != nil {
		return r
	}
	if x.of[byGroup].Load() == 0 {
		return nil
	}
	for _, g := range who.Groups {
		if r := x.find(key{what: byGroup, a: g}, m); r != nil {
			return r
		}
	}
	return nil
}

// credential returns the rule that hits a credential, or a certificate above it.
func (x *Index) credential(c *identity.Credential) *rule {
	m := moment{issued: c.IssuedAt}
	if r := x.find(key{what: byIssuer, a: c.Issuer}, m); r != nil {
		return r
	}
	if r := x.find(key{what: byCredentialID, a: c.ID}, m); r != nil {
		return r
	}
	if jti, ok := strings.CutPrefix(c.ID, prefixJTI); ok && c.Issuer != "" {
		if r := x.find(key{byToken, c.Issuer, jti}, m); r != nil {
			return r
		}
	}
	// What was renewed from one another tells so by itself, whoever looks.
	if x.of[byChain].Load() > 0 {
		if r := x.find(key{what: byChain, a: pki.ChainOf(c.Serial)}, m); r != nil {
			return r
		}
	}
	for link := c; link != nil; link = link.Above {
		if r := x.link(link, c.Issuer, m); r != nil {
			return r
		}
	}
	return nil
}

// link returns the rule that hits a token, or a certificate of a chain.
func (x *Index) link(c *identity.Credential, issuer string, m moment) *rule {
	for _, k := range [...]key{
		{what: byDigest, a: c.Digest}, {bySerial, c.IssuerName, c.Serial},
		{byKey, "", c.KeyID}, {byKey, issuer, c.KeyID},
	} {
		if r := x.find(k, m); r != nil {
			return r
		}
	}
	if c.Serial == "" {
		return nil
	}
	// A CA in the middle of a chain is an issuer, too.
	return x.find(key{what: byIssuer, a: c.ID}, m)
}

const (
	prefixJTI         = "JTI="
	prefixFingerprint = "X509SHA256="
)

// mentioned returns the rule that hits a credential of which only the ID is
// known, as somebody else tells it.
func (x *Index) mentioned(who *identity.Identity, m moment) *rule {
	for _, id := range who.Extra[identity.CredentialIDKey] {
		k := key{what: byCredentialID, a: id}
		if jti, ok := strings.CutPrefix(id, prefixJTI); ok {
			k = key{what: byJTI, a: jti}
		} else if sum, ok := strings.CutPrefix(id, prefixFingerprint); ok {
			k = key{what: byFingerprint, a: sum}
		}
		if r := x.find(k, m); r != nil {
			return r
		}
	}
	return nil
}

// find returns the first rule of a key that hits, or nil.
func (x *Index) find(k key, m moment) *rule {
	if x.of[k.what].Load() == 0 || k.a == "" && k.b == "" {
		return nil
	}
	for _, r := range x.table.get(x.hash(&k), &k) {
		if r.hits(m) {
			return r
		}
	}
	return nil
}

// refusal says it to the operator. Issued is when what the rule hits was, or zero.
func refusal(r *rule, who *identity.Identity, issued time.Time) error {
	reason := r.reason
	if r.message != "" {
		reason += ": " + r.message
	}
	check := authn.Check{What: "revocation", Got: fmt.Sprintf("%s (%s)", r.target, reason), Want: "none"}
	checks := []authn.Check{check}
	if !r.before.IsZero() {
		got := "it does not say"
		if !issued.IsZero() {
			got = issued.UTC().Format(time.RFC3339)
		}
		checks = append(checks, authn.Check{What: "issued", Got: got, Want: "at or after " + r.before.UTC().Format(time.RFC3339)})
	}
	return &authn.Refusal{
		Method: who.Credential.Method, Source: who.Credential.Issuer,
		Reason: fmt.Sprintf("the credential of %q is revoked by revocation %s: %s", who.Name, r.name, r.target),
		Facts: authn.Facts{
			Kind: authn.Revoked, Checks: checks,
			Mend: "get another credential if only this one is revoked; who may, lifts it with kubectl delete revocations.gatehouse.dev " + r.name,
		},
	}
}

func userOf(a *v1alpha1.RevokedServiceAccount) string {
	return identity.ServiceAccountPrefix + a.Namespace + ":" + a.Name
}

// Hits reports whether a Revocation by itself would refuse who.
func Hits(r *v1alpha1.Revocation, who *identity.Identity) bool {
	x := New()
	return x.Put(r) == nil && x.Judge(who) != nil
}
