package certificates_test

import (
	"bytes"
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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation/certificates"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

type csr = certificatesv1.CertificateSigningRequest

const usageList = `supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", ` +
	`"data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", ` +
	`"ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", ` +
	`"s/mime", "server auth", "signing", "timestamping"`

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// fixtures returns a request that is right in every way, and a certificate.
func fixtures(t *testing.T) (good *csr, cert []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: "jane"}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &csr{
		ObjectMeta: metav1.ObjectMeta{Name: "any/Name at all", ResourceVersion: "1"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    block("CERTIFICATE REQUEST", der),
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}, block("CERTIFICATE", certDER)
}

func decide(types ...certificatesv1.RequestConditionType) (list []certificatesv1.CertificateSigningRequestCondition) {
	for _, t := range types {
		list = append(list, certificatesv1.CertificateSigningRequestCondition{Type: t, Status: corev1.ConditionTrue})
	}
	return list
}

func TestCreate(t *testing.T) {
	good, cert := fixtures(t)
	forged := func(r *csr) {
		block, _ := pem.Decode(r.Spec.Request)
		r.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: block.Type,
			Bytes: bytes.Replace(block.Bytes, []byte("jane"), []byte("root"), 1)})
	}
	for _, test := range []struct {
		name   string
		change func(*csr)
		want   []string
	}{
		{name: "good", change: func(*csr) {}},
		{name: "ten minutes", change: func(r *csr) { r.Spec.ExpirationSeconds = new(int32(600)) }},
		{name: "own condition", change: func(r *csr) {
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: "Seen", Status: "Unknown"}}
		}},
		{name: "no PEM", change: func(r *csr) { r.Spec.Request = []byte("hunter2") },
			want: []string{`spec.request: Invalid value: "<request data>": PEM block type must be CERTIFICATE REQUEST`}},
		{name: "another kind of PEM", change: func(r *csr) { r.Spec.Request = cert },
			want: []string{`spec.request: Invalid value: "<request data>": PEM block type must be CERTIFICATE REQUEST`}},
		{name: "forged", change: forged,
			want: []string{`spec.request: Invalid value: "<request data>": x509: ECDSA verification failure`}},
		{name: "no usages", change: func(r *csr) { r.Spec.Usages = nil },
			want: []string{`spec.usages: Required value`}},
		{name: "unknown usage", change: func(r *csr) { r.Spec.Usages = []certificatesv1.KeyUsage{"flying"} },
			want: []string{`spec.usages[0]: Unsupported value: "flying": ` + usageList}},
		{name: "usage twice", change: func(r *csr) { r.Spec.Usages = []certificatesv1.KeyUsage{"any", "any"} },
			want: []string{`spec.usages[1]: Duplicate value: "any"`}},
		{name: "legacy signer", change: func(r *csr) { r.Spec.SignerName = certificates.LegacyUnknownSigner },
			want: []string{`spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version`}},
		{name: "short", change: func(r *csr) { r.Spec.ExpirationSeconds = new(int32(599)) },
			want: []string{`spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)`}},
		{name: "both approved and denied", change: func(r *csr) { r.Status.Conditions = decide("Denied", "Approved") },
			want: []string{`status.conditions: Invalid value: "{conditions[{\"type\": \"Approved\"}], conditions[{\"type\": \"Denied\"}]}": ` +
				"must specify at most one of: `conditions[{\"type\": \"Approved\"}]`, `conditions[{\"type\": \"Denied\"}]`"}},
		{name: "half approved", change: func(r *csr) {
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: "Approved", Status: "False"}}
		}, want: []string{`status.conditions[0].status: Unsupported value: "False": supported values: "True"`}},
		{name: "empty condition", change: func(r *csr) {
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{}}
		}, want: []string{`status.conditions[0].type: Required value`, `status.conditions[0].status: Required value`}},
		{name: "condition twice", change: func(r *csr) { r.Status.Conditions = decide("Failed", "Failed") },
			want: []string{`status.conditions[1].type: Duplicate value: "Failed"`}},
		{name: "bad certificate", change: func(r *csr) { r.Status.Certificate = []byte("x") },
			want: []string{`status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := good.DeepCopy()
			test.change(r)
			validationtest.Check(t, certificates.ValidateCertificateSigningRequest(r), test.want...)
		})
	}
}

func TestUpdate(t *testing.T) {
	good, cert := fixtures(t)
	approved, issued := good.DeepCopy(), good.DeepCopy()
	approved.Status.Conditions = decide("Approved")
	issued.Status.Conditions, issued.Status.Certificate = decide("Approved"), cert
	const (
		noAdd       = `status.conditions: Forbidden: updates may not add a condition of type "Approved"`
		noRemove    = `status.conditions: Forbidden: updates may not remove a condition of type "Approved"`
		noModify    = `status.conditions: Forbidden: updates may not modify a condition of type "Approved"`
		noSet       = `status.certificate: Forbidden: updates may not set certificate content`
		noReplace   = `status.certificate: Forbidden: updates may not modify existing certificate content`
		noneOfThose = `status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST"`
	)
	type wants struct{ update, status, approval []string }
	all := func(want ...string) wants { return wants{want, want, want} }
	for _, test := range []struct {
		name   string
		old    *csr
		change func(*csr)
		want   wants
	}{
		{name: "label", old: issued, change: func(r *csr) { r.Labels = map[string]string{"a": "b"} }},
		{name: "approve", old: good, change: func(r *csr) { r.Status.Conditions = decide("Approved") },
			want: wants{[]string{noAdd}, []string{noAdd}, nil}},
		{name: "fail", old: approved, change: func(r *csr) { r.Status.Conditions = decide("Approved", "Failed") }},
		{name: "take back", old: approved, change: func(r *csr) { r.Status.Conditions = nil }, want: all(noRemove)},
		{name: "give another reason", old: approved, change: func(r *csr) { r.Status.Conditions[0].Reason = "Bribed" },
			want: wants{[]string{noModify}, []string{noModify}, nil}},
		{name: "issue", old: approved, change: func(r *csr) { r.Status.Certificate = cert },
			want: wants{[]string{noSet}, nil, []string{noSet}}},
		{name: "issue again", old: issued, change: func(r *csr) { r.Status.Certificate = append(cert, cert...) },
			want: wants{[]string{noSet}, []string{noReplace}, []string{noSet}}},
		{name: "take the certificate away", old: issued, change: func(r *csr) { r.Status.Certificate = nil },
			want: wants{[]string{noSet}, []string{noReplace}, []string{noSet}}},
		{name: "issue a request", old: approved, change: func(r *csr) { r.Status.Certificate = r.Spec.Request },
			want: wants{[]string{noSet, noneOfThose}, []string{noneOfThose}, []string{noSet, noneOfThose}}},
		{name: "no version", old: good, change: func(r *csr) { r.ResourceVersion = "" },
			want: all(`metadata.resourceVersion: Invalid value: "": must be specified for an update`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.old.DeepCopy()
			test.change(r)
			validationtest.Check(t, certificates.ValidateCertificateSigningRequestUpdate(r, test.old), test.want.update...)
			validationtest.Check(t, certificates.ValidateCertificateSigningRequestStatusUpdate(r, test.old), test.want.status...)
			validationtest.Check(t, certificates.ValidateCertificateSigningRequestApprovalUpdate(r, test.old), test.want.approval...)
		})
	}
}

// TestOldSins updates an object that could not be created today.
func TestOldSins(t *testing.T) {
	old, _ := fixtures(t)
	old.Spec.SignerName = certificates.LegacyUnknownSigner
	old.Spec.Usages = []certificatesv1.KeyUsage{"flying", "flying"}
	old.Status.Conditions = append(decide("Approved", "Denied", "Approved"),
		certificatesv1.CertificateSigningRequestCondition{Status: "True"})
	old.Status.Certificate = []byte("x")
	if errs := certificates.ValidateCertificateSigningRequest(old); len(errs) != 8 {
		t.Errorf("creating it: %d errors, want 8: %v", len(errs), errs)
	}
	validationtest.Check(t, certificates.ValidateCertificateSigningRequestUpdate(old.DeepCopy(), old))
}

func TestSignerName(t *testing.T) {
	label := func(n int) string { return strings.Repeat("a", n) }
	long := strings.Repeat(label(49)+".", 5) // 250
	const form = `must be a fully qualified domain and path of the form 'example.com/signer-name'`
	for _, test := range []struct {
		name string
		want []string
	}{
		{name: "example.com/a"},
		{name: "kubernetes.io/kubelet-serving"},
		{name: "example.com/" + label(63) + "." + long + "aaa"},
		{name: "", want: []string{`signerName: Required value`}},
		{name: "example.com", want: []string{`signerName: Invalid value: "example.com": ` + form}},
		{name: "example.com/a/b", want: []string{`signerName: Invalid value: "example.com/a/b": ` + form}},
		{name: "example/a", want: []string{`signerName: Invalid value: "example": should be a domain with at least two segments separated by dots`}},
		{name: long + "aaaa/a", want: []string{`signerName: Too long: may not be more than 253 bytes`}},
		{name: "example.com/" + strings.Repeat(label(99)+".", 6) + "a", want: []string{`signerName: Too long: may not be more than 571 bytes`}},
	} {
		validationtest.Check(t, certificates.ValidateSignerName(test.name, field.NewPath("signerName")), test.want...)
	}
	for _, name := range []string{"Example.com/a", "example..com/a", "example.com/A", "example.com/", "-.com/a"} {
		if errs := certificates.ValidateSignerName(name, field.NewPath("signerName")); len(errs) != 1 ||
			!strings.HasPrefix(errs[0].Detail, "validating label ") {
			t.Errorf("%q: %v, want one bad label", name, errs)
		}
	}
}

// FuzzPEM looks for bytes that make the parsers of requests and certificates
// panic, and for an error that repeats what it was given.
func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0IGtleQ==\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &csr{Spec: certificatesv1.CertificateSigningRequestSpec{Request: data}}
		r.Status.Certificate = data
		for _, err := range certificates.ValidateCertificateSigningRequest(r) {
			if len(data) > 40 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("error repeats the input: %v", err)
			}
		}
	})
}
