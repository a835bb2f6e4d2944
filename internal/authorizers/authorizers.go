// Package authorizers follows a Kubernetes AuthorizationConfiguration, or what
// the flags say instead: it makes the chain of authorizers that is described,
// with its webhooks and their conditions.
//
// The one idea: what is in force is replaced as a whole. A change of the file, or
// of a kubeconfig or certificate that it leads to, takes effect once all of it
// was read, checked and compiled; until then, and if that fails, everything stays
// as it is. A new chain knows nothing of what webhooks have said before.
//
// Types, validation and expressions are those that Kubernetes publishes. Refused
// beyond it: InClusterConfig, as this server runs in no cluster, and whatever
// package outcall refuses of a kubeconfig. As in Kubernetes, the authorizers of
// the server itself cannot change while it runs.
package authorizers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authorization/cel"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/reload"
)

// A Config says where the authorizers are described.
type Config struct {
	// Path is the file with an AuthorizationConfiguration, or "".
	Path string
	// Flags describe them where there is no file.
	Flags Flags
}

// file returns the path of the file that is followed, or "" if there is none.
func (c *Config) file() string {
	if c.Path == "" && slices.Contains(c.Flags.Modes, Webhook) {
		return c.Flags.KubeconfigFile
	}
	return c.Path
}

// read returns what the configuration says; text is that of the file.
func (c *Config) read(text []byte, read reload.Reader) (*Document, error) {
	if c.Path != "" {
		return Parse(text, read)
	}
	return c.Flags.document(text, read)
}

// Check returns what is wrong with the configuration, as [Open] would, and what
// it describes.
func Check(cfg Config) (*Document, error) {
	if cfg.file() == "" {
		return cfg.read(nil, nil)
	}
	file, err := reload.OpenSet(cfg.file(), cfg.read, nil)
	if err != nil {
		return nil, err
	}
	return file.Value(), nil
}

// Metrics count what happens.
type Metrics interface {
	cel.MatcherMetrics
	// Decided returns what counts the decisions of an authorizer.
	Decided(kind, name string) (allowed, denied func())
	// Called returns what counts the calls of a webhook.
	Called(name string) func(result string, took time.Duration)
	// FailedOpen counts a request that a webhook did not answer about.
	FailedOpen(name, result string)
	// Gone is called when an authorizer is no longer configured.
	Gone(kind, name string)
	// Configured is called when a file has taken effect, with its text. Reloaded
	// says whether it replaces another one.
	Configured(text []byte, reloaded bool)
	// Refused is called when a changed file has not taken effect.
	Refused()
}

// Calls say how webhooks are called. All fields must be set.
type Calls struct {
	// Life ends the calls when it ends.
	Life context.Context
	// Peer returns who is behind a request.
	Peer func(context.Context) netip.Addr
	// Show is given each webhook by its name, and Gone its name when it is no
	// longer called.
	Show func(name string, client *outcall.Client)
	Gone func(name string)
	// Called returns what else counts the calls of a webhook.
	Called func(name string) func(result string, took time.Duration)
}

// A Member is an authorizer that can also list what it allows.
type Member interface {
	authz.Authorizer
	authz.RuleLister
}

// Own are the authorizers that know the objects of this server.
type Own struct{ Node, RBAC Member }

// Live are the authorizers that are in force.
type Live struct {
	cfg     Config
	own     Own
	calls   Calls
	metrics Metrics
	log     *slog.Logger
	file    *reload.File[*Document] // nil if there is nothing to follow
	current atomic.Pointer[state]
	effect  reload.Effect
}

// A state is a chain, and what was made for it.
type state struct {
	doc     *Document
	chain   *authz.Chain
	clients []*outcall.Client
}

// Open reads the configuration, and fails if it is bad. No webhook is called
// before somebody asks.
func Open(cfg Config, own Own, calls Calls, metrics Metrics, log *slog.Logger) (*Live, error) {
	l := &Live{cfg: cfg, own: own, calls: calls, metrics: metrics, log: log}
	var doc *Document
	var err error
	if cfg.file() == "" {
		doc, err = cfg.read(nil, nil)
	} else if l.file, err = reload.OpenSet(cfg.file(), cfg.read, l.notify); err == nil {
		doc = l.file.Value()
	}
	if err != nil {
		return nil, err
	}
	first, err := l.build(doc)
	if err != nil {
		return nil, err
	}
	l.use(first)
	if cfg.Path != "" {
		metrics.Configured(doc.text, false)
	}
	return l, nil
}

// Authorize implements [authz.Authorizer].
func (l *Live) Authorize(ctx context.Context, a *authz.Attributes) (authz.Answer, error) {
	return l.current.Load().chain.Authorize(ctx, a)
}

// RulesFor implements [authz.RuleLister].
func (l *Live) RulesFor(ctx context.Context, user *identity.Identity, namespace string) (authz.Rules, error) {
	return l.current.Load().chain.RulesFor(ctx, user, namespace)
}

// Nearest implements [authz.NearFinder].
func (l *Live) Nearest(a *authz.Attributes, most int) []authz.Near {
	return l.current.Load().chain.Nearest(a, most)
}

// Roles implements [authz.RoleFinder].
func (l *Live) Roles(a *authz.Attributes, most int) ([]authz.Role, bool) {
	return l.current.Load().chain.Roles(a, most)
}

// Uses reports whether an authorizer of that type is in force. It stays so.
func (l *Live) Uses(kind string) bool { return slices.Contains(l.current.Load().doc.Types(), kind) }

// Followed returns the name of the flag whose file is followed, or "".
func (l *Live) Followed() string {
	switch {
	case l.file == nil:
		return ""
	case l.cfg.Path != "":
		return "authorization-config"
	}
	return "authorization-webhook-config-file"
}

// Status returns how following the file has gone so far.
func (l *Live) Status() reload.Status { return l.effect.On(l.file.Status()) }

// Run follows the file until ctx ends. There must be one.
func (l *Live) Run(ctx context.Context) { l.file.Run(ctx) }

// notify puts a changed file in force, if it is good.
func (l *Live) notify(problem error) {
	var unused error
	if problem == nil {
		unused = l.replace(l.file.Value())
		problem = unused
	}
	l.effect.Report(unused)
	if problem != nil {
		if l.cfg.Path != "" {
			l.metrics.Refused()
		}
		l.log.Error("authorization configuration is bad; the last good one stays in force", "err", problem)
		return
	}
	l.log.Info("authorization configuration reloaded", "authorizers", len(l.file.Value().entries))
}

// replace puts doc in force.
func (l *Live) replace(doc *Document) error {
	old := l.current.Load()
	if err := sameTypes(old.doc, doc); err != nil {
		return err
	}
	next, err := l.build(doc)
	if err != nil {
		return err
	}
	l.use(next)
	if l.cfg.Path != "" {
		l.metrics.Configured(doc.text, true)
	}
	for _, e := range old.doc.entries {
		if !slices.ContainsFunc(doc.entries, func(o entry) bool { return o.kind == e.kind && o.name == e.name }) {
			l.metrics.Gone(e.kind, e.name)
			if e.kind == Webhook {
				l.calls.Gone(e.name)
			}
		}
	}
	for _, c := range old.clients {
		c.Close()
	}
	return nil
}

// sameTypes refuses a change of the authorizers of the server itself, as
// kube-apiserver does: what they need is made at the start.
func sameTypes(old, next *Document) error {
	is, was := next.Types(), old.Types()
	for _, kind := range Types() {
		if kind == Webhook || slices.Contains(is, kind) == slices.Contains(was, kind) {
			continue
		}
		if slices.Contains(was, kind) {
			return fmt.Errorf("the authorizer of type %s cannot be taken away while the server runs: restart it, or put it back", kind)
		}
		return fmt.Errorf("an authorizer of type %s cannot be added while the server runs: restart it, or take it out", kind)
	}
	return nil
}

// use puts a state in force.
func (l *Live) use(s *state) {
	webhooks := 0
	for _, e := range s.doc.entries {
		if e.kind == Webhook {
			l.calls.Show(e.name, s.clients[webhooks])
			webhooks++
		}
	}
	l.current.Store(s)
}

// build makes the chain of a document.
func (l *Live) build(doc *Document) (*state, error) {
	s := &state{doc: doc}
	var members []authz.Named
	for _, e := range doc.entries {
		var member Member
		switch e.kind {
		case Node:
			member = l.own.Node
		case RBAC:
			member = l.own.RBAC
		case AlwaysAllow, AlwaysDeny:
			member = fixed(e.kind)
		case Webhook:
			client := l.client(&e)
			asked, err := l.webhook(&e, client)
			if err != nil {
				return nil, fmt.Errorf("authorizer %s: %w", e.name, err)
			}
			member, s.clients = asked, append(s.clients, client)
		default:
			return nil, errors.New("internal error: there is no authorizer of type " + e.kind)
		}
		allowed, denied := l.metrics.Decided(e.kind, e.name)
		members = append(members, authz.Named{Name: e.name, Authorizer: &counted{member, allowed, denied}})
	}
	var err error
	s.chain, err = authz.NewChain(members...)
	return s, err
}

func (l *Live) client(e *entry) *outcall.Client {
	count, own := l.calls.Called(e.name), l.metrics.Called(e.name)
	return outcall.New(l.calls.Life, outcall.Config{
		Name: "authorization webhook " + e.name, Timeout: e.spec.Timeout.Duration, Peer: l.calls.Peer, Log: l.log,
		Observe: func(x outcall.Exchange) {
			count(x.Result, x.Took)
			own(x.Result, x.Took)
		},
	}, e.target)
}

// webhook returns what asks one.
func (l *Live) webhook(e *entry, client *outcall.Client) (*webhook.Authorizer, error) {
	cfg := webhook.Config{
		Ask: client.Post, Version: e.spec.SubjectAccessReviewVersion,
		Allowed: e.spec.AuthorizedTTL.Duration, Denied: e.spec.UnauthorizedTTL.Duration,
		FailedOpen: func(why error) { l.metrics.FailedOpen(e.name, outcall.Result(why)) },
	}
	if !e.spec.CacheAuthorizedRequests {
		cfg.Allowed = 0
	}
	if !e.spec.CacheUnauthorizedRequests {
		cfg.Denied = 0
	}
	if e.spec.FailurePolicy == apiserver.FailurePolicyDeny {
		cfg.OnError = authz.Deny
	}
	if e.matcher != nil {
		matcher := *e.matcher
		matcher.Metrics = l.metrics
		cfg.Match = func(ctx context.Context, s *authorizationv1.SubjectAccessReviewSpec) (bool, error) {
			return matcher.Eval(ctx, &authorizationv1.SubjectAccessReview{Spec: *s})
		}
	}
	return webhook.New(cfg)
}

// fixed returns the authorizer that always says the same.
func fixed(kind string) Member {
	if kind == AlwaysAllow {
		return authz.AlwaysAllow().(Member)
	}
	return authz.AlwaysDeny().(Member)
}

// counted counts the decisions of an authorizer.
type counted struct {
	Member
	allowed, denied func()
}

// Authorize implements [authz.Authorizer].
func (c *counted) Authorize(ctx context.Context, a *authz.Attributes) (authz.Answer, error) {
	answer, err := c.Member.Authorize(ctx, a)
	switch answer.Verdict {
	case authz.Allow:
		c.allowed()
	case authz.Deny:
		c.denied()
	}
	return answer, err
}

// Nearest implements [authz.NearFinder].
func (c *counted) Nearest(a *authz.Attributes, most int) []authz.Near {
	if finder, ok := c.Member.(authz.NearFinder); ok {
		return finder.Nearest(a, most)
	}
	return nil
}

// Roles implements [authz.RoleFinder].
func (c *counted) Roles(a *authz.Attributes, most int) ([]authz.Role, bool) {
	if finder, ok := c.Member.(authz.RoleFinder); ok {
		return finder.Roles(a, most)
	}
	return nil, false
}
