package audit

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
)

// A Record is what the events of one request are made of.
//
// What handlers add is in the library's audit context, where they look for it.
// If the events go to nothing but a file, as lines of JSON, and without objects,
// then all else is here, and no event is ever built: [Record.ProcessEvents]
// writes the line from both. Else all is in the library's event.
type Record struct {
	trail *Trail
	level auditinternal.Level
	// handlers is the library's context. Its lock is held in ProcessEvents.
	handlers audit.AuditContext
	received time.Time
	writer   statusWriter

	// direct says that no event is built. The fields below matter only then,
	// and are only read once the handler behind has been called, but for
	// encoded.
	direct bool
	info   *request.RequestInfo
	// said are the annotations of the door itself.
	said  []authn.Annotation
	space [6]authn.Annotation
	// encoded is what the lines of all stages share, until that of stage last
	// is written.
	encoded *encoded
	last    auditinternal.Stage
	// code is that of the answer if it came before any status.
	code atomic.Int32
}

// newRecord returns r with a record under the given rule, and the record.
func (t *Trail) newRecord(w http.ResponseWriter, r *http.Request, facts *attributes, rule audit.RequestAuditConfig) (*http.Request, *Record, error) {
	rec := &Record{trail: t, level: rule.Level, info: facts.info, last: auditinternal.StageResponseComplete}
	rec.direct = t.lines != nil && rule.Level == auditinternal.LevelMetadata
	var sink audit.Sink = t.backend
	if rec.direct {
		sink = rec
	}
	if err := rec.handlers.Init(rule, sink); err != nil {
		return r, nil, err
	}
	r = attach(r, rec)
	ctx := r.Context()
	audit.WithAuditID(ctx, types.UID(w.Header().Get(headerID)))
	var ok bool
	if rec.received, ok = request.ReceivedTimestampFrom(ctx); !ok {
		rec.received = time.Now()
	}
	if rec.direct {
		rec.said = rec.space[:0]
		rec.encoded = t.lines.encode(r, facts, rec.received)
	} else {
		audit.LogRequestMetadata(ctx, r, rec.received, facts)
	}
	return r, rec, nil
}

// annotate adds an annotation of the door itself. If there is one with its key,
// that one stays, as in the library.
func (rec *Record) annotate(ctx context.Context, key, value string) {
	if rec.direct {
		rec.said = append(rec.said, authn.Annotation{Key: key, Value: value})
	} else {
		audit.AddAuditAnnotation(ctx, key, value)
	}
}

// answered notes the status code of the answer.
func (rec *Record) answered(code int) {
	if rec.direct && rec.handlers.GetEventResponseStatus() == nil {
		rec.code.Store(int32(code))
	} else {
		rec.handlers.SetEventResponseStatusCode(int32(code))
	}
}

// hasAnswer reports whether anything is known about the answer.
func (rec *Record) hasAnswer() bool {
	return rec.code.Load() != 0 || rec.handlers.GetEventResponseStatus() != nil
}

// AuditContext returns what the library's handlers add to.
func (rec *Record) AuditContext() *audit.AuditContext { return &rec.handlers }

// RecordKey is what a context is asked for to get its [Record].
type RecordKey struct{}

// recordOf returns the record of a request, or nil if it is not recorded.
func recordOf(ctx context.Context) *Record {
	rec, _ := ctx.Value(RecordKey{}).(*Record)
	if rec == nil || rec.level == auditinternal.LevelNone {
		return nil
	}
	return rec
}

// A Carrier is the context of a request that takes the request's record, and
// gives it to whoever asks for a [RecordKey] from then on, and its audit context
// to whoever asks the library for one. A request with any other context is
// copied instead.
type Carrier interface {
	context.Context
	CarryRecord(*Record)
}

// attach returns r with rec in its context.
func attach(r *http.Request, rec *Record) *http.Request {
	ctx := r.Context()
	if c, ok := ctx.(Carrier); ok {
		c.CarryRecord(rec)
		return r
	}
	return r.WithContext(attached{ctx, rec})
}

// attached is the context of a request with a record.
type attached struct {
	context.Context
	rec *Record
}

func (a attached) Value(key any) any {
	switch key {
	case RecordKey{}:
		return a.rec
	case a.rec.trail.key:
		return &a.rec.handlers
	}
	return a.Context.Value(key)
}

// learnKey returns what the library asks a context for to get the audit context.
// Its type is the library's own.
func learnKey() any {
	l := &listener{Context: context.Background()}
	audit.AuditContextFrom(l)
	return l.heard
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
