package signing

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Renewed is the condition of a request that was approved because its sender
// holds a certificate already. Its last transition is when the first of his
// certificates was signed. It tells people; the server goes by its register.
const Renewed certificatesv1.RequestConditionType = "Renewed"

// RenewedReason is the reason of an approval that rests on nothing but the
// certificate that is renewed. Who may sign cannot change it.
const RenewedReason = "Renewed"

// AutoApprovedReason is the reason of an approval that rests on a permission of
// who asks. It is upstream's.
const AutoApprovedReason = "AutoApproved"

// IsRenewal reports whether a request was approved for nothing but that its
// sender holds a certificate.
func IsRenewal(r *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == Renewed || c.Type == certificatesv1.CertificateApproved && c.Reason == RenewedReason
	})
}

// A Held certificate is one that this server has signed for a request, as it wrote
// it down.
type Held struct {
	// Name is that of its entry in the register, and First that of the first
	// certificate of its chain of renewals, if that is another one.
	Name, First string
	Serial      *big.Int
	Signer      string
	// Since is when the first certificate of the chain was signed, or the last one
	// that a person has approved; and Holder what a renewal must be for: see
	// [Request.Holder].
	Since  time.Time
	Holder string
	// User is who is let in with it.
	User    string
	Expires time.Time
	// Through are the other signers that its chain came through since a person has
	// approved one of it.
	Through []string
}

// Precedes reports whether a certificate that r asks for continues the chain of h,
// whoever signs and approves that: both are for the same user. Then they are taken
// back together. If it were not so for two signers that approve by themselves, who
// has stolen a certificate of one would have another chain from the other, and
// from that a third one.
func (h *Held) Precedes(r *Request) bool {
	return h != nil && h.User != "" && h.User == r.PKCS10.Subject.CommonName
}

// CameThrough reports whether a signer has signed h, or one of those that h was got
// with without a person.
func (h *Held) CameThrough(signer string) bool {
	return h.Signer == signer || slices.Contains(h.Through, signer)
}

// Onward is [Held.Through] for a certificate that was asked for with h, by an
// object that is approved.
func (h *Held) Onward(r *certificatesv1.CertificateSigningRequest) []string {
	switch {
	case !automatic(r):
		return nil
	case h.Signer == r.Spec.SignerName || slices.Contains(h.Through, h.Signer):
		return h.Through
	}
	return append(slices.Clone(h.Through), h.Signer)
}

// automatic reports whether no person has approved a request.
func automatic(r *certificatesv1.CertificateSigningRequest) bool {
	return IsRenewal(r) || slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved && c.Reason == AutoApprovedReason
	})
}

// RenewedCondition is the condition [Renewed].
func RenewedCondition(first, now time.Time) certificatesv1.CertificateSigningRequestCondition {
	return certificatesv1.CertificateSigningRequestCondition{
		Type: Renewed, Status: corev1.ConditionTrue, Reason: "HolderRenewal",
		Message:            "The holder of a valid certificate of this signer renews it. The first was signed at " + first.UTC().Format(time.RFC3339) + ".",
		LastTransitionTime: metav1.NewTime(first), LastUpdateTime: metav1.NewTime(now),
	}
}

// Latest returns when a certificate has to end at the latest whose chain began
// with one that was signed at a time, and that is renewed now. It is a [Refusal] if that is over, or
// nearly.
func (s *Signer) Latest(first, now time.Time) (time.Time, error) {
	latest := first.Add(s.Renewable)
	switch {
	case s.Renewable == 0:
		return time.Time{}, refuse("the signer renews no certificates: ask for an approval")
	case first.After(now):
		return time.Time{}, refuse("the first certificate is said to be of %s, which is yet to come", first.UTC().Format(time.RFC3339))
	case latest.Before(now.Add(minLifetime)):
		return time.Time{}, refuse("the first certificate was signed at %s, and could be renewed until %s: ask for a new approval",
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
