package clientcert

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/identity"
)

// uidType is the attribute of a subject that holds the UID of the user, in
// Kubernetes' own arc (k8s.io/apimachinery pkg/apis/asn1). It is not the
// attribute that LDAP calls uid.
func uidType() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2} }

// identify returns who a verified certificate stands for: the common name is
// the user, the organizations are the groups.
func identify(leaf *x509.Certificate) (*identity.Identity, error) {
	name := leaf.Subject.CommonName
	if name == "" {
		return nil, errors.New("the subject has no common name")
	}
	uid, err := parseUID(leaf)
	if err != nil {
		return nil, err
	}
	groups := slices.DeleteFunc(slices.Clone(leaf.Subject.Organization), func(g string) bool { return g == "" })
	return &identity.Identity{
		Name:   name,
		UID:    uid,
		Groups: identity.WithAuthenticated(name, groups),
		Extra:  map[string][]string{identity.CredentialIDKey: {fingerprint(leaf)}},
	}, nil
}

// Credential names a certificate, and all those it chains to: the first of chain
// is its own, the last one is trusted for itself. Whoever calls it has verified
// them, or believes nothing of it.
func Credential(method identity.Method, chain []*x509.Certificate) identity.Credential {
	leaf, signer := chain[0], chain[0]
	c := identity.Credential{
		Method:     method,
		Issuer:     fingerprint(chain[len(chain)-1]),
		ID:         fingerprint(leaf),
		IssuerName: issuerName(leaf),
		Serial:     leaf.SerialNumber.Text(16),
		Digest:     digest(leaf.RawTBSCertificate),
		IssuedAt:   leaf.NotBefore,
		ExpiresAt:  leaf.NotAfter,
	}
	if len(chain) > 1 {
		signer = chain[1]
		above := Credential(identity.ClientCertificate, chain[1:])
		c.Above = &above
	}
	key := sha256.Sum256(signer.RawSubjectPublicKeyInfo)
	c.KeyID = base64.RawURLEncoding.EncodeToString(key[:])
	return c
}

// issuerName returns the subject of the issuer as it stands in the certificate:
// [pkix.Name.String] puts the parts of one into an order of its own.
func issuerName(cert *x509.Certificate) string {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(cert.RawIssuer, &name); err != nil || len(rest) > 0 {
		return cert.Issuer.String()
	}
	return name.String()
}

// parseUID returns the UID of the subject, or "" if it has none. Its errors are
// Kubernetes'.
func parseUID(cert *x509.Certificate) (string, error) {
	var uids []string
	for _, name := range cert.Subject.Names {
		if !name.Type.Equal(uidType()) {
			continue
		}
		uid, ok := name.Value.(string)
		if !ok {
			return "", errors.New("unable to parse UID into a string")
		}
		uids = append(uids, uid)
	}
	switch {
	case len(uids) == 0:
		return "", nil
	case len(uids) > 1:
		return "", fmt.Errorf("expected 1 UID, but found multiple: %v", uids)
	case uids[0] == "":
		return "", errors.New("UID cannot be an empty string")
	}
	return uids[0], nil
}

func fingerprint(cert *x509.Certificate) string { return "X509SHA256=" + digest(cert.Raw) }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// describe names a certificate for the operator, as Kubernetes does.
func describe(c *x509.Certificate) string {
	return fmt.Sprintf("SN=%d, SKID=%s, AKID=%s", c.SerialNumber, colons(c.SubjectKeyId), colons(c.AuthorityKeyId))
}

// colons writes bytes as two digits each, with colons between.
func colons(b []byte) string {
	digits := make([]string, len(b))
	for i, c := range b {
		digits[i] = fmt.Sprintf("%02X", c)
	}
	return strings.Join(digits, ":")
}
