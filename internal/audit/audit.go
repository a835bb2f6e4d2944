// Package audit writes down what callers did: events of the API audit.k8s.io/v1,
// chosen by a policy, to a file and to a webhook, as kube-apiserver does.
//
// A [Trail] is the policy and where the events go. A [Recorder] is its filter
// in the chain of a server. A request that the policy chooses has a [Record],
// with the library's audit context in it, so that the generic API server's
// handlers add to its events unchanged. All others share one closed record, and
// cost next to nothing.
//
// The package refuses a configuration under which events that somebody counts
// on would not be written, and keeps secrets out of what it does write: tokens
// of reviews, issued tokens, access tokens in URLs and the values of Secrets
// never reach a backend, whatever the policy says.
package audit

import (
	"errors"
	"fmt"
	"sync"
	"time"

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

	// lines is where a record writes itself, or nil if all events are built. If
	// lenient, a request is served though that failed.
	lines   *logFile
	lenient bool

	// closed is the record of all requests that are not recorded, and key what
	// the library asks a context for to get the audit context.
	closed *Record
	key    any

	started  bool
	stop     chan struct{}
	stopOnce sync.Once
}

// New returns the trail of c. Without a policy and without a backend it records
// nothing. An error names the flag or file at fault and how to mend it.
func New(c Config) (*Trail, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := &Trail{key: learnKey(), stop: make(chan struct{})}
	t.closed = &Record{trail: t, level: auditinternal.LevelNone}
	err := t.closed.handlers.Init(audit.RequestAuditConfig{Level: auditinternal.LevelNone}, nil)
	if err != nil {
		return nil, fmt.Errorf("preparing audit context: %w", err)
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

// Check returns what is wrong with the policy of c, and with the kubeconfig of
// its webhook, as [New] does. It writes nothing and connects to nothing.
func Check(c Config) (policy, webhook error) {
	if c.PolicyFile != "" {
		_, policy = readPolicy(c.PolicyFile)
	}
	if c.Webhook.ConfigFile != "" {
		_, webhook = c.Webhook.backend()
	}
	return policy, webhook
}

// open makes the backends of c.
func (t *Trail) open(c Config) error {
	var backends []audit.Backend
	if c.Log.Path != "" {
		out, closer, err := c.Log.open()
		if err != nil {
			return fmt.Errorf("--audit-log-path: %w; the directory must be writable", err)
		}
		t.closers = append(t.closers, closer)
		file := newLogFile(out)
		backends = append(backends, c.Log.backend(file))
		if c.direct() {
			t.lines, t.lenient = file, c.Log.Delivery.Mode == ModeBlocking
		}
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

// patience is for how long events are still delivered when the server stops.
// With the time that requests have to end it is less than a service manager
// waits before it kills.
const patience = 30 * time.Second

// Shutdown delivers the events that are still buffered and closes the backends.
// It blocks until that is done, for 30 s at most: a webhook that is down would be
// tried for longer, and what it does not have by then is lost, which the error
// says. It must be called once no request is served any more. Further calls do
// nothing. A trail that was never started can be shut down as well.
func (t *Trail) Shutdown() error {
	var err error
	t.stopOnce.Do(func() {
		close(t.stop)
		err = errors.Join(t.deliver(), t.close())
	})
	return err
}

func (t *Trail) deliver() error {
	if !t.started {
		return nil
	}
	done := make(chan struct{})
	go func() {
		t.backend.Shutdown()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("audit events could not be delivered within %v after the last request, and are lost: see what the audit webhook says", patience)
	}
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
