// Package door is the front door: the way of one request from the wire to
// whoever answers it, and the only place that authenticates, authorizes, strips
// headers and has requests recorded.
//
// [New] is the whole way as one list, from the inside out. A request that
// cannot be understood, identified or decided about goes no further: the door
// fails closed, and tells its caller no more than Kubernetes does. What it
// knows of the reason goes to the log and the audit event.
package door

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/live"
)

// Config is what the door is made of. All fields but ProxyHeaders and Challenges
// must be set.
type Config struct {
	Authenticator authn.Authenticator
	Authorizer    authz.Authorizer
	// Revocations refuse who was let in by a credential that was taken back since.
	Revocations   Revocations
	Impersonation *impersonation.Checker
	// ProxyHeaders are those in which an authenticating proxy is believed. Nobody
	// behind the door sees them, nor the usual ones where there are none here.
	ProxyHeaders frontproxy.Headers
	// Challenges are what a 401 offers besides bearer tokens, each as a value of
	// WWW-Authenticate (RFC 9110 section 11.6.1).
	Challenges []string
	Audit      *audit.Trail
	// Handler answers the requests that were let in.
	Handler http.Handler
	// Codecs encode the door's own answers.
	Codecs runtime.NegotiatedSerializer
	// MaxReading and MaxMutating bound the requests in flight that read and
	// that write, as --max-requests-inflight and
	// --max-mutating-requests-inflight do; 0 is no bound.
	MaxReading, MaxMutating int
	// Hold is called for each request whose credential was refused, before its
	// caller is told. It may take its time.
	Hold func(*http.Request)
	// Used is called when a credential is used for the first time in an hour, which
	// is counted from 1970.
	Used func(c *identity.Credential, hour uint32)
	// Journal keeps why requests were refused.
	Journal Journal
	// RequestTimeout ends requests that are not streams.
	RequestTimeout time.Duration
	// Live knows the streams that are open, and ends those whose credential does
	// not count any more.
	Live *live.Registry
	// Stale returns why nobody may be let in at a moment: this process does not
	// know who has been revoked. It is called on every request, and returns nil
	// but for that.
	Stale func(time.Time) error
	// Draining is done when the server stops; streams end then.
	Draining context.Context
	Metrics  Metrics
	Log      *slog.Logger
}

// Revocations know what was taken back. Both methods return nil, or an error for
// the operator that says what was.
type Revocations interface {
	// JudgeResult is called on every request, and must be cheap.
	JudgeResult(*authn.Result) error
	// Judge is called with whom a caller acts as, behind whom he is himself.
	Judge(*identity.Identity) error
}

// Metrics count what the door decides. The methods are called on every request
// and must be cheap.
type Metrics interface {
	// Authenticated is called with the outcome of authentication, "success",
	// "failure" or "error", and how long it took.
	Authenticated(outcome string, took time.Duration)
	// Attempted is called with the method that identified the caller and no kind
	// of reason, or with the one that refused the credential and the kind of
	// reason.
	Attempted(method identity.Method, refused authn.Kind)
	// Presented is called for each client certificate that a request has, trusted
	// or not, with how much longer it lasts.
	Presented(lasts time.Duration)
	// Identified is called with the name of each caller who is known.
	Identified(name string)
	// Authorized is called with "allowed", "denied", "no-opinion" or "error".
	Authorized(outcome string, took time.Duration)
	// Shed is called for each request refused for overload.
	Shed(mutating bool)
	// RefusedStale is called for each request refused because the process may not
	// know who has been revoked.
	RefusedStale()
}

// A Door lets requests in, or not.
type door struct {
	Config
	recorder *audit.Recorder
	// challenges are all that a 401 offers.
	challenges []string
	keys       *keys
	infos      *infos
	reading    limit
	mutating   limit
}

// New returns the handler that every request of the server enters by.
func New(cfg Config) http.Handler {
	d := &door{
		Config: cfg, challenges: slices.Concat([]string{"Bearer"}, cfg.Challenges), keys: learnKeys(), infos: newInfos(),
		reading: newLimit(cfg.MaxReading), mutating: newLimit(cfg.MaxMutating),
	}
	d.recorder = &audit.Recorder{Trail: cfg.Audit, LongRunning: longRunning, Annotations: annotations, Log: cfg.Log}

	// From the inside out: a request passes the last of these first.
	h := cfg.Handler
	h = d.stay(h)
	h = d.authorize(h)
	h = d.limitInFlight(h)
	h = d.impersonate(h)
	h = d.recorder.Record(h)
	h = d.authenticate(h)
	h = d.requireFresh(h)
	h = d.limitTime(h)
	h = genericapifilters.WithCacheControl(h)
	h = d.receive(h)
	h = endAfterChunks(h)
	h = d.recoverPanic(h)
	h = audit.WithID(h)
	return h
}

// longRunning tells the requests whose answer is a stream.
func longRunning(_ *http.Request, info *genericapirequest.RequestInfo) bool {
	return info.IsResourceRequest && info.Verb == "watch"
}
