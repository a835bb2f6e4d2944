package api

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/validation/revocation"
)

// revocationOutlives is how much longer than its credential a Revocation stays
// if nobody says otherwise.
const revocationOutlives = time.Hour

func revocations() entry {
	return &kind[*v1alpha1.Revocation]{
		gv: v1alpha1.GroupVersion(), name: "Revocation", resource: "revocations", singular: "revocation",
		table:   columns.Revocation(),
		new:     func() *v1alpha1.Revocation { return &v1alpha1.Revocation{} },
		newList: func() runtime.Object { return &v1alpha1.RevocationList{} },
		fields:  revocationFields,
		rules: rules[*v1alpha1.Revocation]{
			prepareCreate: prepareRevocation,
			validate:      revocation.ValidateRevocation, validateUpdate: revocation.ValidateRevocationUpdate,
		},
	}
}

// prepareRevocation writes into a new Revocation who has made it, whatever the
// client says about that, and what it leaves open.
func prepareRevocation(ctx context.Context, r *v1alpha1.Revocation) {
	r.Spec.Author = nil
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		r.Spec.Author = &v1alpha1.RevocationAuthor{Username: user.GetName(), UID: user.GetUID()}
		if who, ok := user.(*identity.Identity); ok {
			r.Spec.Author.CredentialID = who.Credential.ID
			if who.Impersonator != nil {
				r.Spec.Author.Impersonator = who.Impersonator.Name
			}
		}
	}
	if r.Spec.Reason == "" {
		r.Spec.Reason = v1alpha1.ReasonUnspecified
	}
	if r.Spec.ExpiresAt == nil && r.Spec.CredentialExpiresAt != nil {
		r.Spec.ExpiresAt = &metav1.Time{Time: r.Spec.CredentialExpiresAt.Add(revocationOutlives)}
	}
}

func revocationFields(r *v1alpha1.Revocation) fields.Set {
	set := fields.Set{
		"spec.user": r.Spec.User, "spec.group": r.Spec.Group, "spec.issuer": r.Spec.Issuer, "spec.credentialID": r.Spec.CredentialID,
		"spec.reason": string(r.Spec.Reason), "spec.author.username": "",
	}
	if r.Spec.Author != nil {
		set["spec.author.username"] = r.Spec.Author.Username
	}
	return set
}
