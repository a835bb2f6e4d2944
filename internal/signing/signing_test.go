package signing_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/signing"
)

// The rules of upstream's four signers, with upstream's words.
func TestKubernetesSigners(t *testing.T) {
	const (
		noGroup  = "subject organization is not system:nodes"
		noNode   = "subject common name does not begin with system:node:"
		noHost   = "DNS or IP subjectAltName is required"
		noDNS    = "DNS subjectAltNames are not allowed"
		noEmail  = "Email subjectAltNames are not allowed"
		noIP     = "IP subjectAltNames are not allowed"
		noURI    = "URI subjectAltNames are not allowed"
		clients  = "usages did not match [client auth digital signature key encipherment]"
		servers  = "usages did not match [digital signature key encipherment server auth]"
		noClient = "missing required usage for client certificate: client auth"
	)
	dns, email := func(a *ask) { a.pkcs10.DNSNames = []string{"a"} }, func(a *ask) { a.pkcs10.EmailAddresses = []string{"a@b"} }
	ip, uri := func(a *ask) { a.pkcs10.IPAddresses = []net.IP{{1, 2, 3, 4}} }, func(a *ask) { a.pkcs10.URIs = []*url.URL{{Scheme: "spiffe", Host: "a"}} }
	none := func(a *ask) { a.pkcs10.DNSNames, a.pkcs10.IPAddresses = nil, nil }
	org := func(names ...string) func(*ask) { return func(a *ask) { a.pkcs10.Subject.Organization = names } }
	named := func(name string) func(*ask) { return func(a *ask) { a.pkcs10.Subject.CommonName = name } }
	use := func(list ...certificatesv1.KeyUsage) func(*ask) { return func(a *ask) { a.usages = list } }
	as := func(*ask) {}
	for _, tt := range []struct {
		signer, name string
		change       func(*ask)
		want         string
	}{
		{client, "good", as, ""},
		{client, "with key encipherment", use(digital, encipher, asClient), ""},
		{client, "client auth alone", use(asClient), ""},
		{client, "any subject", org("anything", "system:nodes"), ""},
		{client, "a node", named("system:node:n1"), ""},
		{client, "alternative names", func(a *ask) { dns(a); email(a); ip(a); uri(a) }, ""},
		{client, "no client auth", use(digital, encipher), noClient},
		{client, "server auth too", use(digital, asClient, asServer), "invalid usage for client certificate: server auth"},
		{client, "server auth", use(asServer), "invalid usage for client certificate: server auth"},
		{client, "cert sign", use(asClient, certificatesv1.UsageCertSign), "invalid usage for client certificate: cert sign"},
		{client, "any", use(certificatesv1.UsageAny), "invalid usage for client certificate: any"},
		{client, "key agreement", use(asClient, certificatesv1.UsageKeyAgreement), "invalid usage for client certificate: key agreement"},
		{client, "signing, another word for digital signature", use(asClient, certificatesv1.UsageSigning), "invalid usage for client certificate: signing"},

		{kubelet, "good", as, ""},
		{kubelet, "with key encipherment", use(digital, encipher, asClient), ""},
		{kubelet, "in another order", use(asClient, digital), ""},
		{kubelet, "no group", org(), noGroup},
		{kubelet, "another group", org("system:masters"), noGroup},
		{kubelet, "one group more", org("system:nodes", "system:masters"), noGroup},
		{kubelet, "no node", named("jane"), noNode},
		{kubelet, "the end of the prefix missing", named("system:node"), noNode},
		{kubelet, "no name", named(""), noNode},
		{kubelet, "DNS", dns, noDNS},
		{kubelet, "email", email, noEmail},
		{kubelet, "IP", ip, noIP},
		{kubelet, "URI", uri, noURI},
		{kubelet, "server auth", use(digital, asServer), clients},
		{kubelet, "both", use(digital, asClient, asServer), clients},
		{kubelet, "no digital signature", use(encipher, asClient), clients},
		{kubelet, "no client auth", use(digital, encipher), clients},
		{kubelet, "cert sign", use(digital, asClient, certificatesv1.UsageCertSign), clients},

		{serving, "good", as, ""},
		{serving, "with key encipherment", use(digital, encipher, asServer), ""},
		{serving, "IP alone", func(a *ask) { none(a); ip(a) }, ""},
		{serving, "DNS alone", func(a *ask) { none(a); dns(a) }, ""},
		{serving, "no group", org(), noGroup},
		{serving, "one group more", org("system:nodes", "x"), noGroup},
		{serving, "no host", none, noHost},
		{serving, "email", email, noEmail},
		{serving, "URI", uri, noURI},
		{serving, "client auth", use(digital, asClient), servers},
		{serving, "both", use(digital, asClient, asServer), servers},
		{serving, "no digital signature", use(asServer), servers},
		{serving, "no node", named("kubernetes"), noNode},

		{legacy, "good", as, ""},
		{legacy, "anything", func(a *ask) { a.usages = usages(asServer, certificatesv1.UsageAny); dns(a) }, ""},
	} {
		t.Run(tt.signer+"/"+tt.name, func(t *testing.T) {
			signer, _ := newSigner(t, tt.signer)
			a := good(tt.signer)
			tt.change(&a)
			cert, _, err := signer.Sign(a.read(t, tt.signer), time.Now(), signing.Terms{})
			if tt.want != "" {
				refused(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if cert.IsCA || !cert.BasicConstraintsValid || cert.Subject.CommonName != a.pkcs10.Subject.CommonName {
				t.Errorf("signed %+v for %+v", cert.Subject, a.pkcs10.Subject)
			}
		})
	}
}

// What no signer certifies, whatever its rules say.
func TestNeverSigned(t *testing.T) {
	signer, _ := newSigner(t, legacy)
	mine := newKey(t)
	id, err := signing.KeyID(mine.Public())
	if err != nil {
		t.Fatal(err)
	}
	others := signer.Reserved()
	others[id] = "this server"
	signer.Reserved = func() map[[32]byte]string { return others }
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	names := func(attributes ...pkix.AttributeTypeAndValue) func(*ask) {
		return func(a *ask) { a.pkcs10.Subject = pkix.Name{ExtraNames: attributes} }
	}
	commonName, serial := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 5}
	for _, tt := range []struct {
		name   string
		change func(*ask)
		want   string
	}{
		{"a key of ours", func(a *ask) { a.key = mine }, "the key is that of this server: make a new one"},
		{"P-224", func(a *ask) { a.key = p224 }, "the ECDSA key is on the curve P-224: need P-256, P-384 or P-521"},
		{"cert sign", func(a *ask) { a.usages = usages(certificatesv1.UsageCertSign) },
			`the usages "cert sign" and "crl sign" are those of an authority, and no authority is made by a request`},
		{"crl sign", func(a *ask) { a.usages = usages(digital, certificatesv1.UsageCRLSign) },
			`the usages "cert sign" and "crl sign" are those of an authority, and no authority is made by a request`},
		{"ocsp signing", func(a *ask) { a.usages = usages(digital, certificatesv1.UsageOCSPSigning) },
			`the usage "ocsp signing" speaks for the authority itself, and is not given away`},
		{"unknown usage", func(a *ask) { a.usages = usages("flying", digital, "diving") }, `unrecognized usage values: ["flying" "diving"]`},
		{"two common names", names(pkix.AttributeTypeAndValue{Type: commonName, Value: "jane"}, pkix.AttributeTypeAndValue{Type: commonName, Value: "root"}),
			"the subject has 2 common names: ask for one"},
		{"two serial numbers", names(pkix.AttributeTypeAndValue{Type: serial, Value: "1"}, pkix.AttributeTypeAndValue{Type: serial, Value: "2"}),
			"the subject has 2 serial numbers: ask for one"},
		{"a name with a null byte", func(a *ask) { a.pkcs10.Subject.CommonName = "jane\x00.evil" },
			"the attribute 2.5.4.3 of the subject has a control character in it"},
		{"a number as a name", names(pkix.AttributeTypeAndValue{Type: commonName, Value: 7}), "the attribute 2.5.4.3 of the subject is no text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := good(legacy)
			tt.change(&a)
			_, _, err := signer.Sign(a.read(t, legacy), time.Now(), signing.Terms{})
			refused(t, err, tt.want)
		})
	}
}

// The keys that signatures are made with nowadays.
func TestGoodKeys(t *testing.T) {
	signer, ca := newSigner(t, client)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{"RSA": rsaKey, "Ed25519": edKey}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		if keys[curve.Params().Name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for name, key := range keys {
		a := good(client)
		a.key = key
		cert, _, err := signer.Sign(a.read(t, client), time.Now(), signing.Terms{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := cert.CheckSignatureFrom(ca.Certificate()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A request is read as strictly as the API reads it.
func TestRead(t *testing.T) {
	object := good(client).object(t, client)
	block, _ := pem.Decode(object.Spec.Request)
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, tt := range map[string]struct {
		request []byte
		want    string
	}{
		"nothing":        {nil, "PEM block type must be CERTIFICATE REQUEST"},
		"another block":  {text("CERTIFICATE", block.Bytes), "PEM block type must be CERTIFICATE REQUEST"},
		"not DER":        {text("CERTIFICATE REQUEST", []byte("hunter2")), "asn1: structure error: "},
		"half":           {text("CERTIFICATE REQUEST", block.Bytes[:len(block.Bytes)/2]), "asn1: syntax error: data truncated"},
		"a forged name":  {text("CERTIFICATE REQUEST", []byte(strings.Replace(string(block.Bytes), "jane", "root", 1))), "x509: ECDSA verification failure"},
		"a trailing end": {text("CERTIFICATE REQUEST", append(block.Bytes[:len(block.Bytes):len(block.Bytes)], 0)), "asn1: syntax error: trailing data"},
	} {
		changed := object.DeepCopy()
		changed.Spec.Request = tt.request
		_, err := signing.Read(changed)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// How long a certificate lives, as in upstream's PermissiveSigningPolicy.
func TestLifetime(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	for _, tt := range []struct {
		name    string
		signer  time.Duration
		seconds int32
		latest  time.Duration
		want    time.Duration // of NotAfter, from now
	}{
		{"unasked, a month", 720 * hour, 0, 0, 720*hour - 5*minute},
		{"asked for a day", 720 * hour, 86400, 0, 24*hour - 5*minute},
		{"asked for more", 720 * hour, 721 * 3600, 0, 720*hour - 5*minute},
		{"asked for eight hours", 720 * hour, 8 * 3600, 0, 8*hour - 5*minute},
		{"asked for a second less", 720 * hour, 8*3600 - 1, 0, 8*hour - time.Second},
		{"asked for ten minutes", 720 * hour, 600, 0, 10 * minute},
		{"asked for less", 720 * hour, 1, 0, 10 * minute},
		{"a signer of one hour", hour, 0, 0, hour},
		{"a signer of one hour, asked for two", hour, 7200, 0, hour},
		{"longer than the authority", 20 * 365 * 24 * hour, 0, 0, 10 * 365 * 24 * hour},
		{"an end of the chain", 720 * hour, 0, 3 * hour, 3 * hour},
		{"an end of the chain after its own", 720 * hour, 3600, 3 * hour, hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signer, ca := newSigner(t, client)
				signer.Lifetime = tt.signer
				a := good(client)
				a.seconds = tt.seconds
				now, latest := time.Now(), time.Time{}
				if tt.latest != 0 {
					latest = now.Add(tt.latest)
				}
				cert, _, err := signer.Sign(a.read(t, client), now, signing.Terms{Latest: latest})
				if err != nil {
					t.Fatal(err)
				}
				if got := cert.NotAfter.Sub(now); got != tt.want {
					t.Errorf("lives for %v, want %v", got, tt.want)
				}
				if got := now.Sub(cert.NotBefore); got != 5*minute {
					t.Errorf("begins %v ago", got)
				}
				time.Sleep(ca.Certificate().NotAfter.Sub(now))
				if _, _, err := signer.Sign(a.read(t, client), time.Now(), signing.Terms{}); err == nil || !strings.Contains(err.Error(), "the signer has expired: NotAfter=") {
					t.Errorf("when the authority has ended: %v", err)
				}
			})
		})
	}
}

// What upstream takes over of a request, and what not.
func TestTakenOver(t *testing.T) {
	signer, ca := newSigner(t, client)
	a := good(client)
	a.usages = usages(asClient, encipher, digital)
	a.pkcs10.DNSNames, a.pkcs10.EmailAddresses = []string{"b.example", "a.example"}, []string{"jane@example.com"}
	a.pkcs10.IPAddresses, a.pkcs10.URIs = []net.IP{{10, 0, 0, 1}}, []*url.URL{parseURL(t, "spiffe://example.com/jane")}
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}
	a.pkcs10.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: unknown, Value: "uid-of-somebody-else"}}
	a.pkcs10.Subject.OrganizationalUnit = []string{"unit"}
	a.pkcs10.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
	cert, _, err := signer.Sign(a.read(t, client), time.Now(), signing.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.DNSNames) != 2 || len(cert.EmailAddresses) != 1 || len(cert.IPAddresses) != 1 || len(cert.URIs) != 1 {
		t.Errorf("names: %v %v %v %v", cert.DNSNames, cert.EmailAddresses, cert.IPAddresses, cert.URIs)
	}
	if cert.IsCA || strings.Contains(cert.Subject.String(), "somebody") || len(cert.Subject.OrganizationalUnit) != 1 {
		t.Errorf("signed %v, CA %v", cert.Subject, cert.IsCA)
	}
	if cert.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || len(cert.ExtKeyUsage) != 1 {
		t.Errorf("usages %v %v", cert.KeyUsage, cert.ExtKeyUsage)
	}
	if cert.SerialNumber.BitLen() < 64 || cert.CheckSignatureFrom(ca.Certificate()) != nil {
		t.Errorf("serial %x", cert.SerialNumber)
	}
}

// A request whose key anybody can factor (of Boulder's test data).
func TestFactoredKey(t *testing.T) {
	text, err := os.ReadFile("../jose/testdata/boulder_fermat_csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	object := good(client).object(t, client)
	object.Spec.Request = text
	request, err := signing.Read(object)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := newSigner(t, client)
	_, _, err = signer.Sign(request, time.Now(), signing.Terms{})
	refused(t, err, "the RSA key is weak: it can be factored: its primes are too close (CVE-2022-26320)")
}

func FuzzRead(f *testing.F) {
	object := good(client).object(f, client)
	f.Add(object.Spec.Request)
	signer, _ := newSigner(f, client)
	f.Fuzz(func(t *testing.T, text []byte) {
		changed := object.DeepCopy()
		changed.Spec.Request = text
		request, err := signing.Read(changed)
		if err != nil {
			return
		}
		// Whatever it is, it is signed as it was asked for, or not at all.
		if cert, _, err := signer.Sign(request, time.Now(), signing.Terms{}); err == nil && cert.Subject.CommonName != request.PKCS10.Subject.CommonName {
			t.Errorf("signed %v for %v", cert.Subject, request.PKCS10.Subject)
		}
	})
}
