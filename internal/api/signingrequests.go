package api

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"

	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/validation/certificates"
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
	}
	r.Status = certificatesv1.CertificateSigningRequestStatus{}
}

// prepareApproved lets a write through /approval change the conditions alone.
func prepareApproved(_ context.Context, r, old *signingRequest) {
	conditions := r.Status.Conditions
	r.Spec, r.Status = old.Spec, old.Status
	r.Status.Conditions = conditions
	stampConditions(r, old)
}

// prepareSigned lets a write through /status change everything but the verdict,
// which belongs to /approval.
func prepareSigned(_ context.Context, r, old *signingRequest) {
	r.Spec = old.Spec
	var kept []certificatesv1.CertificateSigningRequestCondition
	for _, c := range r.Status.Conditions {
		if !verdict(c.Type) {
			kept = append(kept, c)
		}
	}
	for _, c := range old.Status.Conditions {
		if verdict(c.Type) {
			kept = append(kept, c)
		}
	}
	r.Status.Conditions = kept
	stampConditions(r, old)
}

func verdict(t certificatesv1.RequestConditionType) bool {
	return t == certificatesv1.CertificateApproved || t == certificatesv1.CertificateDenied
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
