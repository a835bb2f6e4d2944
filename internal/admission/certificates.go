package admission

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

type request = certificatesv1.CertificateSigningRequest

func isRequest(a admission.Attributes, op admission.Operation, subresource string) bool {
	return a.GetKind().Group == certificatesv1.GroupName && a.GetResource().Resource == "certificatesigningrequests" &&
		a.GetOperation() == op && a.GetSubresource() == subresource
}

// Approval is the plugin CertificateApproval: approving or denying a request
// takes the permission to approve for its signer.
type Approval struct{ Authorizer authz.Authorizer }

// Handles is true for updates of /approval.
func (Approval) Handles(a admission.Attributes) bool {
	return isRequest(a, admission.Update, "approval")
}

// Judge asks for the verb approve. The signer is that of the stored request:
// what the caller sent could name another one.
func (p Approval) Judge(ctx context.Context, a admission.Attributes) error {
	return forSigner(ctx, p.Authorizer, a, "approve")
}

// Signing is the plugin CertificateSigning: putting a certificate or a failure
// into a request takes the permission to sign for its signer.
type Signing struct{ Authorizer authz.Authorizer }

// Handles is true for updates of /status.
func (Signing) Handles(a admission.Attributes) bool { return isRequest(a, admission.Update, "status") }

// Judge asks for the verb sign if certificate or conditions change.
func (p Signing) Judge(ctx context.Context, a admission.Attributes) error {
	old, isOld := a.GetOldObject().(*request)
	updated, isNew := a.GetObject().(*request)
	if !isOld || !isNew {
		return apierrors.NewInternalError(errors.New("the object is no CertificateSigningRequest"))
	}
	if slices.Equal(old.Status.Certificate, updated.Status.Certificate) &&
		reflect.DeepEqual(old.Status.Conditions, updated.Status.Conditions) {
		return nil
	}
	return forSigner(ctx, p.Authorizer, a, "sign")
}

// forSigner asks whether the caller has verb on the request's signer, by its
// full name or by that of its domain.
func forSigner(ctx context.Context, authorizer authz.Authorizer, a admission.Attributes, verb string) error {
	stored, ok := a.GetOldObject().(*request)
	if !ok {
		return apierrors.NewInternalError(errors.New("the stored object is no CertificateSigningRequest"))
	}
	user, err := caller(a.GetUserInfo())
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	signer := stored.Spec.SignerName
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		allowed, err := permitted(ctx, authorizer, &authz.Attributes{
			User: user, Verb: verb, IsResource: true,
			APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", Name: name,
		})
		if allowed {
			return nil
		}
		if err != nil {
			return apierrors.NewInternalError(err)
		}
	}
	return admission.NewForbidden(a, fmt.Errorf("user not permitted to %s requests with signerName %q", verb, signer))
}

// SubjectRestriction is the plugin CertificateSubjectRestriction: nobody gets a
// client certificate of a group that RBAC cannot take back.
type SubjectRestriction struct{}

// Handles is true for new requests.
func (SubjectRestriction) Handles(a admission.Attributes) bool {
	return isRequest(a, admission.Create, "")
}

// Judge refuses the organization system:masters for client certificates.
func (SubjectRestriction) Judge(_ context.Context, a admission.Attributes) error {
	csr, ok := a.GetObject().(*request)
	if !ok {
		return apierrors.NewInternalError(errors.New("the object is no CertificateSigningRequest"))
	}
	if csr.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return nil
	}
	parsed, err := parseRequest(csr.Spec.Request)
	if err != nil {
		return admission.NewForbidden(a, fmt.Errorf("parsing spec.request: %w", err))
	}
	if slices.Contains(parsed.Subject.Organization, identity.GroupMasters) {
		return admission.NewForbidden(a, fmt.Errorf("use of %s signer with %s group is not allowed",
			certificatesv1.KubeAPIServerClientSignerName, identity.GroupMasters))
	}
	return nil
}

func parseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}
