package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
)

// A namedPair is a certificate of --tls-sni-cert-key.
type namedPair struct {
	// names are those that were given, or none.
	names []string
	pair  *pki.Pair
}

// brought reads the keys and certificates in files of the operator's, and
// nothing else. It returns everything that is wrong with them, each as a problem
// of its setting. Log is told what becomes of those that are followed.
func brought(cfg *config.Configuration, log *slog.Logger) (*material, error) {
	m := &material{}
	if file := cfg.Authentication.ClientCAFile; file != "" {
		m.clientCAs = append(m.clientCAs, file)
	}
	err := errors.Join(m.bringRoot(cfg), m.bringServing(cfg, log), m.bringNamed(cfg, log), m.bringSigning(cfg))
	return m, err
}

// bringRoot reads --root-ca-file, which wins over our own authority.
func (m *material) bringRoot(cfg *config.Configuration) error {
	file := &cfg.ServiceAccounts.RootCAFile
	if *file == "" {
		return nil
	}
	const mend = "name a file with the CA certificates that pods shall trust, in PEM form"
	if _, err := pki.Fingerprints(*file); err != nil {
		return cfg.Wrong(file, err, mend)
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return cfg.Wrong(file, err, mend)
	}
	m.rootCA = text
	return nil
}

func (m *material) bringServing(cfg *config.Configuration, log *slog.Logger) error {
	s := &cfg.Serving
	if s.TLSCertFile == "" {
		return nil
	}
	pair, err := pki.LoadPair(s.TLSCertFile, s.TLSPrivateKeyFile, reporter(log, servingPair, s.TLSCertFile))
	if err != nil {
		return cfg.Wrong(&s.TLSCertFile, err, "name the server's certificate and its private key, both in PEM form")
	}
	m.serving = pair
	return nil
}

func (m *material) bringNamed(cfg *config.Configuration, log *slog.Logger) error {
	var errs []error
	for i, n := range cfg.Serving.TLSSNICertKeys {
		pair, err := pki.LoadPair(n.CertFile, n.KeyFile, reporter(log, namedPairOf(i), n.CertFile))
		if err != nil {
			errs = append(errs, cfg.Wrong(&cfg.Serving.TLSSNICertKeys, err, "name a certificate and its private key, both in PEM form"))
			continue
		}
		m.named = append(m.named, namedPair{n.Names, pair})
	}
	return errors.Join(errs...)
}

// bringSigning reads the keys of service account tokens. A bad one among those
// that verify is told where they were given.
func (m *material) bringSigning(cfg *config.Configuration) error {
	sa := &cfg.ServiceAccounts
	if sa.SigningKeyFile == "" && len(sa.KeyFiles) == 0 {
		return nil
	}
	var others *keyring.Ring
	var err error
	if len(sa.KeyFiles) > 0 {
		if others, err = keyring.Load("", sa.KeyFiles...); err != nil {
			return cfg.Wrong(&sa.KeyFiles, err, "name files with RSA or ECDSA keys in PEM form")
		}
	}
	ring, err := keyring.Load(sa.SigningKeyFile, sa.KeyFiles...)
	if err != nil {
		return cfg.Wrong(&sa.SigningKeyFile, err, "name a file with one private key, RSA or ECDSA, in PEM form")
	}
	if ring.Signs() && others != nil && len(others.Find(ring.Keys()[0].ID)) == 0 {
		// A neighbour, or this server after the next rotation, would refuse the
		// tokens that it signs.
		return cfg.Wrong(&sa.SigningKeyFile,
			fmt.Errorf("the public half of the key in %s is in none of the files of keys that verify", sa.SigningKeyFile),
			"name the file with its public key with --service-account-key-file as well")
	}
	m.files = ring
	return nil
}
