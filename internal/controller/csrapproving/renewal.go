package csrapproving

import (
	"context"
	"log/slog"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/signing"
)

// Renewals recognizes requests of those who hold a certificate of the same
// signer, for the very same subject, names and usages, and approves them until
// the signer's total lifetime is over.
//
// Who holds which certificate is not what a request says: the server has written
// into it, when it was made, with which one its sender was let in over TLS; and
// what that certificate is, and since when, is looked up in the server's own
// register. That the sender has the new key as well, the signature of the
// request has shown.
type Renewals struct {
	// Signers are those that renew.
	Signers map[string]*signing.Signer
	// Issued returns a certificate by its digest, or nil if the server has not
	// issued it, or has forgotten it.
	Issued func(ctx context.Context, digest string) (*signing.Held, error)
	Log    *slog.Logger
}

// Recognize implements [Recognizer].
func (r Renewals) Recognize(ctx context.Context, object *signingRequest, request *signing.Request) (*Approval, string, error) {
	signer, digest := r.Signers[object.Spec.SignerName], signing.Presented(object)
	if signer == nil || digest == "" {
		return nil, "", nil
	}
	held, err := r.Issued(ctx, digest)
	if err != nil || held == nil || held.Signer != signer.Name {
		return nil, "", err
	}
	holder, err := request.Holder()
	now := time.Now()
	if err != nil || holder != held.Holder || object.Spec.Username != held.User || !now.Before(held.Expires) {
		return nil, "", nil
	}
	if _, err := signer.Latest(held.Since, now); err != nil {
		r.Log.InfoContext(ctx, "a certificate is not renewed without a person", "request", object.Name, "signer", signer.Name, "user", object.Spec.Username, "err", err)
		return nil, "", nil
	}
	return &Approval{
		Reason:  signing.RenewedReason,
		Message: "Auto approving the renewal of a certificate by its holder.",
		More:    []certificatesv1.CertificateSigningRequestCondition{signing.RenewedCondition(held.Since, now)},
	}, "", nil
}
