package certificates

import (
	"bytes"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateCertificateSigningRequestUpdate returns what is wrong with putting
// updated in the place of old. That the spec stays as it is, whoever asks for
// what, is the strategy's to see to.
func ValidateCertificateSigningRequestUpdate(updated, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := update(updated, old)
	errs = append(errs, sameDecision(updated, old)...)
	return append(errs, sameCertificate(updated, old, "updates may not set certificate content")...)
}

// ValidateCertificateSigningRequestStatusUpdate returns what is wrong with the
// new status. It may set the certificate, once, and Failed, and neither approve
// nor deny.
func ValidateCertificateSigningRequestStatusUpdate(updated, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := update(updated, old)
	errs = append(errs, sameDecision(updated, old)...)
	if len(old.Status.Certificate) == 0 {
		return errs
	}
	return append(errs, sameCertificate(updated, old, "updates may not modify existing certificate content")...)
}

// ValidateCertificateSigningRequestApprovalUpdate returns what is wrong with an
// approval or a denial. It may not set the certificate.
func ValidateCertificateSigningRequestApprovalUpdate(updated, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := update(updated, old)
	return append(errs, sameCertificate(updated, old, "updates may not set certificate content")...)
}

// update holds the rules for all three ways.
func update(updated, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := request(updated, old)
	errs = append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
	for _, t := range []certificatesv1.RequestConditionType{
		certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed,
	} {
		if len(ofType(updated.Status.Conditions, t)) < len(ofType(old.Status.Conditions, t)) {
			errs = append(errs, field.Forbidden(field.NewPath("status", "conditions"),
				fmt.Sprintf("updates may not remove a condition of type %q", t)))
		}
	}
	return errs
}

// sameDecision refuses to approve and to deny, and to touch up a decision. The
// diff that kube-apiserver appends to the last is left out.
func sameDecision(updated, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("status", "conditions")
	for _, t := range []certificatesv1.RequestConditionType{
		certificatesv1.CertificateApproved, certificatesv1.CertificateDenied,
	} {
		is, was := ofType(updated.Status.Conditions, t), ofType(old.Status.Conditions, t)
		switch {
		case len(is) < len(was): // update refuses this
		case len(is) > len(was):
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("updates may not add a condition of type %q", t)))
		case !equality.Semantic.DeepEqual(is, was):
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("updates may not modify a condition of type %q", t)))
		}
	}
	return errs
}

func sameCertificate(updated, old *certificatesv1.CertificateSigningRequest, detail string) field.ErrorList {
	if bytes.Equal(updated.Status.Certificate, old.Status.Certificate) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("status", "certificate"), detail)}
}
