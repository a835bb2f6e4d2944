package clientcert_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn/clientcert"
)

// The chains of x509-limbo that are about clients. The certificates name no
// user, so an accepted chain is one whose only fault is that.
func TestLimbo(t *testing.T) {
	data, err := os.ReadFile("testdata/limbo_client.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID           string
		Time         *time.Time `json:"validation_time"`
		Trusted      []string   `json:"trusted_certs"`
		Intermediate []string   `json:"untrusted_intermediates"`
		Peer         string     `json:"peer_certificate"`
		Expected     string     `json:"expected_result"`
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) != 12 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var roots []*x509.Certificate
				for _, p := range c.Trusted {
					roots = append(roots, parse(t, p))
				}
				certs := []*x509.Certificate{parse(t, c.Peer)}
				for _, p := range c.Intermediate {
					certs = append(certs, parse(t, p))
				}
				at := certs[0].NotBefore.Add(24 * time.Hour)
				if c.Time != nil {
					at = *c.Time
				}
				// The clock of the bubble begins in 2000, and runs by itself.
				time.Sleep(time.Until(at))
				b, _ := bundle(t, nil, roots...)
				_, err := clientcert.New(b).Authenticate(request(certs...))
				accepted := err == nil || strings.Contains(err.Error(), "names no user")
				if accepted != (c.Expected == "SUCCESS") {
					t.Errorf("%v, want %s", err, c.Expected)
				}
			})
		})
	}
}

func parse(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
