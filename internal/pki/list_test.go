package pki_test

import (
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/pki"
)

// OpenSSL refuses what is on a list, and takes what is not.
func TestRevocationList(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.OpenAuthority(dir, "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	jane := client(t, ca, dir, "jane")
	client(t, ca, dir, "joe")
	der, err := ca.RevocationList(big.NewInt(7), []x509.RevocationListEntry{
		{SerialNumber: jane.SerialNumber, RevocationTime: now, ReasonCode: 1},
	}, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "list.pem")
	if err := os.WriteFile(list, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"jane": "certificate revoked", "joe": ": OK"} {
		out, _ := exec.CommandContext(t.Context(), "openssl", "verify", "-crl_check", "-CAfile", filepath.Join(dir, "ca.crt"), "-CRLfile", list, filepath.Join(dir, name+".crt")).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: %s, want %q", name, out, want)
		}
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "crl", "-in", list, "-noout", "-crlnumber", "-text").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Key Compromise") || !strings.Contains(string(out), "crlNumber=0x07") && !strings.Contains(string(out), "crlNumber=07") {
		t.Errorf("%v: %s", err, out)
	}
}

func client(t *testing.T, ca *pki.Authority, dir, name string) *x509.Certificate {
	t.Helper()
	issued, err := ca.IssueClient(pki.Client{CommonName: name, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), issued.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return issued.Certificate
}

func TestRevocationListRefusals(t *testing.T) {
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	entry := x509.RevocationListEntry{SerialNumber: big.NewInt(1), RevocationTime: now}
	for name, list := range map[string]func() ([]byte, error){
		"no number": func() ([]byte, error) { return ca.RevocationList(nil, nil, now, now.Add(time.Hour)) },
		"a long number": func() ([]byte, error) {
			return ca.RevocationList(new(big.Int).Lsh(big.NewInt(1), 8*20), nil, now, now.Add(time.Hour))
		},
		"an end before the beginning": func() ([]byte, error) { return ca.RevocationList(big.NewInt(1), nil, now, now.Add(-time.Hour)) },
		"an entry without a serial number": func() ([]byte, error) {
			return ca.RevocationList(big.NewInt(1), []x509.RevocationListEntry{entry, {RevocationTime: now}}, now, now.Add(time.Hour))
		},
		"an entry without a time": func() ([]byte, error) {
			return ca.RevocationList(big.NewInt(1), []x509.RevocationListEntry{{SerialNumber: big.NewInt(1)}}, now, now.Add(time.Hour))
		},
	} {
		if der, err := list(); err == nil || der != nil {
			t.Errorf("%s: a list was signed", name)
		}
	}
}
