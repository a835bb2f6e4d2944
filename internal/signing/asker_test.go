package signing_test

import (
	"reflect"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/signing"
)

// stamped returns a request as the server writes it for somebody.
func stamped(t testing.TB, who *identity.Identity) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	text, err := signing.AskedWith(who)
	if err != nil {
		t.Fatal(err)
	}
	r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		Username: who.Name, UID: who.UID, Groups: who.Groups, Extra: map[string]certificatesv1.ExtraValue{signing.AskedWithKey: {text}},
	}}
	for key, values := range who.Extra {
		r.Spec.Extra[key] = values
	}
	return r
}

// Who asked is known days later as the front door knew him, with all that a
// Revocation may name.
func TestAsker(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ca := &identity.Credential{Method: identity.ClientCertificate, ID: "X509SHA256=ca", IssuerName: "CN=root", Serial: "1", Digest: "d", KeyID: "k", IssuedAt: at}
	cert := identity.Credential{
		Method: identity.ClientCertificate, Issuer: "X509SHA256=ca", ID: "X509SHA256=leaf", IssuerName: "CN=ca", Serial: "2a", Digest: "e",
		KeyID: "ca-key", Above: ca, IssuedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	ids := map[string][]string{identity.CredentialIDKey: {"X509SHA256=leaf"}}
	root := &identity.Identity{Name: "root", Groups: []string{"system:masters"}, Extra: ids, Credential: cert}
	for name, who := range map[string]*identity.Identity{
		"a certificate": {Name: "jane", UID: "u", Groups: []string{"dev"}, Extra: ids, Credential: cert},
		"a token":       {Name: "sa", Extra: map[string][]string{"a": {"b", "c"}}, Credential: identity.Credential{Method: identity.ServiceAccount, Issuer: "https://sa", ID: "JTI=1", KeyID: "kid", IssuedAt: at}},
		"a token with a claim of another": {Name: "joe", Extra: map[string][]string{}, Credential: identity.Credential{Method: identity.JWT, Issuer: "https://idp", Digest: "d",
			Beside: &identity.Credential{Method: identity.JWT, Issuer: "https://graph", ID: "JTI=g", KeyID: "graph"}}},
		"a static token":       {Name: "ci", Extra: map[string][]string{}, Credential: identity.Credential{Method: identity.StaticToken, ID: "NAME=ci"}},
		"somebody acts as him": {Name: "jane", Extra: map[string][]string{}, Credential: cert, Impersonator: root},
	} {
		if got := signing.Asker(stamped(t, who)); !reflect.DeepEqual(got, who) {
			t.Errorf("%s: %+v, want %+v", name, got, who)
		}
	}
}

// What was not written by the server, or cannot be read, proves nothing.
func TestAskerUnknown(t *testing.T) {
	for name, text := range map[string]certificatesv1.ExtraValue{
		"nothing": nil, "two": {"{}", "{}"}, "no JSON": {"digest"}, "empty": {""}, "another type": {`{"with": []}`},
	} {
		r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			Username: "jane", Extra: map[string]certificatesv1.ExtraValue{signing.AskedWithKey: text, "a": {"b"}},
		}}
		who := signing.Asker(r)
		if who.Name != "jane" || !reflect.DeepEqual(who.Credential, identity.Credential{}) || len(who.Extra) != 1 || signing.Presented(r) != "" {
			t.Errorf("%s: %+v", name, who)
		}
	}
}

func TestPrecedes(t *testing.T) {
	request := good(client).read(t, client)
	for name, tt := range map[string]struct {
		held *signing.Held
		want bool
	}{
		"the same user":                   {&signing.Held{Signer: client, User: "jane"}, true},
		"the same user of another signer": {&signing.Held{Signer: kubelet, User: "jane"}, true},
		"another user":                    {&signing.Held{Signer: client, User: "joe"}, false},
		"no certificate":                  {nil, false},
		"one for nobody":                  {&signing.Held{Signer: client}, false},
	} {
		if got := tt.held.Precedes(request); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever is in that attribute, nobody is somebody else for it.
func FuzzAsker(f *testing.F) {
	f.Add(`{"with":{"method":"X509","digest":"d","above":{"id":"x"}},"by":[{"name":"root"}]}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
			Username: "jane", Groups: []string{"dev"}, Extra: map[string]certificatesv1.ExtraValue{signing.AskedWithKey: {text}},
		}}
		who := signing.Asker(r)
		if who.Name != "jane" || len(who.Groups) != 1 || who.Extra[signing.AskedWithKey] != nil {
			t.Errorf("%+v", who)
		}
	})
}
