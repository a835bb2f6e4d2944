package pki_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/pki"
)

// operatorFiles puts a pair into dir, as an operator would, and returns the
// paths.
func operatorFiles(t testing.TB, ca *pki.Authority, dir string) (cert, key string) {
	t.Helper()
	serve(t, ca, dir, "a.example.com")
	return filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key")
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func overwrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace is overwrite in one step: a file is followed that somebody else writes.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	overwrite(t, path+".new", data)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// reported returns what a running pair says next.
func reported(t *testing.T, reports <-chan error) error {
	t.Helper()
	select {
	case err := <-reports:
		return err
	case <-time.After(20 * time.Second): // far more than it needs
		t.Fatal("the change is not seen")
		return nil
	}
}

func TestPairReloads(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir)
	cert, key := operatorFiles(t, ca, dir)
	newCert, newKey := operatorFiles(t, ca, t.TempDir())
	reports := make(chan error, 8)
	pair, err := pki.LoadPair(cert, key, func(err error) { reports <- err })
	if err != nil {
		t.Fatal(err)
	}
	first := leaf(t, pair.Certificate)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		pair.Run(ctx)
		close(done)
	}()
	// Half of the change: the old pair stays, and it is told.
	replace(t, cert, read(t, newCert))
	refused(t, reported(t, reports), "give two files that were made together")
	if !leaf(t, pair.Certificate).Equal(first) {
		t.Error("half of the change is in force")
	}
	replace(t, key, read(t, newKey))
	if err := reported(t, reports); err != nil {
		t.Errorf("after the change: %v", err)
	}
	second := leaf(t, pair.Certificate)
	if second.Equal(first) {
		t.Error("after the change the old certificate is shown")
	}
	// The files vanish for a while.
	for _, file := range []string{key, cert} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		refused(t, reported(t, reports), "no such file")
	}
	if !leaf(t, pair.Certificate).Equal(second) {
		t.Error("without files the last certificate is not shown")
	}
	stop()
	<-done
	if status := pair.Status(); status.Problem == nil || status.Successes != 2 {
		t.Errorf("Status = %+v", status)
	}
	if _, err := handshake(t, ca.Certificate(), pair.Certificate, "a.example.com"); err != nil {
		t.Error(err)
	}
}

func TestLoadPairRefuses(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir)
	cert, key := operatorFiles(t, ca, dir)
	good, goodKey := read(t, cert), read(t, key)
	_, otherKey := operatorFiles(t, ca, t.TempDir())
	block := func(kind string, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("junk")})
	}
	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"empty certificate", nil, goodKey, "serving.crt: no certificate"},
		{"empty key", good, nil, "serving.key: no private key"},
		{"switched", goodKey, good, "serving.crt: no certificate"},
		{"key of another", good, read(t, otherKey), "give two files that were made together"},
		{"chain in the wrong order", append(ca.PEM(), good...), goodKey, "own certificate first"},
		{"junk certificate", block("CERTIFICATE", nil), goodKey, "serving.crt: parsing certificate 1"},
		{"junk after the leaf", append(append([]byte{}, good...), block("CERTIFICATE", nil)...), goodKey, "parsing certificate 3"},
		{"junk key", good, block("PRIVATE KEY", nil), "serving.key: the private key cannot be read"},
		{"encrypted", good, block("ENCRYPTED PRIVATE KEY", nil), "is encrypted"},
		{"encrypted, older form", good, block("EC PRIVATE KEY", map[string]string{"DEK-Info": "AES"}), "is encrypted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			overwrite(t, cert, tt.cert)
			overwrite(t, key, tt.key)
			_, err := pki.LoadPair(cert, key, nil)
			refused(t, err, tt.want)
		})
	}
	_, err := pki.LoadPair(filepath.Join(dir, "none"), key, nil)
	refused(t, err, "none: no such file")
}

func FuzzParsePair(f *testing.F) {
	dir := f.TempDir()
	ca := open(f, dir)
	cert, key := operatorFiles(f, ca, dir)
	f.Add(read(f, cert), read(f, key))
	f.Add([]byte(""), []byte("-----BEGIN "))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		f.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		f.Fatal(err)
	}
	for kind, der := range map[string][]byte{
		"EC PRIVATE KEY": sec1, "RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(r), "PRIVATE KEY": pkcs8,
	} {
		f.Add(read(f, cert), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		ours, err := pki.ParsePair(cert, key)
		if err != nil {
			return
		}
		// What we take, the standard library takes, and sees as the same.
		theirs, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatalf("crypto/tls refuses it: %v", err)
		}
		if len(ours.Certificate) != len(theirs.Certificate) || !ours.Leaf.Equal(theirs.Leaf) {
			t.Error("crypto/tls sees another chain")
		}
	})
}
