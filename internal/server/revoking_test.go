package server_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/revocation"
)

const revocations = "/apis/gatehouse.dev/v1alpha1/revocations"

// A Revocation of what was issued here ends after it, whatever the client knows
// or says.
func TestRevocationEndsAfterItsCredential(t *testing.T) {
	s, err := open(t, configure(filepath.Join(t.TempDir(), "data")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	run(t, s)
	kubeconfig := s.AdminKubeconfig()
	robot := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	if code := call(t, kubeconfig, "POST", "/api/v1/namespaces/default/serviceaccounts", robot, nil); code != http.StatusCreated {
		t.Fatalf("making the account: %d", code)
	}
	issued := &authenticationv1.TokenRequest{}
	if code := call(t, kubeconfig, "POST", robotTokens, &authenticationv1.TokenRequest{}, issued); code != http.StatusCreated {
		t.Fatalf("asking for a token: %d", code)
	}
	ofToken, err := revocation.OfToken(issued.Status.Token)
	if err != nil {
		t.Fatal(err)
	}
	ofAdmin := revocation.OfCertificate(certificateIn(t, kubeconfig))
	end, adminEnd := issued.Status.ExpirationTimestamp, *ofAdmin.CredentialExpiresAt
	soon, past := metav1.NewTime(time.Now().Add(8*time.Second)), metav1.NewTime(time.Now().Add(-time.Hour))
	token := func(t v1alpha1.RevokedToken, says, ends *metav1.Time) v1alpha1.RevocationSpec {
		return v1alpha1.RevocationSpec{Token: &t, CredentialExpiresAt: says, ExpiresAt: ends}
	}
	cert := func(c v1alpha1.RevokedCertificate, says *metav1.Time) v1alpha1.RevocationSpec {
		return v1alpha1.RevocationSpec{Certificate: &c, CredentialExpiresAt: says, Force: true}
	}
	byJTI := v1alpha1.RevokedToken{Issuer: ofToken.Token.Issuer, JTI: ofToken.Token.JTI}
	bySerial := v1alpha1.RevokedCertificate{Issuer: ofAdmin.Certificate.Issuer, SerialNumber: ofAdmin.Certificate.SerialNumber}
	for _, tt := range []struct {
		name string
		spec v1alpha1.RevocationSpec
		end  *metav1.Time // of the credential, or nil if the Revocation is refused
	}{
		{"a token by its jti", token(byJTI, nil, nil), &end},
		{"a token that is said to have ended", token(byJTI, &past, nil), &end},
		{"a token, for a moment", token(byJTI, nil, &soon), nil},
		{"a token that is said to have ended, for a moment", token(byJTI, &past, &soon), nil},
		{"a token of others without an end, for a moment", token(v1alpha1.RevokedToken{Issuer: "https://other", JTI: byJTI.JTI}, nil, &soon), nil},
		{"a certificate by its serial number", cert(bySerial, &past), &adminEnd},
		{"a certificate by its digest", cert(v1alpha1.RevokedCertificate{TBSSHA256: ofAdmin.Certificate.TBSSHA256}, &past), &adminEnd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var made v1alpha1.Revocation
			code := call(t, kubeconfig, "POST", revocations+"?dryRun=All", &v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Spec: tt.spec}, &made)
			switch {
			case tt.end == nil && code != http.StatusUnprocessableEntity:
				t.Errorf("answered %d", code)
			case tt.end != nil && (code != http.StatusCreated || !made.Spec.CredentialExpiresAt.Equal(tt.end) || !made.Spec.ExpiresAt.After(tt.end.Time)):
				t.Errorf("answered %d; the credential ends %v, and the revocation %v, want %v", code, made.Spec.CredentialExpiresAt, made.Spec.ExpiresAt, tt.end)
			}
		})
	}
}
