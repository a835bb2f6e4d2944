package foreign_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// statuses revokes every third certificate, and has OpenSSL say of all of them, by
// the list and by asking, what the register and the Revocations say.
func (w *world) statuses(t *testing.T, dir string, files []string, all [][]byte) {
	certs := make([]*x509.Certificate, len(all))
	for i, text := range all {
		block, _ := pem.Decode(text)
		var err error
		if certs[i], err = x509.ParseCertificate(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	revoked := func(i int) bool { return i%3 == 0 }
	count := 0
	for i, cert := range certs {
		if !revoked(i) {
			continue
		}
		count++
		named := &v1alpha1.RevokedCertificate{Issuer: "CN=gatehouse", SerialNumber: cert.SerialNumber.Text(16)}
		if i%2 == 0 { // by what its signature covers
			named = &v1alpha1.RevokedCertificate{TBSSHA256: fmt.Sprintf("%x", sha256.Sum256(cert.RawTBSCertificate))}
		}
		w.must(t, "POST", "/apis/gatehouse.dev/v1alpha1/revocations", &v1alpha1.Revocation{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "revoked-"},
			Spec:       v1alpha1.RevocationSpec{Certificate: named, Reason: v1alpha1.ReasonKeyCompromise},
		}, nil)
	}
	list := w.listed(t, count)
	write(t, dir, "list.pem", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw}))

	// What it says of those that are revoked is on standard error, and would stand
	// in the middle of a line.
	verify := exec.CommandContext(t.Context(), "openssl", append([]string{"verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "list.pem"}, files...)...)
	verify.Dir = dir
	said, _ := verify.Output()
	out := "\n" + string(said)
	for i, file := range files {
		if good := strings.Contains(out, "\n"+file+": OK\n"); good == revoked(i) {
			t.Fatalf("%s is revoked: %v, and OpenSSL says by the list: good: %v\n%.1000s", file, revoked(i), good, out)
		}
	}
	for i, file := range files[:min(40, len(files))] {
		run(t, dir, "openssl", "ocsp", "-issuer", "ca.crt", "-cert", file, "-no_nonce", "-reqout", "question")
		question, err := os.ReadFile(filepath.Join(dir, "question"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "answer", w.raw(t, "POST", "/pki/ocsp", question))
		want := file + ": good"
		if revoked(i) {
			want = file + ": revoked"
		}
		if out := run(t, dir, "openssl", "ocsp", "-issuer", "ca.crt", "-CAfile", "ca.crt", "-cert", file, "-no_nonce", "-respin", "answer"); !strings.Contains(out, want) || !strings.Contains(out, "Response verify OK") {
			t.Errorf("OpenSSL says %s, want %s", out, want)
		}
		if !w.registered(t, certs[i]) {
			t.Errorf("%s is not in the register", file)
		}
	}
}

// listed returns the list of revoked certificates once it has n.
func (w *world) listed(t *testing.T, n int) *x509.RevocationList {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		list, err := x509.ParseRevocationList(w.raw(t, "GET", "/pki/ca.crl", nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(list.RevokedCertificateEntries) == n {
			return list
		}
		if time.Now().After(end) {
			t.Fatalf("the list has %d certificates, want %d", len(list.RevokedCertificateEntries), n)
		}
	}
}

// raw makes a request, and returns the body of the answer.
func (w *world) raw(t *testing.T, method, path string, body []byte) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.Address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, text)
	}
	return text
}

// registered reports whether the register has a certificate.
func (w *world) registered(t *testing.T, cert *x509.Certificate) bool {
	t.Helper()
	name := fmt.Sprintf("x509-%x", sha256.Sum256(cert.RawTBSCertificate))
	var entry struct{ Metadata struct{ Name string } }
	return json.Unmarshal(w.raw(t, "GET", "/apis/gatehouse.dev/v1alpha1/credentials/"+name, nil), &entry) == nil && entry.Metadata.Name == name
}
