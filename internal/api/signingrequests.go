package api

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/validation/certificates"
	"gatehouse.dev/gatehouse/internal/signing"
)

type signingRequest = certificatesv1.CertificateSigningRequest

func signingRequests() entry {
	k := &kind[*signingRequest]{
		gv: certificatesv1.SchemeGroupVersion, name: "CertificateSigningRequest",
		resource: "certificatesigningrequests", singular: "certificatesigningrequest",
		short: []string{"csr"}, createOnUpdate: false, table: columns.CertificateSigningRequest(),
		new:     func() *signingRequest { return &signingRequest{} },
		newList: func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
		fields: func(r *signingRequest) fields.Set {
			return fields.Set{"spec.signerName": r.Spec.SignerName}
		},
		ownedByStatus: []string{"status"}, keptByStatus: []string{"spec", "status.conditions"},
		rules: rules[*signingRequest]{
			prepareCreate: stampRequester,
			prepareUpdate: func(_ context.Context, r, old *signingRequest) {
				r.Spec, r.Status = old.Spec, old.Status
			},
			validate: certificates.ValidateCertificateSigningRequest, validateUpdate: certificates.ValidateCertificateSigningRequestUpdate,
		},
		status: &rules[*signingRequest]{
			prepareUpdate:  prepareSigned,
			validateUpdate: certificates.ValidateCertificateSigningRequestStatusUpdate,
		},
	}
	k.extend = func(in *installer, store *registry.Store, _ map[string]rest.Storage) {
		k.subresource(in, store, "approval", rules[*signingRequest]{
			prepareUpdate:  prepareApproved,
			validateUpdate: certificates.ValidateCertificateSigningRequestApprovalUpdate,
		}, "spec", "status.certificate")
	}
	return k
}

// stampRequester writes into the request who made it. Whatever the client says
// about that is overwritten: the approver decides by it.
func stampRequester(ctx context.Context, r *signingRequest) {
	r.Spec.Username, r.Spec.UID, r.Spec.Groups, r.Spec.Extra = "", "", nil, nil
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		r.Spec.Username, r.Spec.UID = user.GetName(), user.GetUID()
		r.Spec.Groups = append([]string(nil), user.GetGroups()...)
		for key, values := range user.GetExtra() {
			if r.Spec.Extra == nil {
				r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
			}
			r.Spec.Extra[key] = append([]string(nil), values...)
		}
		stampAskedWith(r, user)
	}
	r.Status = certificatesv1.CertificateSigningRequestStatus{}
}

// stampAskedWith writes into the request which credential its sender was let in
// with: the holder of a certificate may renew it, and whoever is not let in any
// more when it is signed gets none. Extra attributes may be the word of a proxy or
// of an impersonator; this one never is.
func stampAskedWith(r *signingRequest, user user.Info) {
	delete(r.Spec.Extra, signing.AskedWithKey)
	id, ok := user.(*identity.Identity)
	if !ok {
		return
	}
	text, err := signing.AskedWith(id)
	if err != nil {
		return // texts and numbers can be written
	}
	if r.Spec.Extra == nil {
		r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
	}
	r.Spec.Extra[signing.AskedWithKey] = certificatesv1.ExtraValue{text}
}

// prepareApproved lets a write through /approval change the conditions alone.
func prepareApproved(_ context.Context, r, old *signingRequest) {
	conditions := r.Status.Conditions
	r.Spec, r.Status = old.Spec, old.Status
	r.Status.Conditions = conditions
	stampConditions(r, old)
}

// prepareSigned lets a write through /status change everything but the verdict,
// which belongs to /approval. A client that sends the verdict back need not have
// every detail of it; one that adds or removes one is refused by validation.
func prepareSigned(_ context.Context, r, old *signingRequest) {
	r.Spec = old.Spec
	keepVerdict(r, old, certificatesv1.CertificateApproved)
	keepVerdict(r, old, certificatesv1.CertificateDenied)
	stampConditions(r, old)
}

// keepVerdict puts the stored conditions of one type where r has them, if it has
// as many.
func keepVerdict(r, old *signingRequest, t certificatesv1.RequestConditionType) {
	stored, sent := placesOf(old, t), placesOf(r, t)
	if len(stored) != len(sent) {
		return
	}
	for i, place := range sent {
		r.Status.Conditions[place] = old.Status.Conditions[stored[i]]
	}
}

func placesOf(r *signingRequest, t certificatesv1.RequestConditionType) []int {
	var places []int
	for i, c := range r.Status.Conditions {
		if c.Type == t {
			places = append(places, i)
		}
	}
	return places
}

// stampConditions sets the times that a client left out.
func stampConditions(r, old *signingRequest) {
	now := metav1.Now()
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = now
			for _, before := range old.Status.Conditions {
				if before.Type == c.Type && before.Status == c.Status {
					c.LastTransitionTime = before.LastTransitionTime
				}
			}
		}
	}
}
