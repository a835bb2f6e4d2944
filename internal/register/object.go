package register

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// Names in the API.
const (
	Group    = v1alpha1.Group
	Version  = v1alpha1.Version
	Kind     = "Credential"
	Resource = "credentials"
)

// The types of the API are public; these are they.
type (
	// Credential is that of the API.
	Credential = v1alpha1.Credential
	// CredentialList is that of the API.
	CredentialList = v1alpha1.CredentialList
	// CredentialStatus is that of the API.
	CredentialStatus = v1alpha1.CredentialStatus
	// CredentialUser is that of the API.
	CredentialUser = v1alpha1.CredentialUser
	// CredentialRequester is that of the API.
	CredentialRequester = v1alpha1.CredentialRequester
	// CredentialReference is that of the API.
	CredentialReference = v1alpha1.CredentialReference
)

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
			Audiences: e.Audiences, SignerName: e.Signer, RenewedFrom: e.Parent, FirstOfChain: e.First,
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
