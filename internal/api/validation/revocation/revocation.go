// Package revocation says what is wrong with the Revocations of gatehouse.dev.
//
// The one idea: a Revocation that would take nothing back must not look like one
// that does. What names a credential has to be written in the only form that is
// compared, and may be nothing that its holder could rewrite.
//
// It refuses what names nothing or two things, the digest of a whole certificate
// or token, and one that would end before the credential does.
package revocation

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/api/validation"
)

const (
	// maxName and maxMessage bound the texts of a Revocation, in bytes. The
	// subject of a CA may be long; a user or group is a name.
	maxName, maxMessage = 2048, 1024
	// outlives is how much longer than its credential a Revocation has to last:
	// tokens are good for a minute after their end, because clocks differ.
	outlives = time.Minute
)

// ValidateRevocation returns what is wrong with a Revocation that is to be
// created.
func ValidateRevocation(r *v1alpha1.Revocation) field.ErrorList {
	errs := validation.ValidateObjectMeta(&r.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
	return append(errs, ValidateSpec(&r.Spec, field.NewPath("spec"))...)
}

// ValidateRevocationUpdate returns what is wrong with putting updated in the
// place of old.
func ValidateRevocationUpdate(updated, old *v1alpha1.Revocation) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	return append(errs, apivalidation.ValidateImmutableField(updated.Spec, old.Spec, field.NewPath("spec"))...)
}

// ValidateSpec returns what is wrong with what a Revocation says.
func ValidateSpec(s *v1alpha1.RevocationSpec, at *field.Path) field.ErrorList {
	errs := one(s, at)
	text := func(name, value string) {
		if value != "" {
			errs = append(errs, plain(value, maxName, at.Child(name))...)
		}
	}
	text("user", s.User)
	text("group", s.Group)
	text("issuer", s.Issuer)
	text("credentialID", s.CredentialID)
	errs = append(errs, fingerprintOf(s.Issuer, at.Child("issuer"))...)
	errs = append(errs, credentialID(s.CredentialID, at.Child("credentialID"))...)
	if s.Certificate != nil {
		errs = append(errs, certificate(s.Certificate, at.Child("certificate"))...)
	}
	if s.Token != nil {
		errs = append(errs, token(s.Token, at.Child("token"))...)
	}
	if s.Key != nil {
		errs = append(errs, key(s.Key, at.Child("key"))...)
	}
	if s.ServiceAccount != nil {
		errs = append(errs, serviceAccount(s.ServiceAccount, at.Child("serviceAccount"))...)
	}
	if s.Message != "" {
		errs = append(errs, plain(s.Message, maxMessage, at.Child("message"))...)
	}
	errs = append(errs, reason(s.Reason, at.Child("reason"))...)
	return append(errs, times(s, at)...)
}

// one wants exactly one thing to be named.
func one(s *v1alpha1.RevocationSpec, at *field.Path) field.ErrorList {
	switch named := s.Named(); len(named) {
	case 1:
		return nil
	case 0:
		return field.ErrorList{field.Required(at, "name what is revoked: one of "+strings.Join(v1alpha1.Targets(), ", "))}
	default:
		return field.ErrorList{field.Forbidden(at, "names "+strings.Join(named, " and ")+": name one, and make a Revocation for each of the others")}
	}
}

func certificate(c *v1alpha1.RevokedCertificate, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.TBSSHA256 == "" && (c.Issuer == "" || c.SerialNumber == "") {
		detail := "name the certificate by issuer and serialNumber, or by tbsSHA256"
		if c.SHA256 != "" {
			detail += "; by its own SHA-256 it would not be found once somebody has rewritten the bytes of its signature"
		}
		errs = append(errs, field.Required(at, detail))
	}
	if (c.Issuer == "") != (c.SerialNumber == "") {
		errs = append(errs, field.Required(at, "issuer and serialNumber name a certificate together only: give both, or neither"))
	}
	if c.Issuer != "" {
		errs = append(errs, plain(c.Issuer, maxName, at.Child("issuer"))...)
		errs = append(errs, distinguishedName(c.Issuer, at.Child("issuer"))...)
	}
	if c.SerialNumber != "" {
		errs = append(errs, hexadecimal(c.SerialNumber, at.Child("serialNumber"))...)
	}
	switch renewals := []v1alpha1.RevokedRenewals{v1alpha1.RenewalsKept, v1alpha1.RenewalsRevoked}; {
	case c.Renewals != "" && !slices.Contains(renewals, c.Renewals):
		errs = append(errs, field.NotSupported(at.Child("renewals"), c.Renewals, renewals))
	case c.Renewals == v1alpha1.RenewalsKept && c.Chain != "":
		errs = append(errs, field.Forbidden(at.Child("chain"), "names the renewals that are to be kept"))
	case c.Chain != "":
		errs = append(errs, hexadecimal(c.Chain, at.Child("chain"))...)
	}
	errs = append(errs, digest(c.TBSSHA256, at.Child("tbsSHA256"))...)
	return append(errs, digest(c.SHA256, at.Child("sha256"))...)
}

// hexadecimal refuses a number that is not written as it is compared.
func hexadecimal(number string, at *field.Path) field.ErrorList {
	if n, ok := new(big.Int).SetString(number, 16); !ok || n.Text(16) != number || len(number) > 64 {
		return field.ErrorList{field.Invalid(at, number, "must be in lower-case hexadecimal, without colons and leading zeros")}
	}
	return nil
}

// distinguishedName refuses the other usual ways to write a subject, which would
// be compared in vain.
func distinguishedName(name string, at *field.Path) field.ErrorList {
	if strings.HasPrefix(name, "/") || !strings.Contains(name, "=") || strings.Contains(name, " = ") || strings.Contains(name, ", ") && !strings.Contains(name, `\, `) {
		return field.ErrorList{field.Invalid(at, name, "must be of RFC 2253, such as CN=ca,O=example: openssl x509 -noout -issuer -nameopt RFC2253 prints it")}
	}
	return nil
}

func token(t *v1alpha1.RevokedToken, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.SigningInputSHA256 == "" && (t.Issuer == "" || t.JTI == "") {
		errs = append(errs, field.Required(at, "name the token by issuer and jti, or by signingInputSHA256"))
	}
	if t.JTI != "" && t.Issuer == "" {
		errs = append(errs, field.Required(at.Child("issuer"), "a jti says nothing without the issuer who has given it"))
	}
	for _, f := range []struct{ name, value string }{{"issuer", t.Issuer}, {"jti", t.JTI}} {
		if f.value != "" {
			errs = append(errs, plain(f.value, maxName, at.Child(f.name))...)
		}
	}
	if strings.HasPrefix(t.JTI, "JTI=") {
		errs = append(errs, field.Invalid(at.Child("jti"), t.JTI, "must be the claim alone, without JTI= before it"))
	}
	return append(errs, digest(t.SigningInputSHA256, at.Child("signingInputSHA256"))...)
}

func key(k *v1alpha1.RevokedKey, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if k.ID == "" {
		errs = append(errs, field.Required(at.Child("id"), ""))
	} else {
		errs = append(errs, plain(k.ID, maxName, at.Child("id"))...)
	}
	if k.Issuer != "" {
		errs = append(errs, plain(k.Issuer, maxName, at.Child("issuer"))...)
		errs = append(errs, fingerprintOf(k.Issuer, at.Child("issuer"))...)
	}
	if strings.HasPrefix(k.Issuer, fingerprint) && k.ID != "" {
		if sum, err := base64.RawURLEncoding.DecodeString(k.ID); err != nil || len(sum) != 32 {
			errs = append(errs, field.Invalid(at.Child("id"), k.ID, "must be the unpadded base64url of the SHA-256 of the public key of the CA"))
		}
	}
	return errs
}

func serviceAccount(a *v1alpha1.RevokedServiceAccount, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range apivalidation.ValidateNamespaceName(a.Namespace, false) {
		errs = append(errs, field.Invalid(at.Child("namespace"), a.Namespace, msg))
	}
	for _, msg := range apivalidation.ValidateServiceAccountName(a.Name, false) {
		errs = append(errs, field.Invalid(at.Child("name"), a.Name, msg))
	}
	return errs
}

const fingerprint = "X509SHA256="

// fingerprintOf wants the certificate of a CA to be named in full.
func fingerprintOf(issuer string, at *field.Path) field.ErrorList {
	hex, ok := strings.CutPrefix(issuer, fingerprint)
	if !ok {
		return nil
	}
	if hex == "" {
		return field.ErrorList{field.Invalid(at, issuer, "has no digest")}
	}
	return digest(hex, at)
}

// credentialID refuses the IDs of what is signed.
func credentialID(id string, at *field.Path) field.ErrorList {
	switch {
	case strings.HasPrefix(id, "JTI="):
		return field.ErrorList{field.Forbidden(at, "name a token in spec.token, by issuer and jti or by signingInputSHA256: two issuers may use one jti")}
	case strings.HasPrefix(id, fingerprint):
		return field.ErrorList{field.Forbidden(at, "name a certificate in spec.certificate, by issuer and serialNumber or by tbsSHA256: the bytes of a signature can be rewritten, so its own SHA-256 does not name it")}
	case id != "" && !strings.Contains(id, "="):
		return field.ErrorList{field.Invalid(at, id, "must have its kind before it, as in audit events, such as NAME=ci or USER=jane")}
	}
	return nil
}

func reason(r v1alpha1.RevocationReason, at *field.Path) field.ErrorList {
	for _, known := range v1alpha1.Reasons() {
		if r == known {
			return nil
		}
	}
	return field.ErrorList{field.NotSupported(at, r, v1alpha1.Reasons())}
}

func times(s *v1alpha1.RevocationSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.IssuedBefore != nil && (s.Certificate != nil || s.Token != nil) {
		errs = append(errs, field.Forbidden(at.Child("issuedBefore"), "one certificate or token was issued when it was: remove it"))
	}
	if s.IssuedBefore != nil && s.IssuedBefore.IsZero() {
		errs = append(errs, field.Invalid(at.Child("issuedBefore"), s.IssuedBefore, "is no time"))
	}
	if s.ExpiresAt == nil {
		return errs
	}
	end := s.CredentialExpiresAt
	if end == nil && (s.Certificate != nil || s.Token != nil) {
		return append(errs, field.Forbidden(at.Child("expiresAt"),
			"the credential ends later than anybody can say, or never: give its end in credentialExpiresAt if it has one, or remove expiresAt"))
	}
	if end != nil && s.ExpiresAt.Time.Before(end.Add(outlives)) {
		errs = append(errs, field.Invalid(at.Child("expiresAt"), s.ExpiresAt.UTC().Format(time.RFC3339), fmt.Sprintf(
			"is not at least %v after the end of the credential (%s), which would be good again", outlives, end.UTC().Format(time.RFC3339))))
	}
	return errs
}

// digest refuses what is no SHA-256 as it is compared.
func digest(hex string, at *field.Path) field.ErrorList {
	if hex == "" || len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == "" {
		return nil
	}
	return field.ErrorList{field.Invalid(at, hex, "must be a SHA-256 in 64 digits of lower-case hexadecimal")}
}

// plain refuses a text that is too long, or that would not be shown as it is.
func plain(text string, most int, at *field.Path) field.ErrorList {
	switch {
	case len(text) > most:
		return field.ErrorList{field.TooLong(at, text[:64]+"...", most)}
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return field.ErrorList{field.Invalid(at, strings.ToValidUTF8(text, "?"), "must be UTF-8 without control characters")}
	}
	return nil
}
