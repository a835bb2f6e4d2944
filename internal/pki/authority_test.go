package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/pki"
)

func open(t testing.TB, dir string) *pki.Authority {
	t.Helper()
	ca, err := pki.OpenAuthority(dir, "ca", "test-ca")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func refused(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want one with %q", err, w)
		}
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpenAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ca := open(t, dir)
	cert := ca.Certificate()
	if err := cert.CheckSignatureFrom(cert); err != nil {
		t.Error(err)
	}
	if !cert.IsCA || !cert.MaxPathLenZero || cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || cert.Subject.CommonName != "test-ca" {
		t.Errorf("CA %v, path %v, usage %v, name %q", cert.IsCA, cert.MaxPathLenZero, cert.KeyUsage, cert.Subject.CommonName)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life != 10*365*24*time.Hour+5*time.Minute {
		t.Errorf("life = %v", life)
	}
	if key, crt := mode(t, filepath.Join(dir, "ca.key")), mode(t, filepath.Join(dir, "ca.crt")); key != 0o600 || crt != 0o644 {
		t.Errorf("modes: key %v, certificate %v", key, crt)
	}
	if again := open(t, dir).Certificate(); !again.Equal(cert) {
		t.Error("opened again: another certificate")
	}
	loaded, err := pki.LoadAuthority(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil || string(loaded.PEM()) != string(ca.PEM()) {
		t.Errorf("loaded another, %v", err)
	}
}

// A crash while an authority is made leaves its key alone: that is no authority
// yet, and the next start makes one.
func TestUnfinishedAuthority(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir).Certificate()
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	second := open(t, dir)
	if second.Certificate().Equal(first) {
		t.Error("the certificate came back")
	}
	if _, err := second.IssueClient(pki.Client{CommonName: "u", Lifetime: time.Hour}); err != nil {
		t.Error(err)
	}
}

func TestOpenAuthorityRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, crt, key string)
		want   []string
	}{
		{"no key", func(t *testing.T, crt, key string) { os.Remove(key) }, []string{"ca.crt is there but not its key", "backup"}},
		{"key of another", func(t *testing.T, crt, key string) {
			other := t.TempDir()
			open(t, other)
			if err := os.Rename(filepath.Join(other, "ca.key"), key); err != nil {
				t.Fatal(err)
			}
		}, []string{"ca.key is not that of"}},
		{"key open to all", func(t *testing.T, crt, key string) { os.Chmod(key, 0o644) }, []string{"ca.key", "chmod 600"}},
		{"empty certificate", func(t *testing.T, crt, key string) { os.Truncate(crt, 0) }, []string{"ca.crt: no certificate"}},
		{"empty key", func(t *testing.T, crt, key string) { os.Truncate(key, 0) }, []string{"ca.key: no private key"}},
		{"cut certificate", func(t *testing.T, crt, key string) { os.Truncate(crt, 200) }, []string{"ca.crt: no certificate"}},
		{"certificate is a directory", func(t *testing.T, crt, key string) { os.Remove(crt); os.Mkdir(crt, 0o700) }, []string{"ca.crt: is a directory"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir)
			tt.damage(t, filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
			_, err := pki.OpenAuthority(dir, "ca", "test-ca")
			refused(t, err, tt.want...)
		})
	}
}

func TestLoadAuthorityRefusesLeaf(t *testing.T) {
	dir := t.TempDir()
	if _, err := pki.OpenServing(open(t, dir), dir, "serving", []string{"localhost"}); err != nil {
		t.Fatal(err)
	}
	_, err := pki.LoadAuthority(filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key"))
	refused(t, err, "serving.crt is no certificate authority")
}

func TestExpiredAuthority(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := open(t, dir)
		time.Sleep(10*365*24*time.Hour - 30*time.Minute)
		client, err := ca.IssueClient(pki.Client{CommonName: "u", Lifetime: time.Hour})
		if err != nil || !client.Certificate.NotAfter.Equal(ca.Certificate().NotAfter) {
			t.Errorf("a certificate of an ending authority: %v, want the end of the authority", err)
		}
		time.Sleep(40 * time.Minute)
		_, err = ca.IssueClient(pki.Client{CommonName: "u", Lifetime: time.Hour})
		refused(t, err, "would end before it begins")
		_, err = pki.OpenAuthority(dir, "ca", "test-ca")
		refused(t, err, "ca.crt expired at")
	})
}

func TestIssueClient(t *testing.T) {
	ca := open(t, t.TempDir())
	before := time.Now()
	client, err := ca.IssueClient(pki.Client{CommonName: "ann", Groups: []string{"z", "a"}, Lifetime: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert := client.Certificate
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("the certificate is good for a server")
	}
	groups := slices.Sorted(slices.Values(cert.Subject.Organization))
	if cert.Subject.CommonName != "ann" || !slices.Equal(groups, []string{"a", "z"}) {
		t.Errorf("subject = %v", cert.Subject)
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature || len(cert.DNSNames)+len(cert.IPAddresses) > 0 {
		t.Errorf("CA %v, usage %v, names %v %v", cert.IsCA, cert.KeyUsage, cert.DNSNames, cert.IPAddresses)
	}
	if age := before.Sub(cert.NotBefore); age < 5*time.Minute-time.Second || age > 5*time.Minute+time.Second {
		t.Errorf("begins %v ago, want 5 minutes", age)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life != 2*time.Hour+5*time.Minute {
		t.Errorf("life = %v", life)
	}
	if _, err := pki.ParsePair(client.PEM, client.Key.Reveal()); err != nil {
		t.Errorf("certificate and key do not match: %v", err)
	}
}

func TestSerialNumbers(t *testing.T) {
	ca := open(t, t.TempDir())
	longest, seen := 0, map[string]bool{}
	for range 32 {
		client, err := ca.IssueClient(pki.Client{CommonName: "u", Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		serial := client.Certificate.SerialNumber
		if serial.Sign() <= 0 || serial.BitLen() > 159 || seen[serial.String()] {
			t.Errorf("serial number of %d bits, sign %d, or seen before", serial.BitLen(), serial.Sign())
		}
		seen[serial.String()] = true
		longest = max(longest, serial.BitLen())
	}
	// One in 2^32 runs would fail with 159 random bits; with 128, all do.
	if longest < 159 {
		t.Errorf("the longest serial number has %d bits, want 159", longest)
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := open(t, t.TempDir())
	for _, tt := range []struct {
		name   string
		client pki.Client
		want   string
	}{
		{"no name", pki.Client{Lifetime: time.Hour}, "must have a common name"},
		{"no lifetime", pki.Client{CommonName: "u"}, "cannot live for 0s"},
		{"past", pki.Client{CommonName: "u", Lifetime: -time.Hour}, "cannot live for -1h0m0s"},
		{"empty group", pki.Client{CommonName: "u", Groups: []string{"g", ""}, Lifetime: time.Hour}, "group without a name"},
		{"name is no text", pki.Client{CommonName: "\xff", Lifetime: time.Hour}, "issuing client certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ca.IssueClient(tt.client)
			refused(t, err, tt.want)
		})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ca.Issue(&x509.Certificate{IsCA: true, NotAfter: time.Now().Add(time.Hour)}, key.Public())
	refused(t, err, "never issued")
}

// The second look finds each difference between what was asked and what is.
func TestCompare(t *testing.T) {
	ca := open(t, t.TempDir())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "u", Organization: []string{"g", "h"}}, DNSNames: []string{"d"}, IPAddresses: []net.IP{{10, 0, 0, 1}},
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *x509.Certificate){
		"serial number":            func(c *x509.Certificate) { c.SerialNumber = big.NewInt(1) },
		"validity":                 func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) },
		"subject":                  func(c *x509.Certificate) { c.Subject.Organization = []string{"g"} },
		"basic constraints":        func(c *x509.Certificate) { c.IsCA = true },
		"usage":                    func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"subject alternative name": func(c *x509.Certificate) { c.IPAddresses = nil },
	} {
		asked := *cert
		change(&asked)
		if err := pki.Compare(cert, &asked, key.Public(), ca.Certificate()); err == nil || err.Error() != want {
			t.Errorf("another %s: %v", want, err)
		}
	}
	refused(t, pki.Compare(cert, cert, ca.Certificate().PublicKey, ca.Certificate()), "public key")
	refused(t, pki.Compare(cert, cert, key.Public(), open(t, t.TempDir()).Certificate()), "signature")
	if err := pki.Compare(cert, cert, key.Public(), ca.Certificate()); err != nil {
		t.Errorf("the same: %v", err)
	}
}

// The digest of the DER "test" was computed with sha256sum.
func TestFingerprint(t *testing.T) {
	want := "9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08"
	if got := pki.Fingerprint(&x509.Certificate{Raw: []byte("test")}); got != want {
		t.Errorf("Fingerprint = %s, want %s", got, want)
	}
}
