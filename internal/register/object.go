package register

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Names in the API.
const (
	Group    = "gatehouse.dev"
	Version  = "v1alpha1"
	Kind     = "Credential"
	Resource = "credentials"
)

// A Credential is an entry as the API gives it out. Nobody can write one.
type Credential struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Status            CredentialStatus `json:"status"`
}

// A CredentialList is a part of the register, what ends first at the beginning.
type CredentialList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Credential `json:"items"`
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
	Audiences []string `json:"audiences,omitempty"`
	// SignerName is the signer of a certificate.
	SignerName string `json:"signerName,omitempty"`
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
	Username string   `json:"username"`
	UID      string   `json:"uid,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	// MoreGroups is how many groups there are besides.
	MoreGroups int `json:"moreGroups,omitempty"`
}

// A CredentialRequester is who asked for a credential.
type CredentialRequester struct {
	Username string `json:"username"`
	UID      string `json:"uid,omitempty"`
	// Impersonator is who acted as the user.
	Impersonator string `json:"impersonator,omitempty"`
	// Method and CredentialID are of the credential that he was let in with.
	Method       string `json:"method,omitempty"`
	CredentialID string `json:"credentialID,omitempty"`
	// Address is where the request came from.
	Address string `json:"address,omitempty"`
}

// A CredentialReference names an object.
type CredentialReference struct {
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"`
}

// Expired reports whether the credential has ended by now.
func (s *CredentialStatus) Expired(now time.Time) bool {
	return s.ExpirationTime != nil && !now.Before(s.ExpirationTime.Time)
}

// Object returns the entry as the API gives it out.
func (e *Entry) Object() Credential {
	c := Credential{
		TypeMeta: metav1.TypeMeta{Kind: Kind, APIVersion: Group + "/" + Version},
		ObjectMeta: metav1.ObjectMeta{
			Name: e.Name(), CreationTimestamp: metav1.NewTime(e.Issued), ResourceVersion: strconv.FormatInt(e.Revision, 10),
		},
		Status: CredentialStatus{
			Method: string(e.Method),
			User:   CredentialUser{Username: e.User, UID: e.UID, Groups: e.Groups, MoreGroups: e.MoreGroups},
			RequestedBy: CredentialRequester{
				Username: e.Asker.User, UID: e.Asker.UID, Impersonator: e.Asker.Impersonator,
				Method: string(e.Asker.Method), CredentialID: e.Asker.ID, Address: e.Asker.Address,
			},
			Audiences: e.Audiences, SignerName: e.Signer,
			Issuer: e.Issuer, CredentialID: e.ID, KeyID: e.KeyID, SerialNumber: e.Serial, Digest: e.Digest,
			IssueTime: metav1.NewTime(e.Issued), ExpirationTime: timeOf(e.Expires), LastUsedTime: timeOf(e.LastUsed),
		},
	}
	if b := e.Bound; b != nil {
		c.Status.BoundTo = &CredentialReference{Kind: b.Kind, Namespace: b.Namespace, Name: b.Name, UID: types.UID(b.UID)}
	}
	return c
}

func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	out := metav1.NewTime(t)
	return &out
}
