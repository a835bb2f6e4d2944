package server

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/util/validation"
	cliflag "k8s.io/component-base/cli/flag"
)

// tlsConfig asks for a client certificate and never demands or verifies one:
// that is the authenticator's, on every request.
func (s *Server) tlsConfig() (*tls.Config, error) {
	serving := s.cfg.Serving
	config := &tls.Config{
		ClientAuth: tls.RequestClientCert,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
	}
	if serving.TLSMinVersion != "" {
		version, err := cliflag.TLSVersion(serving.TLSMinVersion)
		if err != nil {
			return nil, fmt.Errorf("--tls-min-version: %w", err)
		}
		config.MinVersion = version
	}
	if len(serving.TLSCipherSuites) > 0 {
		suites, err := cliflag.TLSCipherSuites(serving.TLSCipherSuites)
		if err != nil {
			return nil, fmt.Errorf("--tls-cipher-suites: %w", err)
		}
		config.CipherSuites = suites
	}
	return s.withFacts(config), nil
}

// The facts are what a handshake rests on: the certificates that may be shown,
// and the authorities of clients. A handshake, and the tickets that end it, rest
// on the facts of its beginning even if others are in force before it ends.
type facts struct {
	// trusts is how often an authority has changed, and shown are the
	// certificates: the server's, and those of --tls-sni-cert-key in their order.
	trusts uint64
	shown  []*tls.Certificate
	config *tls.Config
}

// withFacts has each handshake use the facts that are in force when it begins.
func (s *Server) withFacts(config *tls.Config) *tls.Config {
	seal := newTicketSeal()
	var current atomic.Pointer[facts]
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		f := current.Load()
		if f == nil || !s.inForce(f) {
			// Others may do the same: what comes out is the same.
			f = s.newFacts(config, seal)
			current.Store(f)
		}
		return f.config, nil
	}
	return config
}

// inForce reports whether nothing has changed since.
func (s *Server) inForce(f *facts) bool {
	if f.trusts != s.credentials.trusts.Load() || f.shown[0] != s.material.serving.Certificate() {
		return false
	}
	for i, n := range s.material.named {
		if f.shown[i+1] != n.pair.Certificate() {
			return false
		}
	}
	return true
}

func (s *Server) newFacts(config *tls.Config, seal ticketSeal) *facts {
	f := &facts{trusts: s.credentials.trusts.Load(), shown: []*tls.Certificate{s.material.serving.Certificate()}}
	var named []namedCertificate
	for _, n := range s.material.named {
		named = append(named, namedCertificate{n.pair.Certificate(), n.names})
		f.shown = append(f.shown, n.pair.Certificate())
	}
	byName := certificatesByName(named)
	f.config = config.Clone()
	f.config.GetConfigForClient = nil
	f.config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		// Names of hosts are alike in any case (RFC 4343).
		asked := strings.ToLower(hello.ServerName)
		if cert, ok := byName[asked]; ok {
			return cert, nil
		}
		if cert, ok := byName[wildcard(asked)]; ok {
			return cert, nil
		}
		return f.shown[0], nil
	}
	seal.bind(f.config, f.digest())
	return f
}

// A namedCertificate is shown to whoever asks for one of the names, or of its own
// names if none are given.
type namedCertificate struct {
	cert  *tls.Certificate
	names []string
}

// certificatesByName returns which certificate is shown for a name, in lower case.
// As in Kubernetes (k8s.io/apiserver pkg/server/dynamiccertificates), the earlier
// one wins, and a name that is given wins over one that a certificate has.
func certificatesByName(all []namedCertificate) map[string]*tls.Certificate {
	byName, given := map[string]*tls.Certificate{}, map[string]*tls.Certificate{}
	for _, n := range slices.Backward(all) {
		names, into := n.names, given
		if len(names) == 0 {
			names, into = ownNames(n.cert.Leaf), byName
		}
		for _, name := range names {
			into[strings.ToLower(name)] = n.cert
		}
	}
	maps.Copy(byName, given)
	return byName
}

// ownNames are the hosts that a certificate is for: also its common name, if that
// is one.
func ownNames(cert *x509.Certificate) []string {
	name := strings.ToLower(strings.TrimPrefix(cert.Subject.CommonName, "*."))
	if net.ParseIP(name) != nil || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return cert.DNSNames
	}
	return append([]string{cert.Subject.CommonName}, cert.DNSNames...)
}

// digest tells these facts from others.
func (f *facts) digest() []byte {
	all := sha256.New()
	for _, cert := range f.shown {
		one := sha256.Sum256(slices.Concat(cert.Certificate...))
		all.Write(one[:])
	}
	return binary.BigEndian.AppendUint64(all.Sum(nil), f.trusts)
}

// wildcard returns the name with its first label replaced by a star.
func wildcard(name string) string {
	for i := range len(name) {
		if name[i] == '.' {
			return "*" + name[i:]
		}
	}
	return name
}
