package revocation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// OfCertificate names a certificate in every way in which it is looked for.
func OfCertificate(cert *x509.Certificate) v1alpha1.RevocationSpec {
	c := clientcert.Credential(identity.ClientCertificate, []*x509.Certificate{cert})
	return v1alpha1.RevocationSpec{
		Certificate: &v1alpha1.RevokedCertificate{
			Issuer: c.IssuerName, SerialNumber: c.Serial, TBSSHA256: c.Digest, SHA256: strings.TrimPrefix(c.ID, prefixFingerprint),
		},
		CredentialExpiresAt: &metav1.Time{Time: cert.NotAfter},
	}
}

// OfAuthority names a CA as an issuer, and OfItsKey its key.
func OfAuthority(ca *x509.Certificate) v1alpha1.RevocationSpec {
	sum := sha256.Sum256(ca.Raw)
	return v1alpha1.RevocationSpec{Issuer: prefixFingerprint + hex.EncodeToString(sum[:])}
}

// OfItsKey names the key of a CA.
func OfItsKey(ca *x509.Certificate) (v1alpha1.RevocationSpec, error) {
	id, err := compact.KeyID(ca.PublicKey)
	if err != nil {
		return v1alpha1.RevocationSpec{}, err
	}
	return v1alpha1.RevocationSpec{Key: &v1alpha1.RevokedKey{ID: id}}, nil
}

// OfToken names a token in every way in which it is looked for. Whether it is good
// does not matter, so nothing is verified. Errors do not repeat it.
func OfToken(text string) (v1alpha1.RevocationSpec, error) {
	token, err := compact.Parse(text)
	if err != nil {
		return v1alpha1.RevocationSpec{}, fmt.Errorf("this is no signed token: %w; one that is not signed is revoked by the ID of its credential, which audit events have", err)
	}
	digest := token.Digest()
	t := &v1alpha1.RevokedToken{SigningInputSHA256: digest}
	out := v1alpha1.RevocationSpec{Token: t}
	claims, err := token.Claims()
	if err != nil {
		return out, nil // what is signed names it all the same
	}
	issuer, _ := claims.String("iss") // of another type they name nothing
	if jti, _ := claims.String("jti"); issuer != "" && jti != "" {
		t.Issuer, t.JTI = issuer, jti
	}
	if end, err := claims.Time("exp"); err == nil && !end.IsZero() {
		out.CredentialExpiresAt = &metav1.Time{Time: end}
	}
	return out, nil
}

// OfRegistered names what the register says of a credential that was issued here.
func OfRegistered(method identity.Method, issuer, id, digest string, ends *metav1.Time) (v1alpha1.RevocationSpec, error) {
	out := v1alpha1.RevocationSpec{CredentialExpiresAt: ends}
	switch {
	case digest == "":
		return out, errors.New("the register does not know what is signed of it")
	case method == identity.ClientCertificate:
		out.Certificate = &v1alpha1.RevokedCertificate{TBSSHA256: digest, SHA256: strings.TrimPrefix(id, prefixFingerprint)}
	default:
		out.Token = &v1alpha1.RevokedToken{SigningInputSHA256: digest}
		if jti, ok := strings.CutPrefix(id, prefixJTI); ok && issuer != "" {
			out.Token.Issuer, out.Token.JTI = issuer, jti
		}
	}
	return out, nil
}
