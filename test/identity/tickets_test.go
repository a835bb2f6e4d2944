package identity_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"gatehouse.dev/gatehouse/internal/pki"
)

// A resumer keeps the tickets of one client.
type resumer struct {
	w      *world
	config *tls.Config
}

// resumes makes a request on a connection of its own, and reports whether that
// took up an earlier session.
func (r resumer) resumes() bool {
	t := r.w.t
	t.Helper()
	u, err := url.Parse(r.w.Address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: r.config}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("https://" + u.Host + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.TLS.DidResume
}

// TestOldTickets says that a session is not taken up again over a change of the
// serving certificate or of the authorities of clients, in either version of TLS.
func TestOldTickets(t *testing.T) {
	const name = "named.example.org"
	make := func() (ca, cert, key string) {
		dir := t.TempDir()
		authority, err := pki.OpenAuthority(dir, "ca", "clients")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pki.OpenServing(authority, dir, "serving", []string{name}); err != nil {
			t.Fatal(err)
		}
		read := func(file string) string {
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		return read("ca.crt"), read("serving.crt"), read("serving.key")
	}
	ca, cert, key := make()
	w := start(t, map[string]string{"ca.pem": ca, "named.crt": cert, "named.key": key}, "--tls-sni-cert-key=DIR/named.crt,DIR/named.key")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r := resumer{w, &tls.Config{
			ServerName: name, InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8),
		}}
		if r.resumes() || !r.resumes() || !r.resumes() {
			t.Fatalf("%s: a session is not taken up again at all", tls.VersionName(version))
		}
		before := w.shown(name)
		_, cert, key = make()
		w.write("named.crt", cert)
		w.write("named.key", key)
		w.eventually("showing the new certificate", func() bool { return w.shown(name) != before })
		if r.resumes() {
			t.Errorf("%s: a session is taken up over a change of the serving certificate", tls.VersionName(version))
		}
		if !r.resumes() {
			t.Errorf("%s: a new session is not taken up again", tls.VersionName(version))
		}
		other, _, _ := make()
		w.write("ca.pem", ca+other)
		ca += other
		w.eventually("dropping sessions when the CA of clients has changed", func() bool { return !r.resumes() })
		if !r.resumes() {
			t.Errorf("%s: a new session is not taken up again", tls.VersionName(version))
		}
	}
}
