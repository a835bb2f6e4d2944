package revocation_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/api/validation/revocation"
)

const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestValidate(t *testing.T) {
	type (
		spec  = v1alpha1.RevocationSpec
		cert  = v1alpha1.RevokedCertificate
		token = v1alpha1.RevokedToken
		key   = v1alpha1.RevokedKey
		sa    = v1alpha1.RevokedServiceAccount
	)
	end := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	after := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: end.Add(d)} }
	for _, tt := range []struct {
		name string
		spec spec
		err  string // a part of the only error
	}{
		{"user", spec{User: "jane"}, ""},
		{"user of a directory", spec{User: "oidc:jane@example.org, Ltd."}, ""},
		{"group", spec{Group: "system:authenticated"}, ""},
		{"certificate by number", spec{Certificate: &cert{Issuer: "CN=ca,O=a", SerialNumber: "2a"}}, ""},
		{"certificate of an issuer with a comma", spec{Certificate: &cert{Issuer: `CN=ca,O=a\, b`, SerialNumber: "0"}}, ""},
		{"certificate by what is signed", spec{Certificate: &cert{TBSSHA256: sum}}, ""},
		{"certificate by both", spec{Certificate: &cert{Issuer: "CN=ca", SerialNumber: "2a", TBSSHA256: sum, SHA256: sum}}, ""},
		{"certificate with its renewals", spec{Certificate: &cert{TBSSHA256: sum, Renewals: v1alpha1.RenewalsRevoked, Chain: "7b"}}, ""},
		{"certificate whose renewals are kept", spec{Certificate: &cert{TBSSHA256: sum, Renewals: v1alpha1.RenewalsKept}}, ""},
		{"token", spec{Token: &token{Issuer: "i", JTI: "1"}}, ""},
		{"token by what is signed", spec{Token: &token{SigningInputSHA256: sum}}, ""},
		{"key", spec{Key: &key{ID: "k"}}, ""},
		{"key of a CA", spec{Key: &key{ID: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", Issuer: "X509SHA256=" + sum}}, ""},
		{"credential", spec{CredentialID: "NAME=ci"}, ""},
		{"service account", spec{ServiceAccount: &sa{Namespace: "ns", Name: "a.b"}}, ""},
		{"issuer", spec{Issuer: "https://idp"}, ""},
		{"CA", spec{Issuer: "X509SHA256=" + sum}, ""},
		{"issued before", spec{Issuer: "https://idp", IssuedBefore: &end}, ""},
		{"ends with its credential", spec{User: "a", CredentialExpiresAt: &end, ExpiresAt: after(time.Minute)}, ""},
		{"ends", spec{User: "a", ExpiresAt: &end}, ""},

		{"nothing", spec{}, "spec: Required value: name what is revoked: one of certificate, token, key"},
		{"two", spec{User: "a", Group: "b"}, "spec: Forbidden: names user and group"},
		{"control character", spec{User: "a\x00"}, "spec.user: Invalid value"},
		{"no UTF-8", spec{Group: "a\xff"}, "spec.group: Invalid value"},
		{"long", spec{Issuer: strings.Repeat("a", 2049)}, "spec.issuer: Too long"},
		{"certificate by nothing", spec{Certificate: &cert{}}, "spec.certificate: Required value: name the certificate by issuer"},
		{"certificate by its own digest", spec{Certificate: &cert{SHA256: sum}}, "rewritten the bytes of its signature"},
		{"another word for what becomes of renewals", spec{Certificate: &cert{TBSSHA256: sum, Renewals: "kept"}}, "renewals: Unsupported value"},
		{"renewals kept and named", spec{Certificate: &cert{TBSSHA256: sum, Renewals: v1alpha1.RenewalsKept, Chain: "7b"}}, "chain: Forbidden"},
		{"chain in capitals", spec{Certificate: &cert{TBSSHA256: sum, Chain: "7B"}}, "chain: Invalid value"},
		{"chain with zeros", spec{Certificate: &cert{TBSSHA256: sum, Chain: "07b"}}, "chain: Invalid value"},
		{"chain alone", spec{Certificate: &cert{Chain: "7b"}}, "spec.certificate: Required value"},
		{"number alone", spec{Certificate: &cert{SerialNumber: "1", TBSSHA256: sum}}, "give both, or neither"},
		{"number in decimal is not told apart, but one with colons is", spec{Certificate: &cert{Issuer: "CN=a", SerialNumber: "0a:0b"}}, "serialNumber: Invalid value"},
		{"number with zeros", spec{Certificate: &cert{Issuer: "CN=a", SerialNumber: "0a"}}, "serialNumber: Invalid value"},
		{"number in capitals", spec{Certificate: &cert{Issuer: "CN=a", SerialNumber: "A"}}, "serialNumber: Invalid value"},
		{"issuer as openssl has it", spec{Certificate: &cert{Issuer: "CN = a", SerialNumber: "1"}}, "issuer: Invalid value: \"CN = a\": must be of RFC 2253"},
		{"issuer with slashes", spec{Certificate: &cert{Issuer: "/CN=a", SerialNumber: "1"}}, "must be of RFC 2253"},
		{"issuer with spaces", spec{Certificate: &cert{Issuer: "CN=a, O=b", SerialNumber: "1"}}, "must be of RFC 2253"},
		{"issuer by a word", spec{Certificate: &cert{Issuer: "a", SerialNumber: "1"}}, "must be of RFC 2253"},
		{"digest with colons", spec{Certificate: &cert{TBSSHA256: "01:" + sum[3:]}}, "tbsSHA256: Invalid value"},
		{"short digest", spec{Certificate: &cert{TBSSHA256: sum[1:]}}, "tbsSHA256: Invalid value"},
		{"digest in capitals", spec{Token: &token{SigningInputSHA256: strings.ToUpper(sum)}}, "signingInputSHA256: Invalid value"},
		{"issuer of a token alone", spec{Token: &token{Issuer: "i"}}, "spec.token: Required value: name the token by issuer and jti"},
		{"jti with its kind", spec{Token: &token{Issuer: "i", JTI: "JTI=1"}}, "must be the claim alone"},
		{"key without an ID", spec{Key: &key{Issuer: "i"}}, "spec.key.id: Required value"},
		{"key of a CA by another name", spec{Key: &key{ID: "AA:BB", Issuer: "X509SHA256=" + sum}}, "spec.key.id: Invalid value"},
		{"jti as a credential", spec{CredentialID: "JTI=1"}, "spec.credentialID: Forbidden: name a token in spec.token"},
		{"certificate as a credential", spec{CredentialID: "X509SHA256=" + sum}, "spec.credentialID: Forbidden: name a certificate in spec.certificate"},
		{"credential without its kind", spec{CredentialID: "ci"}, "must have its kind before it"},
		{"namespace", spec{ServiceAccount: &sa{Namespace: "Ns", Name: "a"}}, "spec.serviceAccount.namespace: Invalid value"},
		{"name", spec{ServiceAccount: &sa{Namespace: "ns", Name: ""}}, "spec.serviceAccount.name: Invalid value"},
		{"CA by nothing", spec{Issuer: "X509SHA256="}, "spec.issuer: Invalid value"},
		{"CA with colons", spec{Issuer: "X509SHA256=AA:BB"}, "spec.issuer: Invalid value"},
		{"no reason", spec{User: "a", Reason: "removeFromCRL"}, "spec.reason: Unsupported value"},
		{"message", spec{User: "a", Message: "a\nb"}, "spec.message: Invalid value"},
		{"one token before a time", spec{Token: &token{Issuer: "i", JTI: "1"}, IssuedBefore: &end}, "spec.issuedBefore: Forbidden"},
		{"a token may outlive it", spec{Token: &token{Issuer: "i", JTI: "j"}, ExpiresAt: &end}, "spec.expiresAt: Forbidden: the credential ends later than anybody can say"},
		{"a certificate may outlive it", spec{Certificate: &cert{TBSSHA256: sum}, ExpiresAt: &end}, "spec.expiresAt: Forbidden: the credential ends later than anybody can say"},
		{"ends too early", spec{User: "a", CredentialExpiresAt: &end, ExpiresAt: after(59 * time.Second)}, "spec.expiresAt: Invalid value: \"2026-01-01T00:00:59Z\": is not at least 1m0s after the end of the credential"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.spec.Reason == "" {
				tt.spec.Reason = v1alpha1.ReasonUnspecified
			}
			r := &v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "1"}, Spec: tt.spec}
			errs := revocation.ValidateRevocation(r)
			switch {
			case tt.err == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs)
			case tt.err != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.err)):
				t.Errorf("errors %v, want one with %q", errs, tt.err)
			}
			if errs := revocation.ValidateRevocationUpdate(r, r.DeepCopy()); len(errs) > 0 {
				t.Errorf("nothing changes, and it is refused: %v", errs)
			}
			other := r.DeepCopy()
			other.Spec.Message = "changed"
			if errs := revocation.ValidateRevocationUpdate(other, r); len(errs) != 1 || errs[0].Field != "spec" {
				t.Errorf("changed: %v", errs)
			}
		})
	}
}
