// Package outcall asks a service over HTTPS, as a kubeconfig describes it, and
// keeps what that costs within bounds: it is for webhooks, which somebody else
// runs, and which are slow or down when it suits nobody.
//
// The one idea: whoever waits for a service waits alone. At most [MaxCalls] are
// being made at the same time, shared out in turns among the peers that cause
// them; a service that has not answered for a while is not asked any more but by
// one call every few seconds, and all others fail at once. Exchanges are repeated
// where Kubernetes repeats them, and in no other case (k8s.io/apiserver
// pkg/util/webhook).
//
// It refuses services without TLS or whose certificate is not verified,
// redirects, answers of more than 1 MiB, and what in a kubeconfig would run a
// program. Nothing of an answer that is no success is ever told: it may repeat
// what was asked, and that may be a secret.
package outcall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// MaxCalls is how many exchanges with one service are under way at the same
	// time.
	MaxCalls = 256
	// Timeout is the longest time for one exchange, unless told otherwise.
	Timeout = 30 * time.Second
	// maxAnswer is the longest answer, in bytes, that is read.
	maxAnswer = 1 << 20
	// maxDelay is the longest that a service may ask us to wait before the next
	// try of the same call.
	maxDelay = 10 * time.Second
)

// A Config says how to make calls. Log must be set.
type Config struct {
	// Name is what the service is called in logs.
	Name string
	// Timeout is for one exchange; zero is [Timeout].
	Timeout time.Duration
	// Peer returns who is behind a call, so that all get their turn. Nil is one
	// peer for all.
	Peer func(context.Context) netip.Addr
	// Observe, which may be nil, is told of every exchange.
	Observe func(Exchange)
	Log     *slog.Logger
}

// An Exchange is one try of a call.
type Exchange struct {
	// Result is "success", "timeout", "error", or "canceled" if the server ended
	// it, as Kubernetes' metrics name them.
	Result string
	// Code is the status of the answer, or 0 without one.
	Code int
	Took time.Duration
}

// A Client makes calls. Use [New].
type Client struct {
	cfg    Config
	life   context.Context
	target atomic.Pointer[Target]
	gate   *Gate
	forget func() bool // ends the wait for the end of life
}

// New returns a client of target. Its calls end when life does. Who has no more
// use for it before calls [Client.Close].
func New(life context.Context, cfg Config, target *Target) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = Timeout
	}
	if cfg.Peer == nil {
		cfg.Peer = func(context.Context) netip.Addr { return netip.Addr{} }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Exchange) {}
	}
	c := &Client{cfg: cfg, life: life, gate: NewGate(MaxCalls)}
	c.target.Store(target)
	c.forget = context.AfterFunc(life, c.closeIdle)
	return c
}

// Use makes the calls to come to another target. Those under way go on.
func (c *Client) Use(target *Target) {
	old := c.target.Swap(target)
	c.gate.Reset() // it knows nothing about this one
	old.client.CloseIdleConnections()
}

// Close closes the connections that are not in use. Calls under way go on.
func (c *Client) Close() {
	c.forget()
	c.closeIdle()
}

func (c *Client) closeIdle() { c.target.Load().client.CloseIdleConnections() }

// A Status is how a client is doing.
type Status struct {
	// Calls is how many exchanges are under way, Waiting how many wait for their
	// turn.
	Calls, Waiting int
	// Down tells that the service is taken to be down.
	Down bool
}

// Status returns how it is doing.
func (c *Client) Status() Status { return c.gate.Status() }

// A StatusError is an answer that is no success.
type StatusError struct {
	Code int
	// After is how long to wait before the next try, if Again is set: then the
	// service has asked for one.
	After time.Duration
	Again bool
}

func (e *StatusError) Error() string {
	if e.Code >= 300 && e.Code < 400 {
		return fmt.Sprintf("it answered with a redirect (%d), and those are not followed", e.Code)
	}
	return fmt.Sprintf("it answered with status %d", e.Code)
}

// Post sends body and has the answer read, again if there is reason to hope for
// a better one. An error of read is final. A call that waits, for its turn or
// for the next try, ends with ctx; an exchange that has begun goes on to its end.
func (c *Client) Post(ctx context.Context, body []byte, read func(answer []byte) error) error {
	backoff := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}
	for {
		err := c.try(ctx, body, read)
		if err == nil || !again(err) || backoff.Steps == 1 {
			return err
		}
		pause := backoff.Step()
		if status, ok := errors.AsType[*StatusError](err); ok {
			pause = max(pause, min(status.After, maxDelay))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err // more telling than that somebody stopped waiting
		}
	}
}

// again reports whether a call is to be repeated, as upstream's
// DefaultShouldRetry does.
func again(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.Code {
		case http.StatusInternalServerError, http.StatusGatewayTimeout, http.StatusTooManyRequests:
			return true
		}
		return status.Again
	}
	return utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// try makes one exchange when it is its turn, unless the service is down.
func (c *Client) try(ctx context.Context, body []byte, read func([]byte) error) error {
	pass, err := c.gate.Enter(ctx, c.cfg.Peer(ctx))
	if err != nil {
		return err
	}
	defer pass.Leave()
	start := time.Now()
	code, answer, err := c.exchange(ctx, body)
	now := time.Now()
	if c.life.Err() == nil && pass.Ended(Answers(code)) {
		c.tell(Answers(code), err)
	}
	if err == nil {
		err = read(answer)
	}
	result := Result(err)
	if err != nil && c.life.Err() != nil {
		result = "canceled"
	}
	c.cfg.Observe(Exchange{Result: result, Code: code, Took: now.Sub(start)})
	return err
}

func (c *Client) tell(up bool, err error) {
	if up {
		c.cfg.Log.Info("a service answers again", "service", c.cfg.Name)
		return
	}
	c.cfg.Log.Error("a service does not answer; calls of it fail at once until it does", "service", c.cfg.Name, "err", err)
}

// Result is how a call went that ended with err, in the words of upstream's
// metrics: "success", "timeout" or "error".
func Result(err error) string {
	timeout, ok := errors.AsType[net.Error](err)
	status, answered := errors.AsType[*StatusError](err)
	switch {
	case err == nil:
		return "success"
	case ok && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), answered && status.Code == http.StatusGatewayTimeout:
		return "timeout"
	}
	return "error"
}

// exchange sends body and returns the status and the answer. The code is 0 if
// there was no whole answer.
func (c *Client) exchange(ctx context.Context, body []byte) (code int, answer []byte, err error) {
	end := time.Now().Add(c.cfg.Timeout)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(end) {
		end = sooner
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	t := c.target.Load()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, */*")
	req.Header.Set("User-Agent", "gatehouse")
	// To ask twice does no harm, so net/http may do it where a connection was
	// closed under its hands. Without a value nothing is sent.
	req.Header["Idempotency-Key"] = nil
	t.authorize(req.Header)
	res, err := t.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("reading its answer: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > http.StatusPartialContent {
		return res.StatusCode, nil, statusError(res)
	}
	if len(answer) > maxAnswer {
		return res.StatusCode, nil, errors.New("its answer is longer than 1 MiB")
	}
	return res.StatusCode, answer, nil
}

func statusError(res *http.Response) error {
	e := &StatusError{Code: res.StatusCode}
	if seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31); err == nil {
		e.Again, e.After = true, time.Duration(seconds)*time.Second
	}
	return e
}
