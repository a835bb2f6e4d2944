package server

import (
	"net/http"
	"time"

	"gatehouse.dev/gatehouse/internal/openid"
)

// handleDiscovery adds the documents by which others verify tokens of service
// accounts, and returns their paths. An issuer that nobody could discover has
// none, as in kube-apiserver.
func (s *Server) handleDiscovery(e *endpoints) ([]string, error) {
	sa := s.cfg.ServiceAccounts
	if !sa.Discoverable() {
		return nil, nil
	}
	issuer, err := openid.New(sa.Issuers[0], sa.JWKSURI, externalURL(s.cfg.Serving.ExternalHostname, s.Address()), s.publishedKeys)
	if err != nil {
		return nil, err
	}
	e.handle("GET "+openid.ConfigurationPath, http.HandlerFunc(issuer.ServeConfiguration))
	e.handle("GET "+openid.KeysPath, http.HandlerFunc(issuer.ServeKeys))
	return []string{openid.ConfigurationPath, openid.KeysPath}, nil
}

// publishedKeys are the keys that others verify with.
func (s *Server) publishedKeys() (openid.Keys, error) {
	if signer := s.signing.external; signer != nil {
		set, algorithms, err := signer.Published()
		return openid.Keys{Set: set, Algorithms: algorithms, MaxAge: time.Until(signer.Keys().Next)}, err
	}
	ring := s.signing.live.Ring()
	set, err := ring.Set()
	return openid.Keys{Set: set, Algorithms: ring.Algorithms(), MaxAge: openid.MaxAge}, err
}
