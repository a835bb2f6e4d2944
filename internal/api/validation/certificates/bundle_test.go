package certificates_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/validation/certificates"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

type bundle = certificatesv1.ClusterTrustBundle

func anchor(t *testing.T, name string, isCA, constrained bool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: constrained}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(block("CERTIFICATE", der))
}

func TestTrustBundle(t *testing.T) {
	a, b := anchor(t, "a", true, true), anchor(t, "b", true, true)
	headed := func(text string) string {
		p, _ := pem.Decode([]byte(text))
		p.Headers = map[string]string{"Key": "value"}
		return string(pem.EncodeToMemory(p))
	}
	omitted := func(what string) string { return `spec.trustBundle: Invalid value: "<value omitted>": ` + what }
	for _, test := range []struct {
		name               string
		object, signer, in string
		want               []string
	}{
		{name: "good", object: "roots", in: a},
		{name: "two", object: "roots", in: "some text\n" + a + "more text\n" + b},
		{name: "of a signer", object: "example.com:x:v1", signer: "example.com/x", in: a},
		{name: "a colon without a signer", object: "example.com:x:v1", in: a,
			want: []string{`metadata.name: Invalid value: "example.com:x:v1": ClusterTrustBundle without signer name must not have ":" in its name`}},
		{name: "of a signer, without its prefix", object: "roots", signer: "example.com/x", in: a,
			want: []string{`metadata.name: Invalid value: "roots": ClusterTrustBundle for signerName example.com/x must be named with prefix example.com:x:`}},
		{name: "of another signer", object: "example.com:y:v1", signer: "example.com/x", in: a,
			want: []string{`metadata.name: Invalid value: "example.com:y:v1": ClusterTrustBundle for signerName example.com/x must be named with prefix example.com:x:`}},
		{name: "a bad signer", object: "x::v1", signer: "x/", in: a,
			want: []string{`spec.signerName: Invalid value: "x": should be a domain with at least two segments separated by dots`, `spec.signerName: Invalid value: ""`}},
		{name: "nothing", object: "roots", want: []string{omitted("at least one trust anchor must be provided")}},
		{name: "text", object: "roots", in: "hunter2", want: []string{omitted("at least one trust anchor must be provided")}},
		{name: "another block", object: "roots", in: string(block("PRIVATE KEY", []byte("x"))) + a, want: []string{omitted("entry 0 has bad block type: PRIVATE KEY")}},
		{name: "headers", object: "roots", in: a + headed(b), want: []string{omitted("entry 1 has PEM block headers")}},
		{name: "no certificate", object: "roots", in: string(block("CERTIFICATE", []byte("x"))), want: []string{omitted("entry 0 does not parse as X.509")}},
		{name: "a leaf", object: "roots", in: anchor(t, "leaf", false, true), want: []string{omitted("entry 0 does not have the CA bit set")}},
		{name: "no constraints", object: "roots", in: anchor(t, "old", false, false), want: []string{omitted("entry 0 does not have the CA bit set")}},
		{name: "twice", object: "roots", in: a + b + a, want: []string{omitted("duplicate trust anchor (indices [0 2])")}},
		{name: "too long", object: "roots", in: strings.Repeat("x", 1<<20) + a, want: []string{`spec.trustBundle: Too long: may not be more than 1048576 bytes`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			errs := certificates.ValidateClusterTrustBundle(&bundle{
				ObjectMeta: metav1.ObjectMeta{Name: test.object},
				Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: test.signer, TrustBundle: test.in},
			})
			for i, want := range test.want {
				if i >= len(errs) || !strings.HasPrefix(errs[i].Error(), want) {
					t.Errorf("got %v, want %s", errs, want)
				}
			}
			if len(test.want) == 0 && len(errs) > 0 {
				t.Error(errs)
			}
		})
	}
}

func TestTrustBundleUpdate(t *testing.T) {
	old := &bundle{
		ObjectMeta: metav1.ObjectMeta{Name: "example.com:x:v1", ResourceVersion: "1"},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: "example.com/x", TrustBundle: "what a stricter version would refuse"},
	}
	updated := old.DeepCopy()
	updated.Labels = map[string]string{"a": "b"}
	validationtest.Check(t, certificates.ValidateClusterTrustBundleUpdate(updated, old))
	updated.Spec.TrustBundle = "hunter2"
	validationtest.Check(t, certificates.ValidateClusterTrustBundleUpdate(updated, old),
		`spec.trustBundle: Invalid value: "<value omitted>": at least one trust anchor must be provided`)
	updated = old.DeepCopy()
	updated.Spec.SignerName = ""
	errs := certificates.ValidateClusterTrustBundleUpdate(updated, old)
	if len(errs) != 2 || !strings.Contains(errs[1].Error(), `spec.signerName: Invalid value: "": field is immutable`) {
		t.Error(errs)
	}
}
