package server

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/reload"
)

// claimTimeout is how long the store may take to say whether other keys may be
// used on it.
const claimTimeout = 5 * time.Second

// followSigning follows the files with the keys of service account tokens. They
// are judged together, by the rules of a start. The key of the data directory is
// not among them where the store keeps account of it.
func (s *Server) followSigning() error {
	sa := s.cfg.ServiceAccounts
	first := sa.SigningKeyFile
	if s.signing.external != nil {
		return nil // its keys are in no file
	}
	if s.signing.keeper == nil {
		first = s.directory.Join(keyring.FileName)
	}
	if first == "" && len(sa.KeyFiles) == 0 {
		return nil
	}
	var file *reload.File[*keyring.Ring]
	file, err := keyring.Follow(first, sa.KeyFiles, s.acceptSigning, func(problem error) {
		if problem == nil {
			problem = s.signing.takeFiles(file.Value())
		}
		if problem != nil {
			s.log.Error("a service account key file is bad; the last good keys stay in force", "err", problem)
			return
		}
		s.log.Info("service account keys reloaded", "keys", ids(file.Value()))
	})
	if err != nil {
		return err
	}
	s.credentials.follow("service-account-key-file", file.Status, file.Run)
	return s.signing.takeFiles(file.Value())
}

// acceptSigning refuses keys that this server could not verify with, a key that
// signs and is in none of the files that verify or was withdrawn, and keys that
// leave out the one that others on the store sign with. What the store does not
// say now is asked again.
func (s *Server) acceptSigning(ring *keyring.Ring) error {
	if file := s.cfg.ServiceAccounts.SigningKeyFile; file != "" {
		if !ring.Listed() {
			return fmt.Errorf("the public half of the key in %s is in none of the files of keys that verify: name the file with its public key with --service-account-key-file as well", file)
		}
		if err := s.signing.refuseWithdrawn(ring.Keys()[0].ID, file); err != nil {
			return err
		}
	}
	if _, err := serviceaccount.NewKeys(publicKeys(ring)...); err != nil {
		return err
	}
	claim := s.material.claim
	claim.Signing = s.signingIDs(ring)
	if slices.Equal(claim.Signing, s.material.claim.Signing) {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.draining, claimTimeout)
	defer cancel()
	err := claim.Hold(ctx, s.client)
	switch {
	case err == nil:
		s.material.claim = claim
	case !errors.Is(err, etcd.ErrForeign):
		return fmt.Errorf("%w: %w", reload.ErrUnsettled, err)
	}
	return err
}

func publicKeys(ring *keyring.Ring) []crypto.PublicKey {
	var public []crypto.PublicKey
	for _, k := range ring.Keys() {
		public = append(public, k.Public)
	}
	return public
}

func ids(ring *keyring.Ring) []string {
	var all []string
	if ring == nil {
		return nil
	}
	for _, k := range ring.Keys() {
		all = append(all, k.ID)
	}
	return all
}

// followRoot follows --root-ca-file.
func (s *Server) followRoot() error {
	path := s.cfg.ServiceAccounts.RootCAFile
	if path == "" {
		return nil
	}
	file, err := reload.Open(path, func(text []byte) ([]byte, error) {
		if _, err := pki.ParseCertificates(text); err != nil {
			return nil, err
		}
		return bytes.Clone(text), nil
	}, reporter(s.log, "root CA file", path))
	if err != nil {
		return err
	}
	s.root = file
	s.credentials.follow("root-ca-file", file.Status, file.Run)
	return nil
}

// rootCA is what clients in a pod, and machines that join, shall trust.
func (s *Server) rootCA() []byte {
	if s.root == nil {
		return s.material.rootCA
	}
	return s.root.Value()
}
