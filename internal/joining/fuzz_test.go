package joining_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/internal/joining"
)

// FuzzPinned reads any text as what a server publishes of itself. What is
// accepted has a CA of the key that was named, and an address that is called with
// TLS.
func FuzzPinned(f *testing.F) {
	ca := pinnedCA(f)
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	good, err := clientcmd.Write(clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{"": {Server: "https://a", CertificateAuthorityData: encoded}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), strings.Replace(string(good), "https", "http", 1), "", "{}", "clusters: [{cluster: {server: 'https://a'}}]", "a: &a [*a]"} {
		f.Add(seed)
	}
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	pins := []string{"sha256:" + hex.EncodeToString(sum[:])}
	f.Fuzz(func(t *testing.T, text string) {
		server, err := joining.Pinned(text, pins)
		if err != nil {
			return
		}
		if !strings.HasPrefix(server, "https://") {
			t.Errorf("%q is accepted with the server %q", text, server)
		}
		if _, err := joining.Pinned(text, []string{"sha256:" + strings.Repeat("0", 64)}); err == nil {
			t.Errorf("%q is accepted for any key", text)
		}
	})
}

// pinnedCA is a CA of the same key in every process: the inputs come from one
// process and are tried in another, and some from a run of long ago.
func pinnedCA(f *testing.F) *x509.Certificate {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	return ca
}
