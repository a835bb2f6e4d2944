package joining_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/internal/joining"
	"gatehouse.dev/gatehouse/test/authority"
)

// FuzzPinned reads any text as what a server publishes of itself. What is
// accepted has a CA of the key that was named, and an address that is called with
// TLS.
func FuzzPinned(f *testing.F) {
	ca := authority.New(f, "ca")
	encoded := []byte(ca.PEM())
	good, err := clientcmd.Write(clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{"": {Server: "https://a", CertificateAuthorityData: encoded}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), strings.Replace(string(good), "https", "http", 1), "", "{}", "clusters: [{cluster: {server: 'https://a'}}]", "a: &a [*a]"} {
		f.Add(seed)
	}
	sum := sha256.Sum256(ca.Certificate.RawSubjectPublicKeyInfo)
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
