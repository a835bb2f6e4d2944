package server

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Which of several certificates is shown for a name is as in Kubernetes.
func TestCertificatesByName(t *testing.T) {
	own := func(cn string, names ...string) *tls.Certificate {
		return &tls.Certificate{Leaf: &x509.Certificate{Subject: pkix.Name{CommonName: cn}, DNSNames: names}}
	}
	first, second := own("", "a.example", "b.example"), own("", "b.example", "c.example")
	common, wild, address, person := own("d.example", "e.example"), own("*.Example", "f.example"), own("10.0.0.1", "g.example"), own("Jane Doe", "h.example")
	name := map[*tls.Certificate]string{first: "first", second: "second", common: "common", wild: "wild", address: "address", person: "person"}
	for _, tt := range []struct {
		what string
		all  []namedCertificate
		want string
	}{
		{"none", nil, ""},
		{"own names", []namedCertificate{{first, nil}}, "a.example=first b.example=first"},
		{"the earlier one wins", []namedCertificate{{first, nil}, {second, nil}}, "a.example=first b.example=first c.example=second"},
		{"whichever it is", []namedCertificate{{second, nil}, {first, nil}}, "a.example=first b.example=second c.example=second"},
		{"names that are given are all", []namedCertificate{{first, []string{"X.example"}}}, "x.example=first"},
		{"and win over those of an earlier one", []namedCertificate{{first, nil}, {second, []string{"a.example"}}}, "a.example=second b.example=first"},
		{"the earlier of two that are given", []namedCertificate{{first, []string{"x.example"}}, {second, []string{"x.example"}}}, "x.example=first"},
		{"a common name that is a host", []namedCertificate{{common, nil}}, "d.example=common e.example=common"},
		{"one with a star", []namedCertificate{{wild, nil}}, "*.example=wild f.example=wild"},
		{"an address", []namedCertificate{{address, nil}}, "g.example=address"},
		{"a common name that is no host", []namedCertificate{{person, nil}}, "h.example=person"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var got []string
			byName := certificatesByName(tt.all)
			for _, host := range slices.Sorted(maps.Keys(byName)) {
				got = append(got, host+"="+name[byName[host]])
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("got %s, want %s", text, tt.want)
			}
		})
	}
}
