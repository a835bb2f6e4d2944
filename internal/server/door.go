package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/api/credential"
	"gatehouse.dev/gatehouse/internal/api/review"
	reviewvalidation "gatehouse.dev/gatehouse/internal/api/validation/review"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/health"
)

// healthTimeout bounds how long a health check waits for the store.
const healthTimeout = 2 * time.Second

// door returns the front door, with everything that is behind it.
func (s *Server) door() (http.Handler, error) {
	reviews, err := review.New(review.Config{
		Tokens: reviewed{s.revoked.Tokens(s.credentials.tokens), s.uses}, Audiences: s.cfg.Audiences(), Clients: reviewClients(s.cfg), Access: s.revoked.Access(s.authorizer),
		Rules: rules{s.authorizer}, Validate: validateReview, Journal: reviewJournal{s.book},
	})
	if err != nil {
		return nil, err
	}
	own := newEndpoints()
	healthy := own.handleHealth(s.healthEndpoints())
	own.handle("GET /metrics", s.metricsHandler())
	documents, err := s.handleDiscovery(own)
	statuses, also := s.handleCertificateStatus(own)
	if err := errors.Join(err, also); err != nil {
		return nil, err
	}
	if err := own.handleIndex(slices.Concat(s.api.Paths(), healthy, documents, statuses, s.handleKeys(own), []string{"/metrics"})...); err != nil {
		return nil, err
	}
	own.handle("POST "+SnapshotPath, http.HandlerFunc(s.serveSnapshot))
	explanations, credentials := s.explanations(), credential.New(s.register, s.log)
	resources := s.api.Handler()
	return door.New(door.Config{
		Authenticator: s.credentials.requests,
		Authorizer:    s.authorizer,
		Revocations:   s.revoked,
		Impersonation: impersonation.New(s.authorizer, s.metrics),
		ProxyHeaders:  proxyHeaders(s.cfg),
		Challenges:    s.credentials.challenges,
		Audit:         s.trail,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case reviews.Serves(r.URL.Path):
				reviews.ServeHTTP(w, r)
			case explanations.Serves(r.URL.Path):
				explanations.ServeHTTP(w, r)
			case credentials.Serves(r.URL.Path):
				credentials.ServeHTTP(w, r)
			case own.serves(r):
				own.mux.ServeHTTP(w, r)
			default:
				resources.ServeHTTP(w, r)
			}
		}),
		Codecs:         s.api.Codecs(),
		MaxReading:     s.cfg.Limits.MaxRequestsInflight,
		MaxMutating:    s.cfg.Limits.MaxMutatingRequestsInflight,
		Hold:           s.hold,
		Used:           s.uses.Used,
		Journal:        s.book,
		RequestTimeout: time.Duration(s.cfg.Limits.RequestTimeout),
		Live:           s.live,
		Stale:          s.stale,
		Draining:       s.draining,
		Metrics:        s.metrics,
		Log:            s.log,
	}), nil
}

// reviewClients are the callers that are told of some tokens only.
func reviewClients(cfg *config.Configuration) map[string]*review.Client {
	clients := make(map[string]*review.Client, len(cfg.Authentication.WebhookClients))
	for _, c := range cfg.Authentication.WebhookClients {
		clients[c.User] = &review.Client{Audiences: c.Audiences, Sources: c.Sources}
	}
	return clients
}

// validateReview says what is wrong with a review. Those that are checked in
// other ways, or not at all, have no errors here.
func validateReview(obj runtime.Object) field.ErrorList {
	switch r := obj.(type) {
	case *authorizationv1.SubjectAccessReview:
		return reviewvalidation.ValidateSubjectAccessReview(r)
	case *authorizationv1.SelfSubjectAccessReview:
		return reviewvalidation.ValidateSelfSubjectAccessReview(r)
	case *authorizationv1.LocalSubjectAccessReview:
		return reviewvalidation.ValidateLocalSubjectAccessReview(r)
	case *authorizationv1.SelfSubjectRulesReview, *authenticationv1.TokenReview, *authenticationv1.SelfSubjectReview:
	}
	return nil
}

// rules lists what a caller may do in the form of the API.
type rules struct{ from authz.RuleLister }

func (l rules) RulesFor(ctx context.Context, user *identity.Identity, namespace string) ([]authorizationv1.ResourceRule, []authorizationv1.NonResourceRule, bool, error) {
	found, err := l.from.RulesFor(ctx, user, namespace)
	resource := make([]authorizationv1.ResourceRule, len(found.Resource))
	for i, r := range found.Resource {
		resource[i] = authorizationv1.ResourceRule{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames}
	}
	paths := make([]authorizationv1.NonResourceRule, len(found.NonResource))
	for i, r := range found.NonResource {
		paths[i] = authorizationv1.NonResourceRule{Verbs: r.Verbs, NonResourceURLs: r.NonResourceURLs}
	}
	return resource, paths, found.Incomplete, err
}

// healthEndpoints are where the server says how it is. It lives as long as it
// answers; it is ready while the store answers too and no stop was asked for.
func (s *Server) healthEndpoints() []*health.Endpoint {
	ping := health.Check{Name: "ping", Failing: func(*http.Request) error { return nil }}
	store := health.Check{Name: "etcd", Failing: s.storeFailing}
	caches := health.Check{Name: "informer-sync", Failing: func(*http.Request) error { return s.api.Ready() }}
	fresh := health.Check{Name: "freshness", Failing: func(*http.Request) error { return s.stale(time.Now()) }}
	revocations := health.Check{Name: "revocations", Failing: func(*http.Request) error { return s.revoking.Problem() }}
	keys := health.Check{Name: "signing-keys", Failing: func(*http.Request) error { return s.signing.stale(time.Now()) }}
	stopping := health.Check{Name: "shutdown", Failing: func(*http.Request) error { return s.draining.Err() }}
	notes := []health.Note{
		{Name: "etcd-space", Text: func() string { return s.space.Space().String() }},
		{Name: "freshness", Text: func() string {
			if s.view.Stale(time.Now()) == nil {
				return ""
			}
			return "what this process knows of the store is older than --max-staleness; it serves all the same, as it was told"
		}},
	}
	for _, f := range s.credentials.files {
		notes = append(notes, health.Note{Name: f.name, Text: func() string {
			if f.status().Problem == nil {
				return ""
			}
			return "is bad on disk; the last good version is in force, and the log says what is wrong"
		}})
	}
	return []*health.Endpoint{
		{Path: "/livez", Checks: []health.Check{ping}, Log: s.log},
		{Path: "/healthz", Checks: []health.Check{ping, store}, Log: s.log},
		{Path: "/readyz", Checks: []health.Check{ping, store, caches, revocations, fresh, keys, stopping}, Notes: notes, Log: s.log},
	}
}

// storeFailing reads a key, which a store without a leader cannot answer.
func (s *Server) storeFailing(r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if _, err := s.client.Get(ctx, "/gatehouse/health"); err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	return nil
}

func (s *Server) metricsHandler() http.Handler {
	for _, f := range s.credentials.files {
		s.metrics.File(f.name, func() (uint64, uint64, bool) {
			status := f.status()
			return status.Successes, status.Failures, status.Problem != nil
		})
	}
	return s.metrics.Handler()
}
