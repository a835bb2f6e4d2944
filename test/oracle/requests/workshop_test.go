package requests_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"
)

// A signer is a certificate with its key, and the certificates above it that a
// client has to present.
type signer struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above []*x509.Certificate
}

// A workshop makes client certificates, good ones and near misses.
type workshop struct {
	*rand.Rand
	t       testing.TB
	keys    []crypto.Signer
	public  []any // keys of leaves
	trusted []*x509.Certificate
	signers []signer // the first few are good and quick
	good    int
	filler  *x509.Certificate // a large certificate of nobody
	serial  int64
}

func newWorkshop(t testing.TB) *workshop {
	t.Helper()
	w := &workshop{t: t, Rand: rand.New(rand.NewPCG(1, 1))}
	p256, err1 := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	other, err2 := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	rsaKey, err3 := rsa.GenerateKey(cryptorand.Reader, 2048)
	_, edwards, err4 := ed25519.GenerateKey(cryptorand.Reader)
	wide, err5 := ecdsa.GenerateKey(elliptic.P384(), cryptorand.Reader)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatal(err)
		}
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 9000)
	w.keys = []crypto.Signer{p256, other, rsaKey, edwards, wide}
	w.public = []any{p256.Public(), rsaKey.Public(), edwards.Public(), wide.Public(), &rsa.PublicKey{N: huge.SetBit(huge, 0, 1), E: 65537}}

	ca := func(name string, key crypto.Signer, by *signer, trusted bool, change func(*x509.Certificate)) signer {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
		if change != nil {
			change(template)
		}
		s := signer{key: key}
		if by == nil {
			s.cert = w.sign(template, template, key, key.Public())
		} else {
			s.cert = w.sign(template, by.cert, by.key, key.Public())
			s.above = append([]*x509.Certificate{s.cert}, by.above...)
		}
		if s.cert == nil {
			t.Fatalf("%s cannot be made", name)
		}
		if trusted {
			w.trusted = append(w.trusted, s.cert)
		}
		return s
	}
	root, rsaRoot := ca("root", p256, nil, true, nil), ca("rsa root", rsaKey, nil, true, nil)
	edRoot := ca("edwards root", edwards, nil, true, nil)
	middle := ca("middle", other, &root, false, nil)
	low := ca("low", edwards, &middle, false, nil)
	w.signers = []signer{root, edRoot, middle, low}
	w.good = len(w.signers)
	w.signers = append(w.signers,
		rsaRoot, rsaRoot, ca("wide root", wide, nil, true, nil), // good, but take ten times as long
		ca("root", other, nil, false, nil), // a namesake
		ca("stranger", rsaKey, nil, false, nil),
		ca("plain", p256, nil, true, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }),
		ca("expired", other, &root, false, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		ca("future", other, &root, false, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }),
		ca("expired root", edwards, nil, true, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		ca("for servers", other, &root, false, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		ca("for clients", other, &root, false, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
		ca("no CA", other, &root, false, func(c *x509.Certificate) { c.IsCA = false }),
		ca("signs nothing", other, &root, false, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }),
		ca("odd", other, &root, false, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknownExtension(true)} }),
		ca("of example.org", other, &root, false, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.org"}
			c.PermittedEmailAddresses = []string{"example.org"}
		}),
		ca("not of example.org", other, &root, false, func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example.org"} }),
	)
	end := ca("last", other, &root, false, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	w.signers = append(w.signers, end, ca("below the last", p256, &end, false, nil))
	big := &x509.Certificate{Subject: pkix.Name{CommonName: "big"}, NotAfter: time.Now().Add(time.Hour)}
	for i := range 4000 {
		big.DNSNames = append(big.DNSNames, fmt.Sprintf("%d.example.net", i))
	}
	w.filler = w.sign(big, root.cert, p256, p256.Public())
	return w
}

// sign returns a certificate, or nil if it cannot be made or read.
func (w *workshop) sign(template, parent *x509.Certificate, key crypto.Signer, public any) *x509.Certificate {
	w.serial++
	template.SerialNumber = big.NewInt(w.serial)
	der, err := x509.CreateCertificate(cryptorand.Reader, template, parent, public, key)
	if err != nil {
		return nil
	}
	if template.RawSubject != nil && w.rarely(40) { // one bit is wrong
		der[w.IntN(len(der))] ^= 1 << w.IntN(8)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return cert
}

// rarely is true for one in n.
func (w *workshop) rarely(n int) bool { return w.IntN(n) == 0 }

// next returns what a client presents, or nil if its certificate cannot be read.
func (w *workshop) next() []*x509.Certificate {
	by := w.signers[w.IntN(w.good)]
	if w.rarely(6) {
		by = w.signers[w.IntN(len(w.signers))]
	}
	leaf := w.leaf(by)
	if leaf == nil {
		return nil
	}
	certs := append([]*x509.Certificate{leaf}, by.above...)
	if w.rarely(60) {
		certs = append([]*x509.Certificate{by.cert}, by.above...)
	}
	if !w.rarely(6) {
		return certs
	}
	stranger := w.signers[w.IntN(len(w.signers))].cert
	switch w.IntN(7) {
	case 0:
		return certs[:1]
	case 1:
		rest := certs[1:]
		w.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		return certs
	case 2:
		return append(certs, stranger, w.trusted[0])
	case 3:
		return append(slices.Repeat(certs[:1], 1+w.IntN(3)), certs[1:]...)
	case 4:
		return append(certs, slices.Repeat([]*x509.Certificate{stranger}, 6+w.IntN(6))...)
	case 5:
		return append(certs, w.filler)
	}
	return append([]*x509.Certificate{stranger}, certs...)
}

func unknownExtension(critical bool) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: critical, Value: []byte{5, 0}}
}

func (w *workshop) leaf(by signer) *x509.Certificate {
	subject, err := asn1.Marshal(w.subject())
	if err != nil {
		w.t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		RawSubject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if w.rarely(3) {
		w.oddity(c, now)
	}
	if w.rarely(8) {
		w.names(c)
	}
	public := w.public[0]
	if w.rarely(10) {
		public = w.public[w.IntN(len(w.public))]
	}
	key := by.key
	if w.rarely(80) {
		key = w.keys[w.IntN(len(w.keys))] // of the same name, but not of this CA
		by.cert = &x509.Certificate{RawSubject: by.cert.RawSubject, PublicKey: key.Public(), SubjectKeyId: by.cert.SubjectKeyId}
	}
	return w.sign(c, by.cert, key, public)
}

// oddity changes one thing.
func (w *workshop) oddity(c *x509.Certificate, now time.Time) {
	switch w.IntN(14) {
	case 0:
		c.NotAfter = now.Add(-time.Minute)
	case 1:
		c.NotBefore = now.Add(time.Minute)
	case 2:
		c.NotBefore, c.NotAfter = c.NotAfter, c.NotBefore
	case 3, 4:
		c.ExtKeyUsage = nil
	case 5:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case 6:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageEmailProtection}[:1+w.IntN(2)]
	case 7:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	case 8:
		c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
	case 9:
		c.ExtKeyUsage = nil // none listed
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 0}}}
	case 10:
		c.IsCA, c.BasicConstraintsValid = w.rarely(2), true
	case 11:
		c.ExtraExtensions = []pkix.Extension{unknownExtension(w.rarely(2))}
	case 12:
		c.KeyUsage = []x509.KeyUsage{0, x509.KeyUsageCertSign, x509.KeyUsageKeyEncipherment, x509.KeyUsageCRLSign}[w.IntN(4)]
	case 13:
		c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
}

// names adds alternative names, for those who constrain them.
func (w *workshop) names(c *x509.Certificate) {
	switch w.IntN(5) {
	case 0:
		c.DNSNames = []string{pick(w.Rand, "jane.example.org", "example.org", "evil.example", "*.example.org", "example.org.")}
	case 1:
		c.EmailAddresses = []string{pick(w.Rand, "jane@example.org", "jane@evil.example", "jane@EXAMPLE.org")}
	case 2:
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/ns/a/sa/b"}}
	case 3:
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	case 4:
		c.DNSNames = []string{"a.example.org", "b.evil.example"}
	}
}

// Attributes of a subject.
var (
	commonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	organization = asn1.ObjectIdentifier{2, 5, 4, 10}
	kubernetes   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}
	others       = []asn1.ObjectIdentifier{{2, 5, 4, 11}, {2, 5, 4, 6}, {2, 5, 4, 5}, {0, 9, 2342, 19200300, 100, 1, 1}, {1, 2, 840, 113549, 1, 9, 1}, {1, 3, 6, 1, 4, 1, 57683, 3}}
)

func (w *workshop) subject() pkix.RDNSequence {
	var all pkix.RDNSequence
	add := func(kind asn1.ObjectIdentifier, text string) {
		one := pkix.AttributeTypeAndValue{Type: kind, Value: w.text(text)}
		if len(all) > 0 && w.rarely(10) { // an RDN of several
			all[len(all)-1] = append(all[len(all)-1], one)
			return
		}
		all = append(all, pkix.RelativeDistinguishedNameSET{one})
	}
	name := func() string {
		return usually(w.Rand, "jane", "", "", "system:masters", "system:anonymous", "system:anonymous", "käse", "a,b", "a\x00b", " jane ", "system:node:n1", "😀", string(make([]byte, 300)))
	}
	for range []int{1, 1, 1, 1, 1, 1, 1, 1, 0, 2}[w.IntN(10)] {
		add(commonName, name())
	}
	for range []int{0, 1, 2, 2, 3, 4, 40}[min(w.IntN(7), w.IntN(40))] {
		add(organization, usually(w.Rand, pick(w.Rand, "dev", "ops", "x"), "", "system:masters", "system:authenticated", "system:unauthenticated", "a,b", "é"))
	}
	if w.rarely(6) {
		for range []int{1, 1, 1, 2}[w.IntN(4)] {
			add(kubernetes, usually(w.Rand, "u-1", "", "2"))
		}
	}
	if w.rarely(6) {
		add(others[w.IntN(len(others))], name())
	}
	if w.rarely(8) {
		w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all
}

// text is a value in one of the string types, or rarely in a type that is none.
func (w *workshop) text(s string) asn1.RawValue {
	const utf8, numeric, printable, t61, ia5, visible, universal, bmp = 12, 18, 19, 20, 22, 26, 28, 30
	tag := utf8
	if w.rarely(40) {
		tag = []int{numeric, printable, t61, ia5, visible, universal, bmp, asn1.TagOctetString, asn1.TagInteger, asn1.TagNull, asn1.TagBoolean}[w.IntN(11)]
	}
	bytes := []byte(s)
	if tag == bmp {
		bytes = nil
		for _, r := range s {
			bytes = append(bytes, byte(r>>8), byte(r))
		}
	}
	if tag == asn1.TagNull {
		bytes = nil
	}
	return asn1.RawValue{Class: asn1.ClassUniversal, Tag: tag, Bytes: bytes}
}
