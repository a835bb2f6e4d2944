package server

import (
	"context"
	"errors"
	"log/slog"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/metrics"
)

// Check reads every file of the operator's that a start reads, with the code of
// the start, and returns all that is wrong with them, as problems of their
// settings. It makes nothing, listens nowhere and asks nobody: what only the
// store, a key service or an issuer could say is found at the start alone.
//
// [New] begins with it, so that what it refuses has left nothing half made. cfg
// must be valid.
func Check(ctx context.Context, cfg *config.Configuration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &Server{
		cfg: cfg, log: slog.New(slog.DiscardHandler), index: rbac.New(), stripes: authn.NewStripes(),
		metrics: metrics.New(""), draining: ctx, calling: ctx,
	}
	s.webhooks = s.metrics.Webhooks()
	var err error
	if s.material, err = brought(cfg, s.log); err == nil {
		err = s.checkDoor()
	}
	return errors.Join(err, s.checkStore(ctx), s.checkAudit(), s.checkCertificates())
}

// checkDoor builds what identifies callers and decides about them. What a data
// directory would hold, and what is in the store, is stood in for.
func (s *Server) checkDoor() error {
	ring := s.material.files
	if ring == nil {
		var err error
		if ring, err = keyring.New(); err != nil {
			return err
		}
	}
	keys, err := serviceaccount.NewKeys(publicKeys(ring)...)
	if err != nil {
		return err
	}
	s.signing = &tokenKeys{verify: keys}
	if _, err := s.identify(liveObjects{}, make([]byte, digestKeyBytes)); err != nil {
		return err
	}
	if err := s.openAuthorizers(); err != nil {
		return err
	}
	_, err = s.tlsConfig()
	return err
}

// checkStore reads what encrypts the store and what reaches it.
func (s *Server) checkStore(ctx context.Context) error {
	storage := &s.cfg.Storage
	authorities, certificate := external(s.cfg).Check()
	return errors.Join(
		s.cfg.Wrong(&storage.EncryptionProviderConfigFile, atrest.Check(ctx, storage.EncryptionProviderConfigFile),
			"correct it; it is of kind EncryptionConfiguration, apiserver.config.k8s.io/v1"),
		s.cfg.Wrong(&storage.Etcd.CAFile, authorities, "name the CA certificates of the etcd servers, in PEM form"),
		s.cfg.Wrong(&storage.Etcd.CertFile, certificate, "name a client certificate and its private key, both in PEM form"),
	)
}

func (s *Server) checkAudit() error {
	policy, webhook := audit.Check(auditConfig(s.cfg))
	a := &s.cfg.Audit
	return errors.Join(
		s.cfg.Wrong(&a.PolicyFile, policy, "correct it; docs/audit.md has an example"),
		s.cfg.Wrong(&a.Webhook.ConfigFile, webhook, "name a kubeconfig whose current context names the service"),
	)
}
