package server

import (
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/warning"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/controller/legacytokens"
	"gatehouse.dev/gatehouse/internal/issuing"
)

// tokenRequests answers requests for tokens, with what has to be told to the
// caller and written into the audit event.
type tokenRequests struct {
	// tokens records what it issues, and rehearsed, which is the same else, does
	// not.
	tokens, rehearsed *issuing.Tokens
}

func (s *Server) tokenRequests() *tokenRequests {
	recorded := s.issuer()
	rehearsed := *recorded
	rehearsed.Record = nil
	return &tokenRequests{recorded, &rehearsed}
}

func (t *tokenRequests) RequestToken(ctx context.Context, namespace, name string, req *authenticationv1.TokenRequest, dry bool) (*authenticationv1.TokenRequest, error) {
	tokens := t.tokens
	if dry {
		tokens = t.rehearsed
	}
	issued, err := tokens.Issue(ctx, namespace, name, req, nil)
	if err != nil {
		return nil, err
	}
	for _, text := range issued.Warnings {
		warning.AddWarning(ctx, "", text)
	}
	if dry {
		// A rehearsal hands out nothing that would let anybody in.
		issued.Request.Status.Token = ""
		return issued.Request, nil
	}
	for key, value := range issued.Annotations {
		audit.AddAuditAnnotation(ctx, key, value)
	}
	return issued.Request, nil
}

// issuer decides about tokens by the objects in the store.
func (s *Server) issuer() *issuing.Tokens {
	sa := s.cfg.ServiceAccounts
	most, extended := s.signing.limits(time.Duration(sa.MaxTokenExpiration))
	return &issuing.Tokens{
		Issuer:         sa.Issuers[0],
		Audiences:      s.cfg.Audiences(),
		MaxLifetime:    most,
		MaxExtended:    extended,
		ExtendLifetime: sa.ExtendTokenExpiration,
		Signer:         s.signing,
		Record:         s.recordToken,
		Objects: issuing.Objects{
			ServiceAccounts: live(s, func(o *objects) api.Objects[*corev1.ServiceAccount] { return o.accounts }),
			Pods:            live(s, func(o *objects) api.Objects[*corev1.Pod] { return o.pods }),
			Secrets:         live(s, func(o *objects) api.Objects[*corev1.Secret] { return o.secrets }),
			Nodes:           live(s, func(o *objects) api.Objects[*corev1.Node] { return o.nodes }),
		},
	}
}

// serviceAccounts builds what verifies the tokens of service accounts.
func (s *Server) serviceAccounts(c *credentials, objects serviceaccount.Objects, audiences []string) (*serviceaccount.Verifier, error) {
	config := serviceaccount.Config{
		Issuers: s.cfg.ServiceAccounts.Issuers, Audiences: audiences,
		Keys: s.signing.verify, Refresh: s.signing.refresh(), Objects: objects, Stripes: s.stripes, Count: s.metrics.AccountTokens(),
	}
	if s.objects != nil { // a check of the configuration has no store to write to
		marker := legacytokens.NewMarker(s.objects.secrets, s.log)
		c.keepers = append(c.keepers, marker.Run)
		config.LegacyUsed = marker.Used
	}
	return serviceaccount.New(config)
}

// live reads from a resource that is opened only after the API was built that
// asks for it.
func live[V any, T interface {
	*V
	api.Object
}](s *Server, of func(*objects) api.Objects[T]) issuing.Get[V] {
	return func(ctx context.Context, namespace, name string) (*V, error) {
		obj, err := of(s.objects).Get(ctx, namespace, name)
		return (*V)(obj), err
	}
}
