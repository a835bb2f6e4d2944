package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
)

// material is the keys and certificates of a server: those of its data
// directory, and those in files that the operator brought.
type material struct {
	// authority is our own, or nil if there is no data directory.
	authority *pki.Authority
	// clientCAs are the files of the authorities of client certificates.
	clientCAs []string
	// rootCA is what clients should trust, in PEM form.
	rootCA  []byte
	serving servingCertificate
	signing *keyring.Ring
	atRest  atrest.Keys
	// encryptionFile is where the keys at rest are, or "".
	encryptionFile string
	claim          etcd.Claim
}

// A servingCertificate shows who the server is and keeps that up to date.
type servingCertificate interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Run(ctx context.Context, report func(error))
}

// gather makes what the data directory lacks and reads everything. Dir is nil
// without a data directory.
func gather(ctx context.Context, cfg *config.Configuration, dir *etcd.Directory) (*material, error) {
	m := &material{}
	var err error
	if dir != nil {
		if m.authority, err = pki.OpenAuthority(dir.Path, "ca", "gatehouse"); err != nil {
			return nil, err
		}
		m.clientCAs = append(m.clientCAs, dir.Join("ca.crt"))
		m.rootCA = m.authority.PEM()
	}
	if file := cfg.Authentication.ClientCAFile; file != "" && !slices.Contains(m.clientCAs, file) {
		m.clientCAs = append(m.clientCAs, file)
	}
	if err := m.gatherRoot(cfg); err != nil {
		return nil, err
	}
	if err := m.gatherServing(cfg, dir); err != nil {
		return nil, err
	}
	if m.signing, err = gatherSigning(cfg, dir); err != nil {
		return nil, err
	}
	m.encryptionFile = cfg.Storage.EncryptionProviderConfigFile
	if m.encryptionFile == "" && dir != nil {
		m.encryptionFile = dir.Join("encryption.yaml")
		if err := atrest.Create(m.encryptionFile); err != nil {
			return nil, err
		}
	}
	if m.atRest, err = atrest.Load(ctx, m.encryptionFile); err != nil {
		return nil, err
	}
	return m, m.stake()
}

// gatherRoot reads --root-ca-file, which wins over our own authority.
func (m *material) gatherRoot(cfg *config.Configuration) error {
	file := cfg.ServiceAccounts.RootCAFile
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading --root-ca-file: %w", err)
	}
	m.rootCA = text
	return nil
}

// gatherServing reads the operator's certificate, or makes one: of our own
// authority, or of one that is made for nothing else, as kube-apiserver signs
// its own in --cert-dir.
func (m *material) gatherServing(cfg *config.Configuration, dir *etcd.Directory) (err error) {
	s := cfg.Serving
	if s.TLSCertFile != "" {
		m.serving, err = pki.LoadPair(s.TLSCertFile, s.TLSPrivateKeyFile)
		return err
	}
	where, authority := s.CertDir, m.authority
	if where == "" && dir != nil {
		where = dir.Path
	}
	if where == "" {
		return errors.New("there is no serving certificate: give --tls-cert-file and --tls-private-key-file, or --cert-dir to make one in")
	}
	if err := os.MkdirAll(where, 0o700); err != nil {
		return fmt.Errorf("creating --cert-dir: %w", err)
	}
	if authority == nil {
		if authority, err = pki.OpenAuthority(where, "serving-ca", "gatehouse serving"); err != nil {
			return err
		}
		if m.rootCA == nil {
			m.rootCA = authority.PEM()
		}
	}
	m.serving, err = pki.OpenServing(authority, where, "serving", servingNames(s.BindAddress, s.ExternalHostname))
	return err
}

// servingNames are the names that clients may reach the server by: those that
// work on this machine, those that pods use, what the server listens on, and
// what the operator says that it is reached by.
func servingNames(bind net.IP, external string) []string {
	names := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"127.0.0.1", "::1",
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	if host := externalHost(external); host != "" && !slices.Contains(names, host) {
		names = append(names, host)
	}
	addresses := []net.IP{bind}
	if bind.IsUnspecified() {
		addresses = localAddresses()
	}
	for _, ip := range addresses {
		if ip != nil && !slices.Contains(names, ip.String()) {
			names = append(names, ip.String())
		}
	}
	return names
}

// localAddresses are the machine's addresses that other machines may reach.
func localAddresses() []net.IP {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []net.IP
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.IP)
		}
	}
	return out
}

func gatherSigning(cfg *config.Configuration, dir *etcd.Directory) (*keyring.Ring, error) {
	sa := cfg.ServiceAccounts
	if sa.SigningKeyFile == "" && dir != nil {
		own, err := keyring.Open(dir.Path)
		if err != nil || len(sa.KeyFiles) == 0 {
			return own, err
		}
		return keyring.Load(dir.Join(keyring.FileName), sa.KeyFiles...)
	}
	return keyring.Load(sa.SigningKeyFile, sa.KeyFiles...)
}

// stake names the keys that the store is going to rest on.
func (m *material) stake() error {
	for _, file := range m.clientCAs {
		ids, err := pki.Fingerprints(file)
		if err != nil {
			return fmt.Errorf("reading client CA: %w", err)
		}
		m.claim.Authorities = append(m.claim.Authorities, ids...)
	}
	for _, k := range m.signing.Keys() {
		m.claim.Signing = append(m.claim.Signing, k.ID)
	}
	for _, id := range m.atRest.IDs {
		m.claim.Encryption = append(m.claim.Encryption, string(id))
	}
	return nil
}
