package columns

import (
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
)

// CertificateSigningRequest returns the Table of CertificateSigningRequests.
func CertificateSigningRequest() *Table {
	spec, status := certificatesv1.CertificateSigningRequestSpec{}.SwaggerDoc(), certificatesv1.CertificateSigningRequestStatus{}.SwaggerDoc()
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		ageColumn(),
		column("SignerName", spec["signerName"]),
		column("Requestor", spec["username"]),
		column("RequestedDuration", spec["expirationSeconds"]),
		column("Condition", status["conditions"]),
	}, func(r *certificatesv1.CertificateSigningRequest, now time.Time) []any {
		requested := none
		if s := r.Spec.ExpirationSeconds; s != nil {
			requested = duration.HumanDuration(time.Duration(*s) * time.Second)
		}
		return []any{
			r.Name,
			age(r.CreationTimestamp.Time, now),
			or(r.Spec.SignerName, none),
			r.Spec.Username,
			requested,
			signingCondition(r.Status),
		}
	})
}

// signingCondition returns how far a request has come, as in "Approved,Issued".
// A denial outweighs an approval.
func signingCondition(s certificatesv1.CertificateSigningRequestStatus) string {
	has := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range s.Conditions {
		has[c.Type] = true
	}
	condition := "Pending"
	switch {
	case has[certificatesv1.CertificateDenied]:
		condition = "Denied"
	case has[certificatesv1.CertificateApproved]:
		condition = "Approved"
	}
	if has[certificatesv1.CertificateFailed] {
		condition += ",Failed"
	}
	if len(s.Certificate) > 0 {
		condition += ",Issued"
	}
	return condition
}

// ClusterTrustBundle returns the Table of ClusterTrustBundles.
func ClusterTrustBundle() *Table {
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("SignerName", certificatesv1.ClusterTrustBundleSpec{}.SwaggerDoc()["signerName"]),
	}, func(b *certificatesv1.ClusterTrustBundle, _ time.Time) []any {
		return []any{b.Name, or(b.Spec.SignerName, none)}
	})
}

// PodCertificateRequest returns the Table of PodCertificateRequests.
func PodCertificateRequest() *Table {
	spec := certificatesv1.PodCertificateRequestSpec{}.SwaggerDoc()
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("PodName", spec["podName"]),
		column("ServiceAccountName", spec["serviceAccountName"]),
		column("NodeName", spec["nodeName"]),
		column("SignerName", spec["signerName"]),
		column("State", "Is the request Pending, Issued, Denied, or Failed?"),
		column("UnverifiedUserAnnotations", spec["unverifiedUserAnnotations"]),
	}, func(r *certificatesv1.PodCertificateRequest, _ time.Time) []any {
		return []any{
			r.Name,
			r.Spec.PodName,
			r.Spec.ServiceAccountName,
			string(r.Spec.NodeName),
			r.Spec.SignerName,
			podCertificateState(r.Status.Conditions),
			labels.FormatLabels(r.Spec.UnverifiedUserAnnotations),
		}
	})
}

// podCertificateState returns the state that the conditions tell. Validation
// lets a request have no more than one of the three.
func podCertificateState(conditions []metav1.Condition) string {
	state := "Pending"
	for _, c := range conditions {
		switch c.Type {
		case certificatesv1.PodCertificateRequestConditionTypeIssued,
			certificatesv1.PodCertificateRequestConditionTypeDenied,
			certificatesv1.PodCertificateRequestConditionTypeFailed:
			state = c.Type
		}
	}
	return state
}
