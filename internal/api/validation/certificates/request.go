// Package certificates says what is wrong with the objects of
// certificates.k8s.io/v1: requests for the signing of a certificate, and bundles
// of authorities to trust.
//
// The one idea: each way to write a request may touch only its own part. A
// create or an update decides nothing, the subresource approval alone approves
// and denies, the subresource status alone hands over the certificate, once;
// and no way takes back what has been decided.
//
// What an object with a past already holds, such as a usage that nobody knows,
// is tolerated in its updates and refused in new objects.
//
// Source: pkg/apis/certificates/validation.
package certificates

import (
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// LegacyUnknownSigner is the signer's name that v1beta1 put where the client
// gave none. It can be read, and not asked for.
const LegacyUnknownSigner = "kubernetes.io/legacy-unknown"

// minSeconds is the shortest life of a certificate that may be asked for.
const minSeconds = 600

// ValidateCertificateSigningRequest returns what is wrong with a request that
// is to be created. The request must hold one PEM block with a PKCS #10 request
// whose signature proves that the sender has the key.
func ValidateCertificateSigningRequest(csr *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return request(csr, nil)
}

// request checks csr, which takes the place of old, or is new if old is nil.
func request(csr, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := validation.ValidateObjectMeta(&csr.ObjectMeta, false, anyName)
	at := field.NewPath("spec")
	if err := checkRequest(csr.Spec.Request); err != nil {
		// kube-apiserver repeats the bytes, and so writes a private key that
		// was sent by mistake into the audit log.
		errs = append(errs, field.Invalid(at.Child("request"), "<request data>", err.Error()))
	}
	errs = append(errs, usages(csr, old, at.Child("usages"))...)
	errs = append(errs, signerName(csr, old, at.Child("signerName"))...)
	if n := csr.Spec.ExpirationSeconds; n != nil && *n < minSeconds {
		errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n,
			"may not specify a duration less than 600 seconds (10 minutes)"))
	}
	errs = append(errs, conditions(csr, old)...)
	return append(errs, certificate(csr, old)...)
}

// anyName accepts each name: Kubernetes does not care what people call their
// requests.
func anyName(string, bool) []string { return nil }

func signerName(csr, old *certificatesv1.CertificateSigningRequest, at *field.Path) field.ErrorList {
	name := csr.Spec.SignerName
	if name == LegacyUnknownSigner && (old == nil || old.Spec.SignerName != LegacyUnknownSigner) {
		return field.ErrorList{field.Invalid(at, name, "the legacy signerName is not allowed via this API version")}
	}
	return ValidateSignerName(name, at)
}

func usages(csr, old *certificatesv1.CertificateSigningRequest, at *field.Path) field.ErrorList {
	if len(csr.Spec.Usages) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	known := knownUsages()
	errs := unknown(csr.Spec.Usages, known, at)
	if old != nil && len(unknown(old.Spec.Usages, known, at)) > 0 {
		errs = nil
	}
	if old == nil || !hasDuplicate(old.Spec.Usages) {
		errs = append(errs, duplicates(csr.Spec.Usages, func(i int) *field.Path { return at.Index(i) })...)
	}
	return errs
}

func unknown(list, known []certificatesv1.KeyUsage, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, usage := range list {
		if !slices.Contains(known, usage) {
			errs = append(errs, field.NotSupported(at.Index(i), usage, known))
		}
	}
	return errs
}

// duplicates refuses each element of list that was there before; path says
// where the element i is.
func duplicates[T comparable](list []T, path func(i int) *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, element := range list {
		if slices.Contains(list[:i], element) {
			errs = append(errs, field.Duplicate(path(i), element))
		}
	}
	return errs
}

func hasDuplicate[T comparable](list []T) bool {
	return len(duplicates(list, func(int) *field.Path { return nil })) > 0
}

// knownUsages returns all usages that v1 has a name for, sorted as
// kube-apiserver lists them.
func knownUsages() []certificatesv1.KeyUsage {
	known := []certificatesv1.KeyUsage{
		certificatesv1.UsageSigning, certificatesv1.UsageDigitalSignature, certificatesv1.UsageContentCommitment,
		certificatesv1.UsageKeyEncipherment, certificatesv1.UsageKeyAgreement, certificatesv1.UsageDataEncipherment,
		certificatesv1.UsageCertSign, certificatesv1.UsageCRLSign, certificatesv1.UsageEncipherOnly,
		certificatesv1.UsageDecipherOnly, certificatesv1.UsageAny, certificatesv1.UsageServerAuth,
		certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning, certificatesv1.UsageEmailProtection,
		certificatesv1.UsageSMIME, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
		certificatesv1.UsageIPsecUser, certificatesv1.UsageTimestamping, certificatesv1.UsageOCSPSigning,
		certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC,
	}
	slices.Sort(known)
	return known
}
