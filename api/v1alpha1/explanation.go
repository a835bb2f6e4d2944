package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An Explanation says why requests were refused, or what would be said of a
// credential that nobody has presented yet. It is got by the ID of a request or by
// an audit ID, or created with a spec, and never stored.
type Explanation struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata
	metav1.ObjectMeta `json:"metadata"`

	// Spec is what is asked about, and is set in a create alone.
	Spec *ExplanationSpec `json:"spec,omitempty"`
	// Status is what is known.
	Status ExplanationStatus `json:"status"`
}

// An ExplanationSpec is a credential that might be presented. It is never kept,
// and an answer does not repeat it.
type ExplanationSpec struct {
	// Token is a bearer token.
	Token string `json:"token,omitempty"`
	// Certificate is a client certificate in PEM, with its intermediates after it.
	// Nobody has to have its key: nothing is let in by an explanation.
	Certificate string `json:"certificate,omitempty"`
	// Headers are those of the request, as those of an authenticating proxy, or of impersonation.
	Headers map[string][]string `json:"headers,omitempty"`
	// AsRequest is the request that it would come with. Without it, only the
	// credential is judged.
	AsRequest *ExplanationAsRequest `json:"asRequest,omitempty"`
}

// An ExplanationAsRequest is a request that might be made.
type ExplanationAsRequest struct {
	// Method is that of HTTP, such as GET.
	Method string `json:"method"`
	// Path is that of the URL, with the query if there is one.
	Path string `json:"path"`
}

// An ExplanationStatus is what is known.
type ExplanationStatus struct {
	// Requests are those that were found, the newest first.
	// +listType=atomic
	Requests []ExplanationRequest `json:"requests"`
	// More is how many were found besides.
	More int `json:"more,omitempty"`
	// KeptFor is how long a record is kept.
	KeptFor string `json:"keptFor,omitempty"`
	// NotRecorded counts the refusals in that time of which there is no record.
	NotRecorded *ExplanationLost `json:"notRecorded,omitempty"`
	// Message says in words what was not found, and what that means.
	Message string `json:"message,omitempty"`
}

// An ExplanationRequest is a request that was refused, or might be.
type ExplanationRequest struct {
	// ID is what the server gave it. There is none if it was not made.
	ID string `json:"id,omitempty"`
	// AuditID is that of its audit event, which its caller may have chosen. There is
	// none if it was not made.
	AuditID string `json:"auditID,omitempty"`
	// Time is when it was answered.
	Time *metav1.MicroTime `json:"time,omitempty"`
	// Server is the process that has answered.
	Server string `json:"server,omitempty"`
	// Peer is the address at the other end of the connection.
	Peer string `json:"peer,omitempty"`
	// Code is that of the answer, or would be; 200 stands for one that was let in.
	Code int `json:"code"`
	// Method is that of HTTP.
	Method string `json:"method,omitempty"`
	// Path is that of the URL, without the query.
	Path string `json:"path,omitempty"`
	// Review is set if the request asked about a token or a user, which what follows
	// is about then, and the answer was no, or there was none.
	Review *ExplanationReview `json:"review,omitempty"`
	// Ladder is what the authenticators said, in their order, or why the headers of
	// impersonation cannot be read. It is empty where the caller was not in doubt.
	// +listType=atomic
	Ladder []ExplanationRung `json:"ladder,omitempty"`
	// User is who the caller is, if that is known.
	User *ExplanationUser `json:"user,omitempty"`
	// Authorization is what was decided about what the caller may do.
	Authorization *ExplanationAuthorization `json:"authorization,omitempty"`
}

// An ExplanationReview is the question of an API server, or of whoever else may
// ask.
type ExplanationReview struct {
	// Kind is TokenReview, SubjectAccessReview or LocalSubjectAccessReview.
	Kind string `json:"kind"`
	// Asker is the name of who asked.
	Asker string `json:"asker"`
	// Audiences are those that the token should have been for. Without any, it
	// should have been for this server.
	// +listType=atomic
	Audiences []string `json:"audiences,omitempty"`
}

// An ExplanationRung is what one authenticator said about a request.
type ExplanationRung struct {
	// Method is the kind of credential that it understands, as in audit events.
	Method string `json:"method"`
	// Source says which of several of its method it is, such as the URL of an issuer
	// or the name of a file.
	Source string `json:"source,omitempty"`
	// Found is how it answered: passed if there was no credential of its kind,
	// refused if that was bad, or accepted.
	Found string `json:"found"`
	// Reason is why the credential was not accepted.
	Reason string `json:"reason,omitempty"`
	// Kind is the kind of that reason, as metrics count it, such as expired or
	// audience.
	Kind string `json:"kind,omitempty"`
	// Checks are what was looked at, in that order. The one that failed, if it is one
	// that can be compared, is the last.
	// +listType=atomic
	Checks []ExplanationCheck `json:"checks,omitempty"`
	// Mend says what the operator or the owner of the credential can do.
	Mend string `json:"mend,omitempty"`
}

// An ExplanationCheck is one thing that an authenticator looked at, with what it
// compared. It never holds any part of a secret.
type ExplanationCheck struct {
	// What was looked at, such as "audience (aud)".
	What string `json:"what"`
	// Got is what the credential says.
	Got string `json:"got,omitempty"`
	// Want is what it should say.
	Want string `json:"want,omitempty"`
	// OK is whether it does.
	OK bool `json:"ok"`
}

// An ExplanationUser is a caller, and what proved it.
type ExplanationUser struct {
	// Username is the name of the user.
	Username string `json:"username"`
	// UID is that of the user.
	UID string `json:"uid,omitempty"`
	// Groups are those of the user.
	// +listType=atomic
	Groups []string `json:"groups,omitempty"`
	// MoreGroups is how many groups there are besides.
	MoreGroups int `json:"moreGroups,omitempty"`
	// Method is the kind of credential, as in audit events.
	Method string `json:"method,omitempty"`
	// Issuer is who vouches for the credential.
	Issuer string `json:"issuer,omitempty"`
	// CredentialID is what a request with the credential has in the extra attribute
	// authentication.kubernetes.io/credential-id.
	CredentialID string `json:"credentialID,omitempty"`
	// Digest is the SHA-256 of what the signature of the credential covers.
	Digest string `json:"digest,omitempty"`
	// Registered is the name of the Credential, if there is one.
	Registered string `json:"registered,omitempty"`
	// Expires is when the credential ends.
	Expires *time.Time `json:"expires,omitempty"`
	// Impersonator is who acts as the user.
	Impersonator string `json:"impersonator,omitempty"`
}

// An ExplanationAuthorization is a decision.
type ExplanationAuthorization struct {
	// Allowed is what was decided.
	Allowed bool `json:"allowed"`
	// Asked is what was asked for.
	Asked ExplanationAsked `json:"asked"`
	// Reason is what the authorizers gave as theirs.
	Reason string `json:"reason,omitempty"`
	// Error is why they could not decide.
	Error string `json:"error,omitempty"`
	// Now says what would be decided now, where that is another time.
	Now string `json:"now,omitempty"`
	// Nearest are rules that allow it but for one thing, as they are now.
	// +listType=atomic
	Nearest []ExplanationNearest `json:"nearest,omitempty"`
	// Roles would allow it if they were bound to the user, as they are now, those
	// first that allow the least. Roles that are made for a part of the system, and
	// those that allow everything, are not among them.
	// +listType=atomic
	Roles []ExplanationRole `json:"roles,omitempty"`
	// Rule is what a role needs to allow it and nothing else.
	Rule string `json:"rule,omitempty"`
	// Instead are what would have done instead, and was denied too: there is more
	// than one way to be allowed to act as somebody.
	// +listType=atomic
	Instead []ExplanationAuthorization `json:"instead,omitempty"`
}

// ExplanationAsked is what a request asked for: a path, or something of a resource.
type ExplanationAsked struct {
	// Verb is what it would do.
	Verb string `json:"verb"`
	// Group is that of the resource.
	Group string `json:"group,omitempty"`
	// Version is that of the group.
	Version string `json:"version,omitempty"`
	// Resource is the name of the resource, such as pods.
	Resource string `json:"resource,omitempty"`
	// Subresource is a part of it, such as log.
	Subresource string `json:"subresource,omitempty"`
	// Namespace is that of the object. Without it, the whole cluster is meant.
	Namespace string `json:"namespace,omitempty"`
	// Name is that of the object.
	Name string `json:"name,omitempty"`
	// Path is that of a request for no resource.
	Path string `json:"path,omitempty"`
}

// String says what is asked for, as in a denial.
func (a *ExplanationAsked) String() string {
	if a.Path != "" {
		return a.Verb + " " + a.Path
	}
	text := a.Verb + " " + a.Resource
	if a.Group != "" {
		text += "." + a.Group
	}
	if a.Subresource != "" {
		text += "/" + a.Subresource
	}
	if a.Name != "" {
		text += " " + a.Name
	}
	if a.Namespace != "" {
		return text + " in namespace " + a.Namespace
	}
	return text + " in the whole cluster"
}

// An ExplanationNearest is a rule of the caller that would allow a request if one
// thing were not different.
type ExplanationNearest struct {
	// Binding is where the rule comes from, such as RoleBinding "read" in namespace "x".
	Binding string `json:"binding"`
	// Role is what is bound, such as ClusterRole "reader".
	Role string `json:"role"`
	// Subject is whom of the caller's names and groups it is bound to.
	Subject string `json:"subject"`
	// Differs is the one thing: resourceName, subresource, verb, namespace, apiGroup,
	// resource or path, or role if there is no such role.
	Differs string `json:"differs"`
	// Has is what the rule has for it.
	// +listType=atomic
	Has []string `json:"has,omitempty"`
	// Wants is what the request needs.
	Wants string `json:"wants"`
	// Sentence says all that.
	Sentence string `json:"sentence"`
}

// An ExplanationRole is a role that would allow a request if it were bound to the
// user.
type ExplanationRole struct {
	// Role is what to bind, such as ClusterRole "view".
	Role string `json:"role"`
	// Command binds it to the user, where the request is made.
	Command string `json:"command"`
}

// An ExplanationLost counts refusals of which there is no record.
type ExplanationLost struct {
	// PeerLimit counts those whose peer had others recorded, as many as it may.
	PeerLimit int64 `json:"peerLimit"`
	// TotalLimit counts those that were more than are recorded of all peers.
	TotalLimit int64 `json:"totalLimit"`
	// Store counts those that the store did not take.
	Store int64 `json:"store"`
}
