package pki_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/pki"
)

func serve(t testing.TB, ca *pki.Authority, dir string, hosts ...string) *pki.Serving {
	t.Helper()
	s, err := pki.OpenServing(ca, dir, "serving", hosts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func leaf(t testing.TB, get func() *tls.Certificate) *x509.Certificate {
	t.Helper()
	return get().Leaf
}

// handshake connects a client that trusts ca to a server with get, and returns
// the chain that the client has seen.
func handshake(t *testing.T, ca *x509.Certificate, get func() *tls.Certificate, name string) ([]*x509.Certificate, error) {
	t.Helper()
	a, b := net.Pipe()
	go func() {
		server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{*get()}})
		server.Handshake()
		io.Copy(io.Discard, server)
		server.Close()
	}()
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	client := tls.Client(b, &tls.Config{RootCAs: roots, ServerName: name})
	defer client.Close()
	err := client.Handshake()
	return client.ConnectionState().PeerCertificates, err
}

func TestServing(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir)
	s := serve(t, ca, dir, "Gatehouse.example.com", "127.0.0.1", "::1", "*.apps.example.com", "127.0.0.1")
	for _, name := range []string{"gatehouse.example.com", "127.0.0.1", "::1", "x.apps.example.com"} {
		chain, err := handshake(t, ca.Certificate(), s.Certificate, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(chain) != 2 || !chain[1].Equal(ca.Certificate()) {
			t.Errorf("%s: chain of %d, want the authority as second", name, len(chain))
		}
	}
	if _, err := handshake(t, ca.Certificate(), s.Certificate, "other.example.com"); err == nil {
		t.Error("the certificate is good for another name")
	}
	cert := leaf(t, s.Certificate)
	if cert.NotAfter.Sub(cert.NotBefore) != 365*24*time.Hour+5*time.Minute {
		t.Errorf("life = %v", cert.NotAfter.Sub(cert.NotBefore))
	}
	if key := mode(t, filepath.Join(dir, "serving.key")); key != 0o600 {
		t.Errorf("key mode %v", key)
	}
}

// A certificate with the name of its authority passes for self-signed with
// OpenSSL, and so with curl, Python and many others.
func TestServingHasAnotherNameThanItsAuthority(t *testing.T) {
	for _, name := range []string{"gatehouse", "gatehouse serving", "gatehouse server"} {
		dir := t.TempDir()
		ca, err := pki.OpenAuthority(dir, "ca", name)
		if err != nil {
			t.Fatal(err)
		}
		cert := leaf(t, serve(t, ca, dir, "a").Certificate)
		if bytes.Equal(cert.RawSubject, cert.RawIssuer) || !bytes.Equal(cert.AuthorityKeyId, ca.Certificate().SubjectKeyId) {
			t.Errorf("authority %q: subject %v, authority key %x", name, cert.Subject, cert.AuthorityKeyId)
		}
	}
}

func TestServingIsIssuedAnew(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string) (ca *pki.Authority, hosts []string)
		want   bool
	}{
		{"nothing changed", func(t *testing.T, dir string) (*pki.Authority, []string) {
			return open(t, dir), []string{"10.0.0.1", "B", "a", "a"}
		}, false},
		{"host added", func(t *testing.T, dir string) (*pki.Authority, []string) {
			return open(t, dir), []string{"a", "b", "10.0.0.1", "c"}
		}, true},
		{"host gone", func(t *testing.T, dir string) (*pki.Authority, []string) {
			return open(t, dir), []string{"a", "10.0.0.1"}
		}, true},
		{"address changed", func(t *testing.T, dir string) (*pki.Authority, []string) {
			return open(t, dir), []string{"a", "b", "10.0.0.2"}
		}, true},
		{"other authority", func(t *testing.T, dir string) (*pki.Authority, []string) {
			return open(t, t.TempDir()), []string{"a", "b", "10.0.0.1"}
		}, true},
		{"key of another", func(t *testing.T, dir string) (*pki.Authority, []string) {
			ca := open(t, dir)
			other := t.TempDir()
			serve(t, ca, other, "a")
			if err := os.Rename(filepath.Join(other, "serving.key"), filepath.Join(dir, "serving.key")); err != nil {
				t.Fatal(err)
			}
			return ca, []string{"a", "b", "10.0.0.1"}
		}, true},
		{"key gone", func(t *testing.T, dir string) (*pki.Authority, []string) {
			os.Remove(filepath.Join(dir, "serving.key"))
			return open(t, dir), []string{"a", "b", "10.0.0.1"}
		}, true},
		{"certificate cut", func(t *testing.T, dir string) (*pki.Authority, []string) {
			os.Truncate(filepath.Join(dir, "serving.crt"), 100)
			return open(t, dir), []string{"a", "b", "10.0.0.1"}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			first := leaf(t, serve(t, open(t, dir), dir, "a", "b", "10.0.0.1").Certificate)
			ca, hosts := tt.change(t, dir)
			second := leaf(t, serve(t, ca, dir, hosts...).Certificate)
			if issued := !second.Equal(first); issued != tt.want {
				t.Errorf("issued anew = %v, want %v", issued, tt.want)
			}
			if third := leaf(t, serve(t, ca, dir, hosts...).Certificate); !third.Equal(second) {
				t.Error("issued anew without need")
			}
			if err := second.CheckSignatureFrom(ca.Certificate()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenServingRefuses(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir)
	for _, host := range []string{"", "https://a", "a:443", "[::1]", "a b", "a..b", ".a", "a.", "-a", "a/b", "*", "a.*.b", "fe80::1%eth0", "é", "a\x00b"} {
		_, err := pki.OpenServing(ca, dir, "serving", []string{"ok", host})
		refused(t, err, "neither a DNS name nor an IP address")
	}
	_, err := pki.OpenServing(ca, dir, "serving", nil)
	refused(t, err, "must have a host")
	serve(t, ca, dir, "a")
	if err := os.Chmod(filepath.Join(dir, "serving.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = pki.OpenServing(ca, dir, "serving", []string{"a"})
	refused(t, err, "serving.key is open to every user")
}

// A server that runs for years renews its certificate when two thirds of its
// life are over, and tells once when it cannot.
func TestServingRenewsWhileRunning(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := open(t, dir)
		s := serve(t, ca, dir, "a")
		ctx, stop := context.WithCancel(t.Context())
		var reports atomic.Int32
		done := make(chan struct{})
		go func() {
			s.Run(ctx, func(error) { reports.Add(1) })
			close(done)
		}()
		first := leaf(t, s.Certificate)
		time.Sleep(243 * 24 * time.Hour)
		synctest.Wait()
		if !leaf(t, s.Certificate).Equal(first) {
			t.Error("renewed after 243 days")
		}
		time.Sleep(2 * 24 * time.Hour)
		synctest.Wait()
		second := leaf(t, s.Certificate)
		if second.Equal(first) || bytes.Equal(second.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
			t.Error("not renewed after 245 days, or with the same key")
		}
		// A directory in the place of the key file: it cannot be written.
		key := filepath.Join(dir, "serving.key")
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(key, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(245 * 24 * time.Hour)
		synctest.Wait()
		if reports.Load() != 1 || !leaf(t, s.Certificate).Equal(second) {
			t.Errorf("%d reports, want one, and the old certificate", reports.Load())
		}
		if err := os.RemoveAll(key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if leaf(t, s.Certificate).Equal(second) {
			t.Error("not renewed when it could be")
		}
		stop()
		<-done
	})
}
