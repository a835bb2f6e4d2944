package door

import (
	"context"
	"net/http"
	"sync"
	"time"

	kubeaudit "k8s.io/apiserver/pkg/audit"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/audit"
)

// A passage is one request on its way through the door: its context, with all
// that the filters find out. Upstream's filters each put their finding into a
// context and a copy of the request of their own, which costs more than most of
// what they find out. A passage is made once and filled in, each field by one
// filter before it calls the next, and only read from then on.
type passage struct {
	context.Context
	keys     *keys
	received time.Time
	info     *genericapirequest.RequestInfo
	warnings warnings
	// result is nil until the caller is known, and record until it is known
	// whether the request is recorded.
	result *authn.Result
	record *audit.Record
	// unheeded is what the authenticators said of a stranger with headers of a
	// proxy.
	unheeded []authn.Rung
	// again and cut are there for streams alone: how to ask about the credential
	// again, and how to end the stream.
	again func(context.Context) (*authn.Result, error)
	cut   context.CancelFunc
}

// keys are what the library looks its values up by in a context.
type keys struct{ received, info, user, warnings, audit any }

type passageKey struct{}

// Value gives the library's handlers what they look for, in place of the
// contexts that the library's filters make.
func (p *passage) Value(key any) any {
	switch key {
	case passageKey{}:
		return p
	case p.keys.info:
		return p.info
	case p.keys.user:
		if p.result != nil {
			return p.result.Identity
		}
	case p.keys.audit:
		if p.record != nil {
			return p.record.AuditContext()
		}
	case audit.RecordKey{}:
		if p.record != nil {
			return p.record
		}
	case p.keys.warnings:
		return &p.warnings
	case p.keys.received:
		return p.received
	}
	return p.Context.Value(key)
}

// CarryRecord makes rec the record of the request.
func (p *passage) CarryRecord(rec *audit.Record) { p.record = rec }

// passageOf returns the passage of a request that has come as far as receive.
func passageOf(ctx context.Context) *passage {
	p, _ := ctx.Value(passageKey{}).(*passage)
	return p
}

// learnKeys asks the library for each of its values, and notes what it looks
// for. The keys are of types that the library keeps to itself.
func learnKeys() *keys {
	look := func(get func(context.Context)) any {
		ctx := &listener{Context: context.Background()}
		get(ctx)
		return ctx.heard
	}
	return &keys{
		received: look(func(ctx context.Context) { genericapirequest.ReceivedTimestampFrom(ctx) }),
		info:     look(func(ctx context.Context) { genericapirequest.RequestInfoFrom(ctx) }),
		user:     look(func(ctx context.Context) { genericapirequest.UserFrom(ctx) }),
		warnings: look(func(ctx context.Context) { warning.AddWarning(ctx, "", "") }),
		audit:    look(func(ctx context.Context) { kubeaudit.AuditContextFrom(ctx) }),
	}
}

// A listener is a context that notes what it is asked for.
type listener struct {
	context.Context
	heard any
}

func (l *listener) Value(key any) any {
	l.heard = key
	return nil
}

// receive begins the passage of a request: when it came, and what it asks for.
func (d *door) receive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &passage{Context: r.Context(), keys: d.keys, received: time.Now()}
		p.warnings.w = w
		var err error
		if p.info, err = d.infos.of(r); err != nil {
			responsewriters.InternalError(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(p))
	})
}

// warnings writes warnings into the header of an answer. Nearly no request has
// any, so the library's recorder is made when the first one comes.
type warnings struct {
	w    http.ResponseWriter
	once sync.Once
	ctx  context.Context // holds the library's recorder
}

// AddWarning is called by the library's warning.AddWarning.
func (s *warnings) AddWarning(agent, text string) {
	s.once.Do(func() {
		keep := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.ctx = r.Context() })
		genericapifilters.WithWarningRecorder(keep).ServeHTTP(s.w, new(http.Request))
	})
	warning.AddWarning(s.ctx, agent, text)
}
