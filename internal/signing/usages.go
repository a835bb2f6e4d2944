package signing

import (
	"crypto/x509"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
)

func keyUsage(usage certificatesv1.KeyUsage) (x509.KeyUsage, bool) {
	switch usage {
	case certificatesv1.UsageSigning, certificatesv1.UsageDigitalSignature:
		return x509.KeyUsageDigitalSignature, true
	case certificatesv1.UsageContentCommitment:
		return x509.KeyUsageContentCommitment, true
	case certificatesv1.UsageKeyEncipherment:
		return x509.KeyUsageKeyEncipherment, true
	case certificatesv1.UsageKeyAgreement:
		return x509.KeyUsageKeyAgreement, true
	case certificatesv1.UsageDataEncipherment:
		return x509.KeyUsageDataEncipherment, true
	case certificatesv1.UsageCertSign:
		return x509.KeyUsageCertSign, true
	case certificatesv1.UsageCRLSign:
		return x509.KeyUsageCRLSign, true
	case certificatesv1.UsageEncipherOnly:
		return x509.KeyUsageEncipherOnly, true
	case certificatesv1.UsageDecipherOnly:
		return x509.KeyUsageDecipherOnly, true
	}
	return 0, false
}

func extendedKeyUsage(usage certificatesv1.KeyUsage) (x509.ExtKeyUsage, bool) {
	switch usage {
	case certificatesv1.UsageAny:
		return x509.ExtKeyUsageAny, true
	case certificatesv1.UsageServerAuth:
		return x509.ExtKeyUsageServerAuth, true
	case certificatesv1.UsageClientAuth:
		return x509.ExtKeyUsageClientAuth, true
	case certificatesv1.UsageCodeSigning:
		return x509.ExtKeyUsageCodeSigning, true
	case certificatesv1.UsageEmailProtection, certificatesv1.UsageSMIME:
		return x509.ExtKeyUsageEmailProtection, true
	case certificatesv1.UsageIPsecEndSystem:
		return x509.ExtKeyUsageIPSECEndSystem, true
	case certificatesv1.UsageIPsecTunnel:
		return x509.ExtKeyUsageIPSECTunnel, true
	case certificatesv1.UsageIPsecUser:
		return x509.ExtKeyUsageIPSECUser, true
	case certificatesv1.UsageTimestamping:
		return x509.ExtKeyUsageTimeStamping, true
	case certificatesv1.UsageOCSPSigning:
		return x509.ExtKeyUsageOCSPSigning, true
	case certificatesv1.UsageMicrosoftSGC:
		return x509.ExtKeyUsageMicrosoftServerGatedCrypto, true
	case certificatesv1.UsageNetscapeSGC:
		return x509.ExtKeyUsageNetscapeServerGatedCrypto, true
	}
	return 0, false
}

// usages returns what the usages are in a certificate: the extended ones sorted
// and once each, as upstream has them.
//
// An authority's usages are refused even where the rules of the signer do not
// mind: every certificate made here is a leaf.
func usages(names []certificatesv1.KeyUsage) (key x509.KeyUsage, extended []x509.ExtKeyUsage, err error) {
	var unrecognized []certificatesv1.KeyUsage
	for _, name := range names {
		if bit, ok := keyUsage(name); ok {
			key |= bit
		} else if use, ok := extendedKeyUsage(name); ok {
			extended = append(extended, use)
		} else {
			unrecognized = append(unrecognized, name)
		}
	}
	if len(unrecognized) > 0 {
		return 0, nil, fmt.Errorf("unrecognized usage values: %q", unrecognized)
	}
	if key&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return 0, nil, fmt.Errorf("the usages %q and %q are those of an authority, and no authority is made by a request",
			certificatesv1.UsageCertSign, certificatesv1.UsageCRLSign)
	}
	if slices.Contains(extended, x509.ExtKeyUsageOCSPSigning) {
		return 0, nil, fmt.Errorf("the usage %q speaks for the authority itself, and is not given away", certificatesv1.UsageOCSPSigning)
	}
	slices.Sort(extended)
	return key, slices.Compact(extended), nil
}
