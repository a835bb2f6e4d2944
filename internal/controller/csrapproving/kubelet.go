package csrapproving

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/internal/signing"
)

// Kubelets recognizes the client certificates of kubelets: the first one, for
// which the machine has a bootstrap token, and the next, for which the node has
// the one before. Either takes a permission of its own.
func Kubelets(authorizer authz.Authorizer) []Recognizer {
	return []Recognizer{
		kubelet{authorizer, "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."},
		kubelet{authorizer, "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."},
	}
}

type kubelet struct {
	authorizer  authz.Authorizer
	subresource string
	message     string
}

// Recognize implements [Recognizer].
func (k kubelet) Recognize(ctx context.Context, object *signingRequest, request *signing.Request) (*Approval, string, error) {
	if !signing.IsKubeletClient(request) {
		return nil, "", nil
	}
	if k.subresource == "selfnodeclient" && object.Spec.Username != request.PKCS10.Subject.CommonName {
		return nil, "", nil
	}
	allowed, err := permitted(ctx, k.authorizer, &authz.Attributes{
		User: signing.Asker(object), Verb: "create", IsResource: true, APIGroup: certificatesv1.GroupName, APIVersion: "*",
		Resource: "certificatesigningrequests", Subresource: k.subresource,
	})
	if err != nil || !allowed {
		return nil, k.subresource, err
	}
	return &Approval{Reason: signing.AutoApprovedReason, Message: k.message}, k.subresource, nil
}

func permitted(ctx context.Context, authorizer authz.Authorizer, a *authz.Attributes) (bool, error) {
	answer, err := authorizer.Authorize(ctx, a)
	if answer.Verdict == authz.Allow {
		return true, nil
	}
	return false, err
}
