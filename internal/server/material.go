package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

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
	// named are the certificates for some host names, in the order of the flags.
	named []namedPair
	// files are the keys of service account tokens in the files that were given,
	// and own that of the data directory. Either may be nil.
	files, own *keyring.Ring
	atRest     atrest.Keys
	// encryptionFile is where the keys at rest are, or "".
	encryptionFile string
	claim          etcd.Claim
}

// A servingCertificate shows who the server is. It is another one when it has been
// renewed or replaced.
type servingCertificate interface {
	Certificate() *tls.Certificate
	Expires() time.Time
}

// gather makes what the data directory lacks and reads everything. Dir is nil
// without a data directory.
func gather(ctx context.Context, cfg *config.Configuration, dir *etcd.Directory, log *slog.Logger) (*material, error) {
	m, err := brought(cfg, log)
	if err != nil {
		return nil, err
	}
	if dir != nil {
		if m.authority, err = pki.OpenAuthority(dir.Path, "ca", "gatehouse"); err != nil {
			return nil, err
		}
		own := dir.Join("ca.crt")
		m.clientCAs = append([]string{own}, slices.DeleteFunc(m.clientCAs, func(file string) bool { return file == own })...)
		if m.rootCA == nil {
			m.rootCA = m.authority.PEM()
		}
	}
	if m.serving == nil {
		if err := m.makeServing(cfg, dir); err != nil {
			return nil, err
		}
	}
	if err := m.addOwnSigning(cfg, dir); err != nil {
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

// makeServing makes the serving certificate where the operator brought none: of
// our own authority, or of one that is made for nothing else, as kube-apiserver
// signs its own in --cert-dir.
func (m *material) makeServing(cfg *config.Configuration, dir *etcd.Directory) (err error) {
	where, authority := cfg.Serving.CertDir, m.authority
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
	m.serving, err = pki.OpenServing(authority, where, "serving", servingNames(cfg.Serving.BindAddress, cfg.Serving.ExternalHostname))
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

// addOwnSigning adds the key of the data directory, which signs first where the
// operator brought none that does.
func (m *material) addOwnSigning(cfg *config.Configuration, dir *etcd.Directory) (err error) {
	if sa := cfg.ServiceAccounts; sa.SigningKeyFile == "" && sa.SigningEndpoint == "" && dir != nil {
		m.own, err = keyring.Open(dir.Path)
	}
	return err
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
	// The keys of tokens are named when those in the store are known.
	for _, id := range m.atRest.IDs {
		m.claim.Encryption = append(m.claim.Encryption, string(id))
	}
	return nil
}
