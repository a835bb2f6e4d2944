package server

import (
	"context"

	"gatehouse.dev/gatehouse/authz/rbac/escalation"
)

// Inner names for the tests.
var (
	ServingNames = servingNames
	ExternalURL  = externalURL
	Reachable    = reachable
	Wildcard     = wildcard
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
