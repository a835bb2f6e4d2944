package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A Revocation takes back a credential, or everything that rests on somebody or
// something. It is in force from when its creation is answered until it is
// deleted. It cannot be changed.
type Revocation struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is taken back, and why. It cannot be changed: make another Revocation, and delete this one.
	Spec RevocationSpec `json:"spec"`
}

// A RevocationSpec names exactly one of certificate, token, key, credentialID,
// user, group, serviceAccount and issuer.
type RevocationSpec struct {
	// A client certificate, or that of a CA: then all that chain to it are taken back too.
	// +optional
	Certificate *RevokedCertificate `json:"certificate,omitempty"`
	// A bearer token that is signed: a JWT of whatever issuer, or a token of a service account.
	// +optional
	Token *RevokedToken `json:"token,omitempty"`
	// A key that signs: all tokens and certificates that it signed are taken back, and those that it will sign.
	// +optional
	Key *RevokedKey `json:"key,omitempty"`
	// The ID of a credential that is not signed, as audit events have it: NAME= and the name of a line of hashed tokens, TOKEN= and the digest of a static token, USER= and the name of who has a password, TOKENID= of a bootstrap token, SECRET= and namespace/name of a legacy token of a service account.
	// +optional
	CredentialID string `json:"credentialID,omitempty"`
	// A user: whoever is authenticated by this name, by whatever method, and whoever acts as him.
	// +optional
	User string `json:"user,omitempty"`
	// A group: all its members.
	// +optional
	Group string `json:"group,omitempty"`
	// A service account: all its tokens, and whoever acts as it.
	// +optional
	ServiceAccount *RevokedServiceAccount `json:"serviceAccount,omitempty"`
	// Who vouches for credentials: the iss of tokens, or X509SHA256= and the SHA-256 of the certificate of a CA in lower-case hexadecimal. All that it has issued is taken back.
	// +optional
	Issuer string `json:"issuer,omitempty"`

	// Narrows key, credentialID, user, group, serviceAccount and issuer down to what was issued before this time. A credential that does not say when it was issued is taken back as well.
	// +optional
	IssuedBefore *metav1.Time `json:"issuedBefore,omitempty"`

	// Why, by the names of RFC 5280 section 5.3.1: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn or aACompromise. The default is unspecified. Only a certificateHold is ever lifted for those who read revocation lists.
	// +optional
	Reason RevocationReason `json:"reason,omitempty"`
	// Why, in words. It must not hold a secret: whoever may look at refusals reads it.
	// +optional
	Message string `json:"message,omitempty"`
	// Who has made the Revocation. The server writes it, whatever a client sends.
	// +optional
	Author *RevocationAuthor `json:"author,omitempty"`
	// When the credential ends by itself, if that is known.
	// +optional
	CredentialExpiresAt *metav1.Time `json:"credentialExpiresAt,omitempty"`
	// When the Revocation is deleted. It has to be at least a minute after the end of the credential, which clocks that differ let live on so long. Without it, the Revocation stays until somebody deletes it, or until an hour after credentialExpiresAt.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// Lets the author take back what he himself acts with, or the last one who may do everything. Without it that is refused.
	// +optional
	Force bool `json:"force,omitempty"`
}

// A RevokedCertificate names a certificate by issuer and serial number, by
// tbsSHA256, or by both, of which each is looked for.
type RevokedCertificate struct {
	// The subject of the CA that has issued it, in the form of RFC 2253, as openssl x509 -issuer -nameopt RFC2253 prints it.
	// +optional
	Issuer string `json:"issuer,omitempty"`
	// The serial number in lower-case hexadecimal, without leading zeros.
	// +optional
	SerialNumber string `json:"serialNumber,omitempty"`
	// The SHA-256 of the TBSCertificate in lower-case hexadecimal: of that part of the certificate which its signature covers. The SHA-256 of the whole certificate does not name it, because the bytes of a signature can be rewritten.
	// +optional
	TBSSHA256 string `json:"tbsSHA256,omitempty"`
	// The SHA-256 of the whole certificate in lower-case hexadecimal. It is looked for only where no more is known of a certificate, in the access reviews of other API servers, and needs one of the others beside it.
	// +optional
	SHA256 string `json:"sha256,omitempty"`
	// Whether what its holder has got with it is taken back with it, by renewal or of another signer, and what it was got with: Revoked, or Kept for a certificate that somebody has only replaced. The default is Revoked.
	// +optional
	Renewals RevokedRenewals `json:"renewals,omitempty"`
	// What the serial numbers begin with of all certificates that the same user has got with one another, and that this Revocation takes back. The server writes it if it knows the certificate as one that it has issued.
	// +optional
	Chain string `json:"chain,omitempty"`
}

// RevokedRenewals says what becomes of the renewals of a certificate.
type RevokedRenewals string

// What may become of them.
const (
	RenewalsRevoked RevokedRenewals = "Revoked"
	RenewalsKept    RevokedRenewals = "Kept"
)

// A RevokedToken names a token by issuer and jti, by signingInputSHA256, or by
// both, of which each is looked for.
type RevokedToken struct {
	// The claim iss.
	// +optional
	Issuer string `json:"issuer,omitempty"`
	// The claim jti.
	// +optional
	JTI string `json:"jti,omitempty"`
	// The SHA-256, in lower-case hexadecimal, of the token up to its last point: of what the signature covers. The SHA-256 of the whole token does not name it, because the bytes of a signature can be rewritten.
	// +optional
	SigningInputSHA256 string `json:"signingInputSHA256,omitempty"`
}

// A RevokedKey names a key.
type RevokedKey struct {
	// The kid of the key or, for that of a CA and one without a kid, the unpadded base64url of the SHA-256 of the public key in PKIX form.
	ID string `json:"id"`
	// The issuer that the key signs for, as in the field issuer of a Revocation. Without it the key is meant whomever it signs for; two issuers may use the same kid.
	// +optional
	Issuer string `json:"issuer,omitempty"`
}

// A RevokedServiceAccount names a service account.
type RevokedServiceAccount struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// A RevocationAuthor is who has made a Revocation.
type RevocationAuthor struct {
	Username string `json:"username"`
	// +optional
	UID string `json:"uid,omitempty"`
	// The ID of the credential that he was authenticated with, if it has one.
	// +optional
	CredentialID string `json:"credentialID,omitempty"`
	// Who acted as him, if somebody did.
	// +optional
	Impersonator string `json:"impersonator,omitempty"`
}

// A RevocationReason is why something was taken back.
type RevocationReason string

// The reasons of RFC 5280 section 5.3.1, but for removeFromCRL, which is none.
const (
	ReasonUnspecified          RevocationReason = "unspecified"
	ReasonKeyCompromise        RevocationReason = "keyCompromise"
	ReasonCACompromise         RevocationReason = "cACompromise"
	ReasonAffiliationChanged   RevocationReason = "affiliationChanged"
	ReasonSuperseded           RevocationReason = "superseded"
	ReasonCessationOfOperation RevocationReason = "cessationOfOperation"
	ReasonCertificateHold      RevocationReason = "certificateHold"
	ReasonPrivilegeWithdrawn   RevocationReason = "privilegeWithdrawn"
	ReasonAACompromise         RevocationReason = "aACompromise"
)

// Reasons returns all of them.
func Reasons() []RevocationReason {
	return []RevocationReason{
		ReasonUnspecified, ReasonKeyCompromise, ReasonCACompromise, ReasonAffiliationChanged, ReasonSuperseded,
		ReasonCessationOfOperation, ReasonCertificateHold, ReasonPrivilegeWithdrawn, ReasonAACompromise,
	}
}

// A RevocationList is a list of Revocations.
type RevocationList struct {
	metav1.TypeMeta `json:",inline"`
	// Standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Revocation `json:"items"`
}
