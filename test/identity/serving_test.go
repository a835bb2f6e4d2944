package identity_test

import (
	"crypto/tls"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/test/env"
)

// shown returns the serial number of the certificate that is shown to who asks
// for a host name.
func (w *world) shown(name string) string {
	w.t.Helper()
	u, err := url.Parse(w.Address)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// servingFiles returns a serving certificate and its key, and the CA that was
// made for nothing else.
func servingFiles(t *testing.T, host string) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.OpenAuthority(dir, "ca", "names")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.OpenServing(authority, dir, "serving", []string{host}); err != nil {
		t.Fatal(err)
	}
	var texts [3]string
	for i, file := range []string{"ca.crt", "serving.crt", "serving.key"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts[0], texts[1], texts[2]
}

// A serving certificate is replaced while the server runs, and a bad one is told
// of and changes nothing.
func TestServingCertificateReload(t *testing.T) {
	const name, file = "named.example.org", "tls-sni-cert-key-1"
	_, cert, key := servingFiles(t, name)
	w := start(t, map[string]string{"named.crt": cert, "named.key": key}, "--tls-sni-cert-key=DIR/named.crt,DIR/named.key")
	first, other := w.shown(name), w.shown("localhost")
	if first == other {
		t.Fatal("the certificate is not shown to who asks for its name")
	}
	if w.note(file) || w.stale(file) {
		t.Error("a good pair is told of")
	}

	_, cert, key = servingFiles(t, name)
	w.write("named.crt", cert) // and the key is still the old one
	env.Eventually(w.t, "telling of a pair that does not match", func() bool { return w.note(file) })
	if !w.stale(file) || w.shown(name) != first {
		t.Error("a bad pair took effect, or the metric does not tell of it")
	}
	w.write("named.key", key)
	env.Eventually(w.t, "showing the new certificate", func() bool { return w.shown(name) != first })
	env.Eventually(w.t, "telling no more of a mended pair", func() bool { return !w.note(file) && !w.stale(file) })
	if w.shown("localhost") != other {
		t.Error("another certificate has changed")
	}
	if a := w.admin.ask("GET", "/metrics", nil); !strings.Contains(a.body, `gatehouse_serving_certificate_expiration_timestamp_seconds{certificate="`+file+`"} `) {
		t.Error("no metric says when the certificate ends")
	}
}
