// Package audit writes down what callers did: events of the API audit.k8s.io/v1,
// chosen by a policy, to a file and to a webhook, as kube-apiserver does.
//
// A [Trail] is the policy and where the events go. A [Recorder] is its filter
// in the chain of a server. The event of a request lives in the library's audit
// context, so that the generic API server's handlers add their objects to it
// unchanged. A request that the policy does not choose carries one shared,
// closed audit context, and costs next to nothing.
//
// The package refuses a configuration under which events that somebody counts
// on would not be written, and keeps secrets out of what it does write: tokens
// of reviews, issued tokens, access tokens in URLs and the values of Secrets
// never reach a backend, whatever the policy says.
package audit

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
)

// A Trail decides which requests are recorded, and keeps their events. Use
// [New].
type Trail struct {
	// policy and backend are nil if nothing is recorded.
	policy  audit.PolicyRuleEvaluator
	backend audit.Backend
	closers []func() error

	// closed holds the audit context of all requests that are not recorded.
	closed context.Context

	started  bool
	stop     chan struct{}
	stopOnce sync.Once
}

// New returns the trail of c. Without a policy and without a backend it records
// nothing. An error names the flag or file at fault and how to mend it.
func New(c Config) (*Trail, error) {
	closed, err := closedContext()
	if err != nil {
		return nil, fmt.Errorf("preparing audit context: %w", err)
	}
	t := &Trail{closed: closed, stop: make(chan struct{})}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.PolicyFile == "" {
		return t, nil
	}
	if t.policy, err = readPolicy(c.PolicyFile); err != nil {
		return nil, err
	}
	if err := t.open(c); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// open makes the backends of c.
func (t *Trail) open(c Config) error {
	var backends []audit.Backend
	if c.Log.Path != "" {
		b, closer, err := c.Log.backend()
		if err != nil {
			return err
		}
		t.closers = append(t.closers, closer)
		backends = append(backends, b)
	}
	if c.Webhook.ConfigFile != "" {
		b, err := c.Webhook.backend()
		if err != nil {
			return err
		}
		backends = append(backends, b)
	}
	t.backend = discreet{audit.Union(backends...)}
	return nil
}

// Start starts the backends. It must be called once, before the first request.
func (t *Trail) Start() error {
	if t.backend == nil {
		return nil
	}
	t.started = true
	if err := t.backend.Run(t.stop); err != nil {
		return fmt.Errorf("starting audit backend %s: %w", t.backend, err)
	}
	return nil
}

// Shutdown delivers the events that are still buffered and closes the backends.
// It blocks until that is done, and must be called once no request is served
// any more. Further calls do nothing. A trail that was never started can be
// shut down as well.
func (t *Trail) Shutdown() error {
	var err error
	t.stopOnce.Do(func() {
		close(t.stop)
		if t.started {
			t.backend.Shutdown()
		}
		err = t.close()
	})
	return err
}

// close closes the files of the backends.
func (t *Trail) close() error {
	for _, c := range t.closers {
		if err := c(); err != nil {
			return fmt.Errorf("closing audit log: %w", err)
		}
	}
	return nil
}

// closedContext returns a context with an audit context that takes nothing.
func closedContext() (context.Context, error) {
	ctx := newContext()
	none := audit.RequestAuditConfig{Level: auditinternal.LevelNone}
	return ctx, audit.AuditContextFrom(ctx).Init(none, nil)
}

// newContext returns a context with a new audit context and nothing else. The
// library has no other way to make one.
func newContext() context.Context { return audit.WithAuditContext(context.Background()) }

// A Carrier is the context of a request that takes the request's audit context,
// and gives it to whoever asks for it from then on. A request with any other
// context is copied instead.
type Carrier interface {
	context.Context
	CarryAudit(*audit.AuditContext)
}

// attach returns r with the audit context of own.
func attach(r *http.Request, own context.Context) *http.Request {
	ctx := r.Context()
	if c, ok := ctx.(Carrier); ok {
		c.CarryAudit(audit.AuditContextFrom(own))
		return r
	}
	return r.WithContext(attached{Context: ctx, own: own})
}

// attached is the context of a request, with the values of own.
type attached struct {
	context.Context
	own context.Context
}

func (a attached) Value(key any) any {
	if v := a.own.Value(key); v != nil {
		return v
	}
	return a.Context.Value(key)
}
