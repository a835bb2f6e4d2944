package signing

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PresentedKey is the key in the extra attributes of a request under which the
// server writes the digest ([identity.Credential.Digest]) of the client
// certificate that its sender was let in with. The server writes it, or takes
// it away, whatever the sender says; it is not there if he acted as somebody
// else.
const PresentedKey = "gatehouse.dev/presented-certificate"

// Renewed is the condition of a request that was approved because its sender
// holds a certificate already. Its last transition is when the first of his
// certificates was approved.
const Renewed certificatesv1.RequestConditionType = "Renewed"

// Presented returns the digest of the certificate that a request was sent with,
// or "".
func Presented(r *certificatesv1.CertificateSigningRequest) string {
	if values := r.Spec.Extra[PresentedKey]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// RenewedSince returns when the first certificate was approved of those that a
// request renews, and whether it renews any.
func RenewedSince(r *certificatesv1.CertificateSigningRequest) (time.Time, bool) {
	for _, c := range r.Status.Conditions {
		if c.Type == Renewed && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time, true
		}
	}
	return time.Time{}, false
}

// RenewedCondition is the condition [Renewed].
func RenewedCondition(first, now time.Time) certificatesv1.CertificateSigningRequestCondition {
	return certificatesv1.CertificateSigningRequestCondition{
		Type: Renewed, Status: corev1.ConditionTrue, Reason: "HolderRenewal",
		Message:            "The holder of a valid certificate of this signer renews it. It was first approved at " + first.UTC().Format(time.RFC3339) + ".",
		LastTransitionTime: metav1.NewTime(first), LastUpdateTime: metav1.NewTime(now),
	}
}

// Latest returns when a certificate has to end at the latest that was first
// approved at a time and is renewed now. It is a [Refusal] if that is over, or
// nearly.
func (s *Signer) Latest(first, now time.Time) (time.Time, error) {
	latest := first.Add(s.Renewable)
	switch {
	case s.Renewable == 0:
		return time.Time{}, refuse("the signer renews no certificates: ask for an approval")
	case first.After(now):
		return time.Time{}, refuse("the first certificate is said to be of %s, which is yet to come", first.UTC().Format(time.RFC3339))
	case latest.Before(now.Add(minLifetime)):
		return time.Time{}, refuse("the first certificate was approved at %s, and could be renewed until %s: ask for a new approval",
			first.UTC().Format(time.RFC3339), latest.UTC().Format(time.RFC3339))
	}
	return latest, nil
}

// Holder is the digest of what a certificate for r would say of its holder: the
// subject, the names and the usages. A renewal has the same.
func (r *Request) Holder() (string, error) {
	key, extended, err := usages(r.Usages)
	if err != nil {
		return "", err
	}
	asked := r.PKCS10
	text, err := json.Marshal(struct {
		Subject, DNS, Email, IP, URI []string
		Usage                        x509.KeyUsage
		Extended                     []x509.ExtKeyUsage
	}{
		attributes(asked.Subject), sorted(asked.DNSNames), sorted(asked.EmailAddresses),
		sorted(texts(asked.IPAddresses, net.IP.String)), sorted(texts(asked.URIs, (*url.URL).String)), key, extended,
	})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }
