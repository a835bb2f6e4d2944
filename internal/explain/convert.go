package explain

import (
	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// ladderOf returns what the authenticators said as the API has it.
func ladderOf(rungs []authn.Rung) []Rung {
	ladder := make([]Rung, 0, len(rungs))
	for i := range rungs {
		r := &rungs[i]
		out := Rung{
			Method: string(r.Method), Source: r.Source, Found: string(r.Found), Reason: r.Reason, Kind: string(r.Kind), Mend: r.Mend,
		}
		for _, c := range r.Checks {
			out.Checks = append(out.Checks, Check(c))
		}
		ladder = append(ladder, out)
	}
	return ladder
}

// nearestOf returns a rule that nearly allows as the API has it.
func nearestOf(n *authz.Near) Nearest {
	return Nearest{
		Binding: n.Binding, Role: n.Role, Subject: n.Subject, Differs: string(n.Differs), Has: n.Has, Wants: n.Wants, Sentence: n.String(),
	}
}

// allLost adds up what is not recorded.
func allLost(l *Lost) int64 { return l.PeerLimit + l.TotalLimit + l.Store }

// addLost adds more to l.
func addLost(l, more *Lost) {
	l.PeerLimit += more.PeerLimit
	l.TotalLimit += more.TotalLimit
	l.Store += more.Store
}

// boundedReview returns r as it is kept.
func boundedReview(r *Review) *Review {
	out := &Review{Kind: r.Kind, Asker: cut(r.Asker, maxName)}
	for _, a := range r.Audiences[:min(len(r.Audiences), maxAudiences)] {
		out.Audiences = append(out.Audiences, cut(a, maxName))
	}
	return out
}

// deny writes into r what somebody may not do, and why.
func deny(r *Request, a *authz.Attributes, reason string, err error) {
	r.User = userOf(a.User)
	r.Authorization = &Authorization{Asked: askedOf(a), Reason: cut(reason, maxPath)}
	if err != nil {
		r.Authorization.Error = cut(err.Error(), maxPath)
	}
}

// userOf returns a caller as he is kept.
func userOf(who *identity.Identity) *User {
	if who == nil {
		return nil
	}
	u := &User{
		Username: cut(who.Name, maxName), UID: cut(who.UID, maxName),
		Method: string(who.Credential.Method), Issuer: cut(who.Credential.Issuer, maxName), CredentialID: cut(who.Credential.ID, maxName),
		Digest: who.Credential.Digest,
	}
	for _, g := range who.Groups[:min(len(who.Groups), maxGroups)] {
		u.Groups = append(u.Groups, cut(g, maxName))
	}
	u.MoreGroups = len(who.Groups) - len(u.Groups)
	if ends := who.Credential.ExpiresAt; !ends.IsZero() {
		u.Expires = &ends
	}
	if who.Impersonator != nil {
		u.Impersonator = cut(who.Impersonator.Name, maxName)
	}
	return u
}

// identityOf returns who u was, as far as it is kept.
func identityOf(u *User) *identity.Identity {
	return &identity.Identity{Name: u.Username, UID: u.UID, Groups: u.Groups}
}

// askedOf returns what a request asks for as it is kept.
func askedOf(a *authz.Attributes) Asked {
	if !a.IsResource {
		return Asked{Verb: cut(a.Verb, maxName), Path: cut(a.Path, maxPath)}
	}
	return Asked{
		Verb: cut(a.Verb, maxName), Group: cut(a.APIGroup, maxName), Version: cut(a.APIVersion, maxName), Resource: cut(a.Resource, maxName),
		Subresource: cut(a.Subresource, maxName), Namespace: cut(a.Namespace, maxName), Name: cut(a.Name, maxName),
	}
}

// attributesOf returns what was asked for, of who asked.
func attributesOf(a *Asked, who *identity.Identity) *authz.Attributes {
	return &authz.Attributes{
		User: who, Verb: a.Verb, IsResource: a.Path == "", Path: a.Path, APIGroup: a.Group, APIVersion: a.Version,
		Resource: a.Resource, Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name,
	}
}
