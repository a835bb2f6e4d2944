// Package explain tells operators why a request was refused: what each
// authenticator said of its credential, and which rules nearly allowed it.
//
// The one idea: the caller is told an ID that only the server could have made,
// and the operator finds by it what the caller is not told. A [Book] keeps such
// records for an hour where every process of the store finds them; an
// [Explainer] reads them, and judges credentials that nobody has presented yet.
// The Audit-ID that a caller may choose finds records too, but then all of them,
// each with its own ID, time and peer: whoever repeats it hides nothing.
//
// What strangers can write is bounded, by peer and as a whole, and what was left
// out for that is counted and told. No record holds a secret. The package
// refuses to send a credential anywhere.
package explain

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Names in the API.
const (
	Group    = "gatehouse.dev"
	Version  = "v1alpha1"
	Kind     = "Explanation"
	Resource = "explanations"
)

// An Explanation is what the API gives out, and, with a Spec, what it is asked.
type Explanation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              *Spec  `json:"spec,omitempty"`
	Status            Status `json:"status"`
}

// A Spec is a credential that might be presented. It is never kept, and an
// answer does not repeat it.
type Spec struct {
	// Token is a bearer token.
	Token string `json:"token,omitempty"`
	// Certificate is a client certificate in PEM, with its intermediates after
	// it. Nobody has to have its key: nothing is let in by an explanation.
	Certificate string `json:"certificate,omitempty"`
	// Headers are those of the request, as those of an authenticating proxy.
	Headers map[string][]string `json:"headers,omitempty"`
	// AsRequest is the request that it would come with. Without it, only the
	// credential is judged.
	AsRequest *AsRequest `json:"asRequest,omitempty"`
}

// An AsRequest is a request that might be made.
type AsRequest struct {
	// Method is that of HTTP, such as GET, and Path that of the URL, with the
	// query if there is one.
	Method string `json:"method"`
	Path   string `json:"path"`
}

// A Status is what is known.
type Status struct {
	// Requests are those that were found, the newest first.
	Requests []Request `json:"requests"`
	// More is how many were found besides.
	More int `json:"more,omitempty"`
	// KeptFor is how long a record is kept.
	KeptFor string `json:"keptFor,omitempty"`
	// NotRecorded counts the refusals in that time of which there is no record.
	NotRecorded *Lost `json:"notRecorded,omitempty"`
	// Message says in words what was not found, and what that means.
	Message string `json:"message,omitempty"`
}

// A Request is one that was refused, or might be.
type Request struct {
	// ID is what the server gave it, and AuditID what may have been the
	// caller's. Both are empty for one that was not made.
	ID      string `json:"id,omitempty"`
	AuditID string `json:"auditID,omitempty"`
	// Time is when it was answered, by Server, and Peer who was at the other
	// end of the connection.
	Time   *metav1.MicroTime `json:"time,omitempty"`
	Server string            `json:"server,omitempty"`
	Peer   string            `json:"peer,omitempty"`
	// Code is that of the answer, or would be; 200 stands for one that was let
	// in.
	Code   int    `json:"code"`
	Method string `json:"method,omitempty"`
	// Path is that of the URL, without the query.
	Path string `json:"path,omitempty"`
	// Review is set if the request was answered, and the answer was no. Then what
	// follows is about the token or the user that it asked about.
	Review *Review `json:"review,omitempty"`
	// Ladder is what the authenticators said, in their order, or why the headers of
	// impersonation cannot be read. It is empty where the caller was not in doubt.
	Ladder []authn.Rung `json:"ladder,omitempty"`
	// User is who the caller is, if that is known.
	User *User `json:"user,omitempty"`
	// Authorization is what was decided about what he may do.
	Authorization *Authorization `json:"authorization,omitempty"`
}

// A Review is the question of an API server, or of whoever else may ask.
type Review struct {
	// Kind is TokenReview, SubjectAccessReview or LocalSubjectAccessReview.
	Kind string `json:"kind"`
	// Asker is the name of who asked.
	Asker string `json:"asker"`
	// Audiences are those that the token should have been for. Without any, it
	// should have been for this server.
	Audiences []string `json:"audiences,omitempty"`
}

// A User is a caller, and what proved it.
type User struct {
	Username string   `json:"username"`
	UID      string   `json:"uid,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	// MoreGroups is how many groups there are besides.
	MoreGroups   int    `json:"moreGroups,omitempty"`
	Method       string `json:"method,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	CredentialID string `json:"credentialID,omitempty"`
	// Digest is the SHA-256 of what the signature of the credential covers.
	Digest string `json:"digest,omitempty"`
	// Registered is the name of the credential's entry in the register of what was
	// issued, if there is one.
	Registered string     `json:"registered,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`
	// Impersonator is who acts as the user.
	Impersonator string `json:"impersonator,omitempty"`
}

// An Authorization is a decision.
type Authorization struct {
	Allowed bool `json:"allowed"`
	// Asked is what was asked for.
	Asked Asked `json:"asked"`
	// Reason is what the authorizers gave as theirs.
	Reason string `json:"reason,omitempty"`
	// Error is why they could not decide.
	Error string `json:"error,omitempty"`
	// Now says what would be decided now, where that is another time.
	Now string `json:"now,omitempty"`
	// Nearest are rules that allow it but for one thing, as they are now.
	Nearest []Nearest `json:"nearest,omitempty"`
	// Instead are what would have done instead, and was denied too: there is more
	// than one way to be allowed to act as somebody.
	Instead []Authorization `json:"instead,omitempty"`
}

// Asked is what a request asked for.
type Asked struct {
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Version     string `json:"version,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
	Path        string `json:"path,omitempty"`
}

// Nearest is a rule and, in a sentence, what is different.
type Nearest struct {
	authz.Near `json:",inline"`
	Sentence   string `json:"sentence"`
}

// Lost counts refusals of which there is no record.
type Lost struct {
	// Peer counts those whose peer had others recorded, more than it may.
	Peer uint64 `json:"peerLimit"`
	// Total counts those that were more than are recorded of all peers.
	Total uint64 `json:"totalLimit"`
	// Store counts those that the store did not take.
	Store uint64 `json:"store"`
}

func (l Lost) sum() uint64 { return l.Peer + l.Total + l.Store }

func (l *Lost) add(more Lost) {
	l.Peer += more.Peer
	l.Total += more.Total
	l.Store += more.Store
}

// A Denial is what is recorded of a request whose caller may not do it.
type Denial struct {
	// Ladder is what the authenticators said, if the caller thinks that he is
	// somebody else than they do.
	Ladder []authn.Rung
	// Lacking is what he may not do. The first counts; the others are what would
	// have done instead.
	Lacking []Lack
}

// A Lack is one thing that somebody may not do, and the reason given.
type Lack struct {
	Asked  *authz.Attributes
	Reason string
}

// Bounds of what is kept of one request, in bytes and entries.
const (
	maxPath   = 1024
	maxName   = 512
	maxGroups = 64
	// maxAudiences is how many are kept of those that a review asks for.
	maxAudiences = 16
	// maxRecord is the size of a record as JSON. What is larger loses its
	// checks, then its reasons.
	maxRecord = 16 << 10
)

// bounded returns r as it is kept.
func (r *Review) bounded() *Review {
	out := &Review{Kind: r.Kind, Asker: cut(r.Asker, maxName)}
	for _, a := range r.Audiences[:min(len(r.Audiences), maxAudiences)] {
		out.Audiences = append(out.Audiences, cut(a, maxName))
	}
	return out
}

// denied writes down what somebody may not do, and why.
func (r *Request) denied(a *authz.Attributes, reason string, err error) {
	r.User = userOf(a.User)
	r.Authorization = &Authorization{Asked: askedOf(a), Reason: cut(reason, maxPath)}
	if err != nil {
		r.Authorization.Error = cut(err.Error(), maxPath)
	}
}

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

// identity is who u was, as far as it is kept.
func (u *User) identity() *identity.Identity {
	return &identity.Identity{Name: u.Username, UID: u.UID, Groups: u.Groups}
}

func askedOf(a *authz.Attributes) Asked {
	if !a.IsResource {
		return Asked{Verb: cut(a.Verb, maxName), Path: cut(a.Path, maxPath)}
	}
	return Asked{
		Verb: cut(a.Verb, maxName), Group: cut(a.APIGroup, maxName), Version: cut(a.APIVersion, maxName), Resource: cut(a.Resource, maxName),
		Subresource: cut(a.Subresource, maxName), Namespace: cut(a.Namespace, maxName), Name: cut(a.Name, maxName),
	}
}

func (a *Asked) attributes(who *identity.Identity) *authz.Attributes {
	return &authz.Attributes{
		User: who, Verb: a.Verb, IsResource: a.Path == "", Path: a.Path, APIGroup: a.Group, APIVersion: a.Version,
		Resource: a.Resource, Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name,
	}
}
