package api

import (
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/signing"
)

// What a request says of the credential that it was sent with is the server's
// word, whoever else may choose extra attributes.
func TestStampAskedWith(t *testing.T) {
	const mine, forged = "digest-of-mine", "digest-of-another"
	certificate := identity.Credential{Method: identity.ClientCertificate, Digest: mine}
	lie, err := signing.AskedWith(&identity.Identity{Credential: identity.Credential{Method: identity.ClientCertificate, Digest: forged}})
	if err != nil {
		t.Fatal(err)
	}
	forgery := map[string]certificatesv1.ExtraValue{signing.AskedWithKey: {lie}}
	extra := map[string][]string{signing.AskedWithKey: {lie}, "a": {"b"}}
	for _, tt := range []struct {
		name string
		who  user.Info
		want string
	}{
		{"a certificate", &identity.Identity{Name: "jane", Credential: certificate}, mine},
		{"a certificate, and extra attributes", &identity.Identity{Name: "jane", Credential: certificate, Extra: extra}, mine},
		{"a certificate of a proxy", &identity.Identity{Name: "jane", Extra: extra, Credential: identity.Credential{Method: identity.FrontProxy, Digest: mine}}, ""},
		{"acting as somebody", &identity.Identity{Name: "jane", Extra: extra, Credential: certificate, Impersonator: &identity.Identity{Name: "root", Credential: certificate}}, ""},
		{"a token", &identity.Identity{Name: "jane", Extra: extra, Credential: identity.Credential{Method: identity.ServiceAccount, Digest: mine}}, ""},
		{"a webhook's word", &identity.Identity{Name: "jane", Extra: extra, Credential: identity.Credential{Method: identity.Webhook}}, ""},
		{"a certificate without a digest", &identity.Identity{Name: "jane", Extra: extra, Credential: identity.Credential{Method: identity.ClientCertificate}}, ""},
		{"another kind of caller", &user.DefaultInfo{Name: "jane", Extra: extra}, ""},
	} {
		r := &signingRequest{Spec: certificatesv1.CertificateSigningRequestSpec{Extra: forgery}}
		stampRequester(genericapirequest.WithUser(t.Context(), tt.who), r)
		if got := signing.Presented(r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// Without a caller nothing is left of what the client said.
	r := &signingRequest{Spec: certificatesv1.CertificateSigningRequestSpec{Extra: forgery}}
	stampRequester(t.Context(), r)
	if signing.Presented(r) != "" {
		t.Error("nobody presented a certificate")
	}
}
