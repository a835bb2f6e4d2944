package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/internal/reload"
)

// rememberedTokens bounds the table of verified tokens. Ten thousand clients
// with a token each fit with room to spare, in a few megabytes.
const rememberedTokens = 1 << 16

// credentials is how callers are identified, and the files that decide it.
type credentials struct {
	requests authn.Authenticator
	// rehearsed says what requests would, of credentials that nobody presents:
	// it remembers and delays nothing.
	rehearsed authn.Authenticator
	tokens    authn.TokenVerifier
	files     []followed
	// challenges are what a 401 offers besides bearer tokens.
	challenges []string
	// keepers keep up to date what is in no file, until their context ends.
	keepers []func(context.Context)
	// changed has something in it when a CA file has changed, and trusts counts
	// how often one has.
	changed chan struct{}
	trusts  atomic.Uint64
}

// trustChanged wakes whoever waits for another CA to be in force.
func (c *credentials) trustChanged() {
	c.trusts.Add(1)
	select {
	case c.changed <- struct{}{}:
	default: // somebody is about to be woken
	}
}

// A followed file takes effect when it changes.
type followed struct {
	name   string
	status func() reload.Status
	run    func(context.Context)
}

// identify builds the authenticators in Kubernetes' order: proxies, certificates,
// tokens, passwords, then nobody (k8s.io/kubernetes pkg/kubeapiserver/authenticator).
func (s *Server) identify(objects serviceaccount.Objects, digestKey []byte) (*credentials, error) {
	cfg, m, log := s.cfg, s.material, s.log
	c := &credentials{changed: make(chan struct{}, 1)}
	chain, err := c.certificates(cfg, m, log)
	if err != nil {
		return nil, err
	}
	table, err := verified.NewResults(rememberedTokens)
	if err != nil {
		return nil, fmt.Errorf("making the table of verified tokens: %w", err)
	}
	s.metrics.Tokens(table.Stats)
	audiences := cfg.Audiences()
	tokens, err := c.static(cfg, digestKey, audiences, log)
	passwords, wrong := c.passwords(cfg, s.metrics, log)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	accounts, err := s.serviceAccounts(c, objects, audiences)
	if err != nil {
		return nil, err
	}
	tokens = append(tokens, accounts)
	if cfg.Authentication.BootstrapTokens {
		bootstrap, err := s.bootstrapTokens(audiences)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, bootstrap)
	}
	served := &issuers.Anonymous{Enabled: cfg.Authentication.Anonymous}
	if described, ok := cfg.Issuers(); ok {
		live, err := issuers.Open(described, s.metrics.Issuers(), log)
		if err != nil {
			return nil, err
		}
		c.keep(live)
		tokens = append(tokens, live.Verifier())
		if said := live.Anonymous(); said != nil {
			served = said
		}
	}
	presented, rehearsed, err := s.verifyTokens(c, tokens, audiences)
	if err != nil {
		return nil, err
	}
	c.tokens = verified.Tokens(table, authn.AnyBearer, s.metrics.Verifying(presented))
	if cfg.Authentication.TokenFile != "" {
		c.tokens = authn.Shortcut(tokens[0], c.tokens)
	}
	c.requests = authn.Chain(slices.Concat(chain, byHeaders(c.tokens, passwords))...)
	c.rehearsed = authn.Chain(slices.Concat(chain, byHeaders(rehearsed, passwords))...)
	if served.Enabled {
		nobody := anonymous.New(served.Paths...)
		c.requests, c.rehearsed = authn.OrAnonymous(c.requests, nobody), authn.OrAnonymous(c.rehearsed, nobody)
	}
	return c, nil
}

// keep runs the issuers, with the file that they follow if there is one.
func (c *credentials) keep(live *issuers.Live) {
	if name := live.Followed(); name != "" {
		c.follow(name, live.Status, live.Run)
		return
	}
	c.keepers = append(c.keepers, live.Run)
}

// certificates builds what authenticates by the certificate of a connection: a
// proxy's first, because its word is more than itself.
func (c *credentials) certificates(cfg *config.Configuration, m *material, log *slog.Logger) ([]authn.Authenticator, error) {
	var bundles []*clientcert.Bundle
	var chain []authn.Authenticator
	for _, file := range m.clientCAs {
		name := "client-ca-file"
		if file != cfg.Authentication.ClientCAFile {
			name = "own-client-ca"
		}
		bundle, err := c.bundle(name, file, log)
		if err != nil && file == cfg.Authentication.ClientCAFile {
			return nil, cfg.Wrong(&cfg.Authentication.ClientCAFile, err, "name a file with CA certificates in PEM form")
		}
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, bundle)
		chain = append(chain, clientcert.New(bundle))
	}
	file := &cfg.Authentication.RequestHeader.ClientCAFile
	if *file == "" {
		return chain, nil
	}
	ca, err := c.bundle("requestheader-client-ca-file", *file, log)
	if err != nil {
		return nil, cfg.Wrong(file, err, "name a file with CA certificates in PEM form")
	}
	proxies, err := frontproxy.New(frontproxy.Config{
		CA: ca, AllowedNames: cfg.Authentication.RequestHeader.AllowedNames, ClientCAs: bundles, Headers: proxyHeaders(cfg),
	})
	if err != nil {
		return nil, cfg.Wrong(file, err, "use a CA of its own, and headers as in docs/authenticating-proxy.md")
	}
	return append([]authn.Authenticator{proxies}, chain...), nil
}

// bundle opens a file of CA certificates and follows it.
func (c *credentials) bundle(name, file string, log *slog.Logger) (*clientcert.Bundle, error) {
	report := reporter(log, name, file)
	bundle, err := clientcert.OpenBundle(file, func(problem error) {
		report(problem)
		if problem == nil {
			c.trustChanged()
		}
	})
	if err != nil {
		return nil, err
	}
	c.follow(name, bundle.Status, bundle.Run)
	return bundle, nil
}

// proxyHeaders are those in which an authenticating proxy is believed.
func proxyHeaders(cfg *config.Configuration) frontproxy.Headers {
	h := cfg.Authentication.RequestHeader
	return frontproxy.Headers{Username: h.UsernameHeaders, UID: h.UIDHeaders, Groups: h.GroupHeaders, ExtraPrefixes: h.ExtraHeaderPrefixes}
}

func (c *credentials) follow(name string, status func() reload.Status, run func(context.Context)) {
	c.files = append(c.files, followed{name, status, run})
}

// reporter logs how following a file goes.
func reporter(log *slog.Logger, what, file string) func(error) {
	return func(err error) {
		if err != nil {
			log.Error(what+" is bad; the last good one stays in force", "file", file, "err", err)
			return
		}
		log.Info(what+" reloaded", "file", file)
	}
}

// liveObjects reads what tokens rest on from the store itself, never from a
// cache: the answer to a revocation must not be older than the revocation.
type liveObjects struct {
	*objects
	// fresh returns what ends when it is of no use any more to wait for the store.
	fresh func() context.Context
}

func (l liveObjects) Object(ctx context.Context, resource, namespace, name string) (*serviceaccount.Object, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	fresh := l.fresh()
	defer context.AfterFunc(fresh, func() { cancel(context.Cause(fresh)) })()
	var obj metav1.Object
	var err error
	out := &serviceaccount.Object{}
	switch resource {
	case serviceaccount.ServiceAccounts:
		var sa *corev1.ServiceAccount
		if sa, err = l.accounts.Get(ctx, namespace, name); err == nil {
			obj = sa
			for _, ref := range sa.Secrets {
				out.Secrets = append(out.Secrets, ref.Name)
			}
		}
	case serviceaccount.Secrets:
		var s *corev1.Secret
		if s, err = l.secrets.Get(ctx, namespace, name); err == nil {
			obj, out.Labels, out.Token = s, s.Labels, s.Data[corev1.ServiceAccountTokenKey]
		}
	case serviceaccount.Pods:
		obj, err = l.pods.Get(ctx, namespace, name)
	case serviceaccount.Nodes:
		obj, err = l.nodes.Get(ctx, "", name)
	default:
		return nil, fmt.Errorf("tokens do not rest on %s", resource)
	}
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", serviceaccount.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	out.UID = string(obj.GetUID())
	if deleted := obj.GetDeletionTimestamp(); deleted != nil {
		out.Deleted = deleted.Time
	}
	return out, nil
}
