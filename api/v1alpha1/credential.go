package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Credential is an entry of the register of what was issued: a token or a client
// certificate. Nobody can write one.
type Credential struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata
	metav1.ObjectMeta `json:"metadata"`

	// Status is what is known of the credential.
	Status CredentialStatus `json:"status"`
}

// A CredentialList is a part of the register, what ends first at the beginning.
type CredentialList struct {
	metav1.TypeMeta `json:",inline"`
	// Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the entries.
	Items []Credential `json:"items"`
}

// A CredentialStatus is what is known of a credential.
type CredentialStatus struct {
	// Method is the kind of credential, as in audit events: ServiceAccount for a
	// token that was requested, LegacyServiceAccount for one in a Secret, X509 for
	// a client certificate.
	Method string `json:"method"`
	// User is for whom it is.
	User CredentialUser `json:"user"`
	// RequestedBy is who asked for it.
	RequestedBy CredentialRequester `json:"requestedBy"`
	// BoundTo is the object that the credential ends with.
	BoundTo *CredentialReference `json:"boundTo,omitempty"`
	// Audiences are those of a token.
	// +listType=atomic
	Audiences []string `json:"audiences,omitempty"`
	// SignerName is the signer of a certificate.
	SignerName string `json:"signerName,omitempty"`
	// RenewedFrom is the name of the entry of the certificate that this one was renewed from, or that the same user got it with from another signer.
	RenewedFrom string `json:"renewedFrom,omitempty"`
	// FirstOfChain is the name of the entry of the first certificate of those that were got with one another until this one.
	FirstOfChain string `json:"firstOfChain,omitempty"`
	// Issuer is who vouches: the iss of a token, or X509SHA256= and the hash of the
	// certificate of a certificate authority.
	Issuer string `json:"issuer,omitempty"`
	// CredentialID is what a request with the credential has in the extra attribute
	// authentication.kubernetes.io/credential-id.
	CredentialID string `json:"credentialID,omitempty"`
	// KeyID names the key that vouches.
	KeyID string `json:"keyID,omitempty"`
	// SerialNumber is that of a certificate, in hexadecimal.
	SerialNumber string `json:"serialNumber,omitempty"`
	// Digest is the SHA-256, in hexadecimal, of what the signature covers.
	Digest string `json:"digest,omitempty"`
	// IssueTime is when it was issued.
	IssueTime metav1.Time `json:"issueTime"`
	// ExpirationTime is when it ends. There is none if it does not.
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`
	// LastUsedTime is the hour in which it was last used, if it ever was.
	LastUsedTime *metav1.Time `json:"lastUsedTime,omitempty"`
}

// A CredentialUser is for whom a credential is.
type CredentialUser struct {
	// Username is the name of the user.
	Username string `json:"username"`
	// UID is that of the user, or of the service account.
	UID string `json:"uid,omitempty"`
	// Groups are those that the credential says.
	// +listType=atomic
	Groups []string `json:"groups,omitempty"`
	// MoreGroups is how many groups there are besides.
	MoreGroups int `json:"moreGroups,omitempty"`
}

// A CredentialRequester is who asked for a credential.
type CredentialRequester struct {
	// Username is the name of the user.
	Username string `json:"username"`
	// UID is that of the user.
	UID string `json:"uid,omitempty"`
	// Impersonator is who acted as the user.
	Impersonator string `json:"impersonator,omitempty"`
	// Method is the kind of credential that he was let in with.
	Method string `json:"method,omitempty"`
	// CredentialID is the ID of that credential.
	CredentialID string `json:"credentialID,omitempty"`
	// Address is where the request came from.
	Address string `json:"address,omitempty"`
}

// A CredentialReference names an object.
type CredentialReference struct {
	// Kind is that of the object.
	Kind string `json:"kind"`
	// Namespace is that of the object, if it has one.
	Namespace string `json:"namespace,omitempty"`
	// Name is that of the object.
	Name string `json:"name"`
	// UID is that of the object.
	UID types.UID `json:"uid,omitempty"`
}
