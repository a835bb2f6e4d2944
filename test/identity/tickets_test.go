package identity_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"testing"

	"gatehouse.dev/gatehouse/test/env"
)

// A resumer keeps the tickets of one client.
type resumer struct {
	w      *world
	config *tls.Config
	// meanwhile, which may be nil, is done in the middle of each handshake, when
	// the server has shown its certificate and before it gives a ticket.
	meanwhile func()
}

// A haltingConn does something before the second thing that is written to it.
type haltingConn struct {
	net.Conn
	meanwhile func()
	written   int
}

// Write implements [net.Conn].
func (c *haltingConn) Write(text []byte) (int, error) {
	if c.written++; c.written == 2 {
		c.meanwhile()
	}
	return c.Conn.Write(text)
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
	wire, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	if r.meanwhile != nil {
		wire = &haltingConn{Conn: wire, meanwhile: r.meanwhile}
	}
	conn := tls.Client(wire, r.config)
	// With the answer to a request comes the ticket too.
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("%v in %s", err, answer)
	}
	return conn.ConnectionState().DidResume
}

// TestOldTickets says that a session is not taken up again over a change of the
// serving certificate or of the authorities of clients, in either version of TLS.
func TestOldTickets(t *testing.T) {
	const name = "named.example.org"
	ca, cert, key := servingFiles(t, name)
	w := start(t, map[string]string{"ca.pem": ca, "named.crt": cert, "named.key": key}, "--tls-sni-cert-key=DIR/named.crt,DIR/named.key")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r := resumer{w: w, config: &tls.Config{
			ServerName: name, InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8),
		}}
		if r.resumes() || !r.resumes() || !r.resumes() {
			t.Fatalf("%s: a session is not taken up again at all", tls.VersionName(version))
		}
		replace := func() {
			before := w.shown(name)
			_, cert, key = servingFiles(t, name)
			w.write("named.crt", cert)
			w.write("named.key", key)
			env.Eventually(w.t, "showing the new certificate", func() bool { return w.shown(name) != before })
		}
		replace()
		if r.resumes() {
			t.Errorf("%s: a session is taken up over a change of the serving certificate", tls.VersionName(version))
		}
		if !r.resumes() {
			t.Errorf("%s: a new session is not taken up again", tls.VersionName(version))
		}
		// The ticket comes under the new certificate, and is of the old one.
		slow := resumer{w: w, config: r.config.Clone(), meanwhile: replace}
		slow.config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		slow.resumes()
		if slow.meanwhile = nil; slow.resumes() {
			t.Errorf("%s: a session is taken up that began before a change of the serving certificate and was given after it", tls.VersionName(version))
		}
		if r.resumes() || !r.resumes() {
			t.Errorf("%s: another new session is not taken up again", tls.VersionName(version))
		}
		other, _, _ := servingFiles(t, name)
		w.write("ca.pem", ca+other)
		ca += other
		env.Eventually(w.t, "dropping sessions when the CA of clients has changed", func() bool { return !r.resumes() })
		if !r.resumes() {
			t.Errorf("%s: a new session is not taken up again", tls.VersionName(version))
		}
	}
}
