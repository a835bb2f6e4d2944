package server

import (
	"context"
	"fmt"
	"time"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/externaljwt"
)

// openSigner connects to the program that signs tokens and has their keys.
func (s *Server) openSigner(ctx context.Context, verify *serviceaccount.Keys) error {
	sa := &s.cfg.ServiceAccounts
	take := func(keys []externaljwt.Key) error {
		var named []serviceaccount.NamedKey
		for _, k := range keys {
			named = append(named, serviceaccount.NamedKey{ID: k.ID, Public: k.Public})
		}
		return verify.ReplaceNamed(named...)
	}
	signer, err := externaljwt.Dial(ctx, sa.SigningEndpoint, take, s.metrics.ExternalSigner(), s.log)
	if err != nil {
		return err
	}
	s.signing = &tokenKeys{verify: verify, external: signer}
	if most := time.Duration(sa.MaxTokenExpiration); most > signer.Longest {
		return s.cfg.Wrong(&sa.MaxTokenExpiration,
			fmt.Errorf("%s is longer than the external signer signs for, which is %s", most, signer.Longest), "choose a shorter one, or leave it out")
	}
	// The signer says which keys there are, so the store does not.
	stored, err := etcd.Claimed(ctx, s.client)
	s.material.claim.Signing = stored.Signing
	return err
}

// limits returns the longest life of a token, and of one that is extended, given
// the one that was configured. Zero is no limit.
func (k *tokenKeys) limits(configured time.Duration) (most, extended time.Duration) {
	if k.external == nil {
		return configured, 0
	}
	if configured == 0 {
		configured = k.external.Longest
	}
	return configured, k.external.Longest
}
