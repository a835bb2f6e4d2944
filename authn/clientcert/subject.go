package clientcert

import (
	"bytes"
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

	"gatehouse.dev/gatehouse/authn"
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
		return nil, authn.Explained(err, authn.Malformed, func() authn.Facts {
			return authn.Facts{Checks: []authn.Check{{What: "UID", Got: err.Error(), Want: "at most one, which is a text and not empty"}}, Mend: mendUID}
		})
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
	return newAuthority(chain[len(chain)-1]).credentialOf(method, chain)
}

// credential is [Credential] for a chain to one of r.
func (r *roots) credential(method identity.Method, chain []*x509.Certificate) identity.Credential {
	if root := r.authorities[chain[len(chain)-1]]; root != nil {
		return root.credentialOf(method, chain)
	}
	return Credential(method, chain) // a copy of one of them
}

// credentialOf is [Credential] for a chain to root.
func (root *authority) credentialOf(method identity.Method, chain []*x509.Certificate) identity.Credential {
	above, key := root.credential, root.key
	if len(chain) == 1 {
		above = nil
	}
	for i := len(chain) - 2; i > 0; i-- {
		between := name(identity.ClientCertificate, chain[i], root)
		between.KeyID, between.Above = key, above
		above, key = &between, keyDigest(chain[i])
	}
	c := name(method, chain[0], root)
	c.KeyID, c.Above = key, above
	return c
}

// name names a certificate below root by itself.
func name(method identity.Method, cert *x509.Certificate, root *authority) identity.Credential {
	c := identity.Credential{
		Method:    method,
		Issuer:    root.credential.ID,
		ID:        fingerprint(cert),
		Serial:    cert.SerialNumber.Text(16),
		Digest:    digest(cert.RawTBSCertificate),
		IssuedAt:  cert.NotBefore,
		ExpiresAt: cert.NotAfter,
	}
	if bytes.Equal(cert.RawIssuer, root.subject) {
		c.IssuerName = root.name
	} else {
		c.IssuerName = issuerName(cert)
	}
	return c
}

// An authority is a root, with what names it in the credentials below it.
type authority struct {
	subject    []byte
	name       string // that as text
	key        string // what names its key
	credential *identity.Credential
}

func newAuthority(root *x509.Certificate) *authority {
	a := &authority{subject: root.RawSubject, name: SubjectName(root), key: keyDigest(root)}
	self := identity.Credential{ID: fingerprint(root)}
	a.credential = &self // for name
	self = name(identity.ClientCertificate, root, a)
	// As if it had signed itself, which is all that is known of who did.
	self.KeyID = a.key
	return a
}

// keyDigest names the key of a certificate.
func keyDigest(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// issuerName returns the subject of the issuer as it stands in the certificate:
// [pkix.Name.String] puts the parts of one into an order of its own.
func issuerName(cert *x509.Certificate) string { return rawName(cert.RawIssuer, cert.Issuer) }

// SubjectName returns the subject of an authority in the form that
// [identity.Credential.IssuerName] has of what it issues.
func SubjectName(ca *x509.Certificate) string { return rawName(ca.RawSubject, ca.Subject) }

func rawName(raw []byte, parsed pkix.Name) string {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &name); err != nil || len(rest) > 0 {
		return parsed.String()
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
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
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
