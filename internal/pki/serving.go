package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// renewEvery is how often a running [Serving] looks at its age. It has four
// months to renew itself, so a day of a full disk does no harm.
const renewEvery = time.Hour

// hostname is a DNS name in lower case, with underscores as real names have
// them, and with a wildcard for the first label or not.
var hostname = regexp.MustCompile(`^(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)

// A Serving is the certificate that a server shows, issued by its own authority
// and kept in its data directory. It lives for a year, and is issued anew when
// less than a third of that is left. It is safe for concurrent use.
type Serving struct {
	ca                *Authority
	certFile, keyFile string
	names             []string // DNS, sorted
	ips               []net.IP

	renewing sync.Mutex // held while the files are read and written
	current  atomic.Pointer[tls.Certificate]
}

// OpenServing returns the certificate in the files NAME.crt and NAME.key of dir.
// It issues one, with a new key, if there is none or none that is whole, of ca,
// and for exactly hosts, each a DNS name or an IP address.
func OpenServing(ca *Authority, dir, name string, hosts []string) (*Serving, error) {
	s := &Serving{
		ca:       ca,
		certFile: filepath.Join(dir, name+".crt"),
		keyFile:  filepath.Join(dir, name+".key"),
	}
	if err := s.setHosts(hosts); err != nil {
		return nil, err
	}
	kept, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("opening serving certificate: %w", err)
	}
	if kept != nil {
		s.current.Store(kept)
	}
	if _, err := s.Renew(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Serving) setHosts(hosts []string) error {
	if len(hosts) == 0 {
		return errors.New("a serving certificate must have a host: give the names and IP addresses that clients use")
	}
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
			s.ips = append(s.ips, net.IP(addr.Unmap().AsSlice()))
			continue
		}
		dns := strings.ToLower(host)
		if len(dns) > 253 || !hostname.MatchString(dns) {
			return fmt.Errorf("%q is neither a DNS name nor an IP address: give it without scheme, port and brackets", host)
		}
		s.names = append(s.names, dns)
	}
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
	slices.SortFunc(s.ips, func(a, b net.IP) int { return slices.Compare(a, b) })
	s.ips = slices.CompactFunc(s.ips, net.IP.Equal)
	return nil
}

// read returns the pair in the files, or nil if there is none that is whole.
// The pair can be made again at any time, so one that is not is no error; that
// the files cannot be opened is.
func (s *Serving) read() (*tls.Certificate, error) {
	cert, err := wholefile.Read(s.certFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := wholefile.ReadPrivate(s.keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pair, err := parsePair(s.certFile, cert, s.keyFile, key)
	if err != nil {
		return nil, nil
	}
	return pair, nil
}

// Renew issues the certificate anew if that is due, and reports whether it did.
// After an error the server goes on with the one it has.
func (s *Serving) Renew() (bool, error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	if s.fits(s.current.Load()) {
		return false, nil
	}
	key, err := newKey()
	if err != nil {
		return false, fmt.Errorf("renewing serving certificate: %w", err)
	}
	now := time.Now()
	cert, err := s.ca.Issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "server of " + s.ca.cert.Subject.CommonName},
		DNSNames:    s.names,
		IPAddresses: s.ips,
		NotBefore:   now.Add(-Backdate),
		NotAfter:    now.Add(servingLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	if err != nil {
		return false, fmt.Errorf("renewing serving certificate: %w", err)
	}
	// The authority is in the chain for clients that know only its fingerprint.
	chain := encodeCertificates(cert, s.ca.cert)
	if err := writePair(s.certFile, chain, s.keyFile, key); err != nil {
		return false, fmt.Errorf("renewing serving certificate: %w", err)
	}
	s.current.Store(&tls.Certificate{
		Certificate: [][]byte{cert.Raw, s.ca.cert.Raw},
		PrivateKey:  key,
		Leaf:        cert,
	})
	return true, nil
}

// fits reports whether pair may go on being used.
func (s *Serving) fits(pair *tls.Certificate) bool {
	if pair == nil || len(pair.Certificate) != 2 || pair.Leaf.CheckSignatureFrom(s.ca.cert) != nil {
		return false
	}
	leaf := pair.Leaf
	// With the name of its authority it passes for self-signed with OpenSSL.
	if bytes.Equal(leaf.RawSubject, leaf.RawIssuer) {
		return false
	}
	if !sameSet(leaf.DNSNames, s.names) || !sameSet(texts(leaf.IPAddresses, net.IP.String), texts(s.ips, net.IP.String)) {
		return false
	}
	now := time.Now()
	return !now.Before(leaf.NotBefore) && leaf.NotAfter.Sub(now) >= leaf.NotAfter.Sub(leaf.NotBefore)/3
}

// Certificate returns the certificate that is to be shown now.
func (s *Serving) Certificate() *tls.Certificate { return s.current.Load() }

// Expires returns when the certificate ends. Before that it is issued anew.
func (s *Serving) Expires() time.Time { return s.current.Load().Leaf.NotAfter }

// Run renews the certificate when that is due, until ctx is done. It hands
// errors to report, and tries again an hour later.
func (s *Serving) Run(ctx context.Context, report func(error)) {
	every(ctx, renewEvery, func() error {
		_, err := s.Renew()
		return err
	}, report)
}

// every does work each period until ctx is done, and hands its errors to report:
// one that stays the same only once.
func every(ctx context.Context, period time.Duration, work func() error, report func(error)) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := work()
		if err == nil {
			last = ""
		} else if err.Error() != last {
			last = err.Error()
			report(err)
		}
	}
}
