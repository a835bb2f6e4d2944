package csrapproving

import (
	"context"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/internal/signing"
)

// Own recognizes the requests to signers of one's own that approve by
// themselves: what keeps to the rules of the signer is approved, if who asks has
// the verb auto-approve on it.
type Own struct {
	Authorizer authz.Authorizer
	// Signers are those that approve by themselves.
	Signers map[string]*signing.Signer
	// Issued is as in [Renewals].
	Issued func(ctx context.Context, digest string) (*signing.Held, error)
}

// Recognize implements [Recognizer].
func (o Own) Recognize(ctx context.Context, object *signingRequest, request *signing.Request) (*Approval, string, error) {
	signer := o.Signers[object.Spec.SignerName]
	if signer == nil || signer.Check(request) != nil {
		return nil, "", nil
	}
	if over, err := o.continues(ctx, object, request, signer); err != nil || over {
		return nil, "", err
	}
	domain, _, _ := strings.Cut(signer.Name, "/")
	for _, name := range []string{signer.Name, domain + "/*"} {
		allowed, err := permitted(ctx, o.Authorizer, &authz.Attributes{
			User: signing.Asker(object), Verb: "auto-approve", IsResource: true, APIGroup: certificatesv1.GroupName, APIVersion: "*",
			Resource: "signers", Name: name,
		})
		if err != nil {
			return nil, "auto-approve", err
		}
		if allowed {
			return &Approval{Reason: signing.AutoApprovedReason, Message: "Auto approving what the rules of the signer allow its requester."}, "auto-approve", nil
		}
	}
	return nil, "auto-approve", nil
}

// continues reports whether a request comes back to a signer whose chains of
// renewals end one day. Only [Renewals] approves that: or else the chain would go
// on for ever, each certificate of it asking for the next one, be it of the same
// signer or of another one in between.
func (o Own) continues(ctx context.Context, object *signingRequest, request *signing.Request, signer *signing.Signer) (bool, error) {
	digest := signing.Presented(object)
	if digest == "" || signer.Renewable == 0 {
		return false, nil
	}
	held, err := o.Issued(ctx, digest)
	return held.Precedes(request) && held.CameThrough(signer.Name), err
}
