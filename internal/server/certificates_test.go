package server_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"testing"

	"gatehouse.dev/gatehouse/internal/server"
)

// Whatever is signed can be written down: somebody has it.
func TestHolderOf(t *testing.T) {
	uri := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/web"}
	for want, cert := range map[string]x509.Certificate{
		"O=dev":                    {Subject: pkix.Name{Organization: []string{"dev"}}, DNSNames: []string{"a.example.org"}},
		"a.example.org":            {DNSNames: []string{"a.example.org", "b.example.org"}, URIs: []*url.URL{uri}},
		"spiffe://example.org/web": {URIs: []*url.URL{uri}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}},
		"10.0.0.1":                 {IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}},
		"jane@example.org":         {EmailAddresses: []string{"jane@example.org"}},
		"nobody":                   {},
	} {
		if got := server.HolderOf(&cert); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
