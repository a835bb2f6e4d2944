package server

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"

	"gatehouse.dev/gatehouse/authz/rbac/escalation"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/rotation"
)

// Inner names for the tests.
var (
	ServingNames = servingNames
	ExternalURL  = externalURL
	Reachable    = reachable
	Wildcard     = wildcard
	ReadStrictly = readStrictly
)

// Revision returns how many writes the store of s has seen.
func Revision(ctx context.Context, s *Server) (int64, error) {
	found, err := s.client.Get(ctx, "/")
	if err != nil {
		return 0, err
	}
	return found.Header.Revision, nil
}

// Policy returns what the escalation guard of s goes by.
func Policy(s *Server) escalation.Policy { return livePolicy{s.index, s} }

// Interpose puts something between s and its register, and in front of its door,
// before it serves.
func Interpose(s *Server, store func(register.Store) register.Store, front func(http.Handler) http.Handler) {
	s.register = register.New(store(s.ledger), uncounted{}, s.log)
	s.register.Serials = s.serials
	s.web.Handler = front(s.web.Handler)
}

type uncounted struct{}

func (uncounted) Written(int, bool)     {}
func (uncounted) UsesWritten(int, bool) {}

// HolderOf says who has a certificate without a common name.
func HolderOf(cert *x509.Certificate) string { return holderOf(cert) }

// TakeSpool has s write down what was issued without it.
func TakeSpool(ctx context.Context, s *Server) error { return s.takeSpool(ctx) }

// SpoilKeys writes something over the keys of tokens in the store of s. Mend puts
// them back.
func SpoilKeys(ctx context.Context, s *Server) (mend func() error, err error) {
	got, err := s.client.Get(ctx, rotation.StoreKey)
	if err != nil {
		return nil, err
	}
	if _, err := s.client.Put(ctx, rotation.StoreKey, "no document"); err != nil {
		return nil, err
	}
	return func() error {
		_, err := s.client.Put(ctx, rotation.StoreKey, string(got.Kvs[0].Value))
		return err
	}, nil
}

// WaitOf returns for how long a rotation is asked to wait.
func WaitOf(r *KeyRotation) (time.Duration, error) { return r.wait() }
