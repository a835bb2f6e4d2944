package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// maxTrustBundle is the size of a bundle in bytes.
const maxTrustBundle = 1 << 20

// ValidateClusterTrustBundle returns what is wrong with a bundle that is to be
// created. It holds certificates of authorities and nothing else, none of them
// twice.
func ValidateClusterTrustBundle(bundle *certificatesv1.ClusterTrustBundle) field.ErrorList {
	return append(bundleHead(bundle), trustAnchors(bundle.Spec.TrustBundle)...)
}

// ValidateClusterTrustBundleUpdate returns what is wrong with putting updated in
// the place of old. Certificates that stay are not looked at again: a later
// version of this server may be stricter.
func ValidateClusterTrustBundleUpdate(updated, old *certificatesv1.ClusterTrustBundle) field.ErrorList {
	errs := bundleHead(updated)
	if updated.Spec.TrustBundle != old.Spec.TrustBundle {
		errs = append(errs, trustAnchors(updated.Spec.TrustBundle)...)
	}
	errs = append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
	return append(errs, apivalidation.ValidateImmutableField(updated.Spec.SignerName, old.Spec.SignerName, field.NewPath("spec", "signerName"))...)
}

func bundleHead(bundle *certificatesv1.ClusterTrustBundle) field.ErrorList {
	errs := validation.ValidateObjectMeta(&bundle.ObjectMeta, false, bundleName(bundle.Spec.SignerName))
	if bundle.Spec.SignerName == "" {
		return errs
	}
	return append(errs, ValidateSignerName(bundle.Spec.SignerName, field.NewPath("spec", "signerName"))...)
}

// bundleName is the rule for the name of a bundle: it begins with that of its
// signer, and only then has a colon.
//
// Source: pkg/apis/core/validation/names.go.
func bundleName(signer string) apivalidation.ValidateNameFunc {
	return func(name string, prefix bool) []string {
		if signer == "" {
			if strings.Contains(name, ":") {
				return []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
			}
			return apivalidation.NameIsDNSSubdomain(name, prefix)
		}
		begin := strings.ReplaceAll(signer, "/", ":") + ":"
		rest, ok := strings.CutPrefix(name, begin)
		if !ok {
			return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", signer, begin)}
		}
		return apivalidation.NameIsDNSSubdomain(rest, prefix)
	}
}

// trustAnchors checks the certificates of a bundle.
func trustAnchors(text string) field.ErrorList {
	at := field.NewPath("spec", "trustBundle")
	if len(text) > maxTrustBundle {
		return field.ErrorList{field.TooLong(at, "", maxTrustBundle)}
	}
	var errs field.ErrorList
	refuse := func(format string, args ...any) {
		errs = append(errs, field.Invalid(at, "<value omitted>", fmt.Sprintf(format, args...)))
	}
	places := map[string][]int{}
	var order []string
	rest := []byte(text)
	for i := 0; ; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if problem := trustAnchor(block); problem != "" {
			refuse("entry %d %s", i, problem)
			continue
		}
		der := string(block.Bytes)
		if places[der] == nil {
			order = append(order, der)
		}
		places[der] = append(places[der], i)
	}
	if len(errs) > 0 {
		return errs // what else there is may follow from it
	}
	if len(order) == 0 {
		refuse("at least one trust anchor must be provided")
	}
	for _, der := range order {
		if len(places[der]) > 1 {
			refuse("duplicate trust anchor (indices %v)", places[der])
		}
	}
	return errs
}

// trustAnchor returns what is wrong with one block, or "".
func trustAnchor(block *pem.Block) string {
	if block.Type != "CERTIFICATE" {
		return "has bad block type: " + block.Type
	}
	if len(block.Headers) != 0 {
		return "has PEM block headers"
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return "does not parse as X.509"
	case !cert.IsCA:
		return "does not have the CA bit set"
	case !cert.BasicConstraintsValid:
		return "has invalid basic constraints"
	}
	return ""
}
