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
	"k8s.io/apimachinery/pkg/api/equality"
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

// forSigner asks whether the caller has verb on the signer of the stored
// request.
func forSigner(ctx context.Context, authorizer authz.Authorizer, a admission.Attributes, verb string) error {
	stored, ok := a.GetOldObject().(*request)
	if !ok {
		return apierrors.NewInternalError(errors.New("the stored object is no CertificateSigningRequest"))
	}
	signer := stored.Spec.SignerName
	allowed, err := onSigner(ctx, authorizer, a, verb, signer)
	if err != nil || allowed {
		return err
	}
	return admission.NewForbidden(a, fmt.Errorf("user not permitted to %s requests with signerName %q", verb, signer))
}

// onSigner reports whether the caller has verb on a signer, by its full name or
// by that of its domain. The error is an API error.
func onSigner(ctx context.Context, authorizer authz.Authorizer, a admission.Attributes, verb, signer string) (bool, error) {
	user, err := caller(a.GetUserInfo())
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		allowed, err := permitted(ctx, authorizer, &authz.Attributes{
			User: user, Verb: verb, IsResource: true,
			APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", Name: name,
		})
		if allowed {
			return true, nil
		}
		if err != nil {
			return false, apierrors.NewInternalError(err)
		}
	}
	return false, nil
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

// Attest is the plugin ClusterTrustBundleAttest: saying whom to trust in the
// name of a signer takes the permission to attest for it.
type Attest struct{ Authorizer authz.Authorizer }

// Handles is true for new and updated bundles.
func (Attest) Handles(a admission.Attributes) bool {
	return a.GetResource().Group == certificatesv1.GroupName && a.GetResource().Resource == "clustertrustbundles" &&
		(a.GetOperation() == admission.Create || a.GetOperation() == admission.Update)
}

// Judge asks for the verb attest. The signer of the new object will do:
// validation refuses to change it. Who changes nothing but what the garbage
// collector does, or nothing at all, needs no permission of the signer's.
func (p Attest) Judge(ctx context.Context, a admission.Attributes) error {
	bundle, ok := a.GetObject().(*certificatesv1.ClusterTrustBundle)
	if !ok {
		return admission.NewForbidden(a, fmt.Errorf("expected type ClusterTrustBundle, got: %T", a.GetOldObject()))
	}
	if bundle.Spec.SignerName == "" {
		return nil
	}
	if old, ok := a.GetOldObject().(*certificatesv1.ClusterTrustBundle); ok && a.GetOperation() == admission.Update && onlyOwners(bundle, old) {
		return nil
	}
	allowed, err := onSigner(ctx, p.Authorizer, a, "attest", bundle.Spec.SignerName)
	if err != nil || allowed {
		return err
	}
	return admission.NewForbidden(a, fmt.Errorf("user not permitted to attest for signerName %q", bundle.Spec.SignerName))
}

// onlyOwners reports whether two bundles differ in nothing but owners and
// finalizers, and in who manages which field.
func onlyOwners(updated, old *certificatesv1.ClusterTrustBundle) bool {
	copied := updated.DeepCopy()
	copied.OwnerReferences, copied.Finalizers, copied.ManagedFields = old.OwnerReferences, old.Finalizers, old.ManagedFields
	return equality.Semantic.DeepEqual(copied, old)
}
