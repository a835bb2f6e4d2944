package foreign_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/tools"
)

const requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// A wish is a certificate to ask for.
type wish struct {
	signer string
	usages []certificatesv1.KeyUsage
	asked  x509.CertificateRequest
}

// wishOf returns the n-th wish, of each signer in turn. The usages are those that
// RFC 5280 section 4.2.1.12 has go together; Kubernetes lets clients ask for more.
func wishOf(n int) wish {
	signs := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature}
	node := pkix.Name{CommonName: fmt.Sprintf("system:node:node-%d", n), Organization: []string{"system:nodes"}}
	switch n % 3 {
	case 0:
		return wish{"kubernetes.io/kube-apiserver-client", append(signs, certificatesv1.UsageClientAuth), x509.CertificateRequest{
			Subject: pkix.Name{CommonName: fmt.Sprintf("user-%d", n), Organization: []string{"dev", "ops", "Müller & Söhne"}},
		}}
	case 1:
		return wish{"kubernetes.io/kube-apiserver-client-kubelet", append(signs, certificatesv1.UsageClientAuth), x509.CertificateRequest{Subject: node}}
	default:
		return wish{"kubernetes.io/kubelet-serving", append(signs, certificatesv1.UsageServerAuth), x509.CertificateRequest{
			Subject: node, DNSNames: []string{fmt.Sprintf("node-%d.example.org", n)},
			IPAddresses: []net.IP{net.IPv4(10, 0, byte(n>>8), byte(n)), net.ParseIP("2001:db8::1")},
		}}
	}
}

// newKey is of each kind in turn. RSA keys take their time, so they are rarer.
func newKey(n int) (crypto.Signer, error) {
	switch {
	case n%40 == 0:
		return rsa.GenerateKey(rand.Reader, 2048)
	case n%4 == 1:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case n%4 == 2:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case n%4 == 3:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// request has the n-th certificate signed, and returns it in PEM form.
func (w *world) request(n int) ([]byte, error) {
	key, err := newKey(n)
	if err != nil {
		return nil, err
	}
	want := wishOf(n)
	der, err := x509.CreateCertificateRequest(rand.Reader, &want.asked, key)
	if err != nil {
		return nil, err
	}
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("csr-%d", n)},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: want.signer, Usages: want.usages,
		},
	}
	if err := w.do("POST", requests, csr, csr); err != nil {
		return nil, err
	}
	if want.signer != certificatesv1.KubeAPIServerClientKubeletSignerName { // which the server approves
		csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{
			{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test"},
		}
		if err := w.do("PUT", requests+"/"+csr.Name+"/approval", csr, csr); err != nil {
			return nil, err
		}
	}
	for range 3000 {
		if err := w.do("GET", requests+"/"+csr.Name, nil, csr); err != nil {
			return nil, err
		}
		if len(csr.Status.Certificate) > 0 {
			return csr.Status.Certificate, nil
		}
		if len(csr.Status.Conditions) > 1 {
			return nil, fmt.Errorf("%s: %+v", csr.Name, csr.Status.Conditions)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, fmt.Errorf("%s: no certificate, %+v", csr.Name, csr.Status)
}

func TestCertificates(t *testing.T) {
	w, many := start(t), many()
	all := make([][]byte, many)
	w.each(t, many, func(i int) (err error) {
		all[i], err = w.request(i)
		return err
	})
	dir := t.TempDir()
	ca, err := os.ReadFile(filepath.Join(w.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	files := make([]string, many)
	for i, text := range all {
		files[i] = fmt.Sprintf("%d.crt", i)
		write(t, dir, files[i], text)
	}
	write(t, dir, "ca.crt", ca)
	other := start(t)
	otherCA, err := os.ReadFile(filepath.Join(other.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "other.crt", otherCA)

	t.Run("OpenSSL", func(t *testing.T) {
		out := run(t, dir, "openssl", append([]string{"verify", "-x509_strict", "-CAfile", "ca.crt"}, files...)...)
		if n := strings.Count(out, ": OK\n"); n != many {
			t.Errorf("%d of %d:\n%.2000s", n, many, out)
		}
		if out := run(t, dir, "openssl", append([]string{"verify", "-CAfile", "other.crt"}, files...)...); strings.Contains(out, ": OK") {
			t.Error("certificates of another authority are taken")
		}
	})
	t.Run("GnuTLS", func(t *testing.T) {
		for _, file := range files {
			if out := run(t, dir, "certtool", "--verify", "--load-ca-certificate", "ca.crt", "--infile", file); !strings.Contains(out, "Chain verification output: Verified. The certificate is trusted.") {
				t.Fatalf("%s: %s", file, out)
			}
		}
		if out := run(t, dir, "certtool", "--verify", "--load-ca-certificate", "other.crt", "--infile", files[0]); !strings.Contains(out, "Not verified") {
			t.Errorf("a certificate of another authority: %s", out)
		}
	})
	t.Run("Go", func(t *testing.T) {
		roots, others := x509.NewCertPool(), x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		others.AppendCertsFromPEM(otherCA)
		for i, text := range all {
			block, rest := pem.Decode(text)
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil || len(bytes.TrimSpace(rest)) > 0 {
				t.Fatalf("%d: %v", i, err)
			}
			usage := x509.ExtKeyUsageClientAuth
			if i%3 == 2 {
				usage = x509.ExtKeyUsageServerAuth
			}
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			if _, err := cert.Verify(x509.VerifyOptions{Roots: others, KeyUsages: []x509.ExtKeyUsage{usage}}); err == nil {
				t.Fatalf("%d: another authority will do", i)
			}
		}
	})
	t.Run("zlint", func(t *testing.T) { lint(t, dir, files) })
	t.Run("status", func(t *testing.T) { w.statuses(t, dir, files, all) })
}

// lint has every certificate linted by the rules of RFC 5280.
func lint(t *testing.T, dir string, files []string) {
	cmd := exec.CommandContext(t.Context(), tools.Zlint(t), append([]string{"-includeSources", "RFC5280"}, files...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	linted, passed := 0, 0
	for decoder.More() {
		var results map[string]struct{ Result string }
		if err := decoder.Decode(&results); err != nil {
			t.Fatal(err)
		}
		linted++
		for name, r := range results {
			switch {
			case r.Result == "pass":
				passed++
			case !slices.Contains([]string{"NA", "NE", "info"}, r.Result):
				t.Errorf("%s: %s: %s", files[linted-1], name, r.Result)
			}
		}
		if t.Failed() {
			break
		}
	}
	if linted != len(files) || passed < 20*linted {
		t.Errorf("%d of %d certificates were linted, with %d rules that fit", linted, len(files), passed)
	}
}

func write(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a program, and returns what it says, whether it likes it or not.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v (test/need.sh %s)", err, name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}
