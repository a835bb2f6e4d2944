package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
)

// slowRequest is how long a request has to last for its event to say so; it is
// upstream's threshold.
const slowRequest = 500 * time.Millisecond

// A Recorder records the requests that pass through it on its trail. All fields
// must be set.
type Recorder struct {
	Trail *Trail
	// LongRunning tells requests whose answer is a stream. They have an event
	// of stage ResponseStarted besides that of ResponseComplete.
	LongRunning func(*http.Request, *request.RequestInfo) bool
	// Annotations returns those of the authn.Result that the request of a
	// context was admitted with.
	Annotations func(context.Context) []authn.Annotation
	Log         *slog.Logger
}

// Record returns next with its requests recorded. It stands behind [WithID],
// the request info and authentication, and in front of impersonation and
// authorization: the policy is asked about the real user.
//
// If the backend insists (mode blocking-strict) and cannot take the first
// event, the request is answered with 500 and does not reach next.
func (rec *Recorder) Record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, record, err := rec.begin(w, r)
		if err != nil {
			rec.fail(w, r, "failed to create audit event", err)
			return
		}
		if record == nil {
			next.ServeHTTP(w, r)
			return
		}
		ctx := r.Context()
		caller, _ := request.UserFrom(ctx)
		record.annotateCredential(ctx, caller, rec.Annotations(ctx))
		if !record.handlers.ProcessEventStage(ctx, auditinternal.StageRequestReceived) {
			audit.ApiserverAuditDroppedCounter.WithContext(ctx).Inc()
			rec.fail(w, r, "failed to store audit event", errors.New("backend refused it"))
			return
		}
		streams := rec.LongRunning(r, record.info)
		defer finish(ctx, record, streams)
		next.ServeHTTP(record.watchStatus(ctx, w, streams), r)
	})
}

// Refuse answers r, whose credential was refused because of err, with answer,
// and records that as one event: stage ResponseStarted, the text of err in an
// annotation beside those of its refusals, and no user unless it is known whose
// credential it was that is refused. Like upstream's
// (filters.WithFailedAuthenticationAudit) it says what kinds of credential the
// caller tried, unless the answer has a Status to say.
func (rec *Recorder) Refuse(w http.ResponseWriter, r *http.Request, err error, answer http.Handler) {
	r, record, failed := rec.begin(w, r)
	if failed != nil {
		rec.fail(w, r, "failed to create audit event", failed)
		return
	}
	if record == nil {
		answer.ServeHTTP(w, r)
		return
	}
	ctx := r.Context()
	record.last = auditinternal.StageResponseStarted
	if caller, ok := request.UserFrom(ctx); ok {
		record.annotateCredential(ctx, caller, rec.Annotations(ctx))
	}
	for _, a := range authn.AnnotationsOf(err) {
		record.annotate(ctx, a.Key, a.Value)
	}
	if err != nil {
		record.annotate(ctx, FailureAnnotation, printable(err.Error()))
	}
	record.handlers.SetEventResponseStatus(&metav1.Status{Message: attempted(r)})
	answer.ServeHTTP(record.watchStatus(ctx, w, true), r)
}

// begin asks the policy about r. It returns r with its record, and that record,
// or nil if r is not recorded.
func (rec *Recorder) begin(w http.ResponseWriter, r *http.Request) (*http.Request, *Record, error) {
	ctx := r.Context()
	info, ok := request.RequestInfoFrom(ctx)
	if !ok {
		return r, nil, errors.New("no RequestInfo found in the context")
	}
	caller, _ := request.UserFrom(ctx)
	facts := &attributes{info: info, caller: caller}
	rule := rec.Trail.rule(facts)
	if rule.Level == auditinternal.LevelNone {
		return attach(r, rec.Trail.closed), nil, nil
	}
	audit.ObservePolicyLevel(ctx, rule.Level)
	return rec.Trail.newRecord(w, r, facts, rule)
}

// rule returns what the policy says about a request.
func (t *Trail) rule(facts *attributes) audit.RequestAuditConfig {
	if t.backend == nil {
		return audit.RequestAuditConfig{Level: auditinternal.LevelNone}
	}
	return t.policy.EvaluatePolicyRule(facts)
}

// fail answers with upstream's text, which does not tell the cause.
func (rec *Recorder) fail(w http.ResponseWriter, r *http.Request, text string, cause error) {
	rec.Log.ErrorContext(r.Context(), text, "err", cause)
	message := fmt.Sprintf("Internal Server Error: %q: %s", r.URL.Path, text)
	http.Error(w, message, http.StatusInternalServerError)
}

// finish writes the last event of a request, when its handler has returned or
// panicked. It must be deferred itself, and lets a panic go on.
func finish(ctx context.Context, record *Record, streams bool) {
	if p := recover(); p != nil {
		record.handlers.SetEventResponseStatus(&metav1.Status{
			Code:    http.StatusInternalServerError,
			Status:  metav1.StatusFailure,
			Reason:  metav1.StatusReasonInternalError,
			Message: printable(fmt.Sprintf("APIServer panic'd: %v", p)),
		})
		record.handlers.ProcessEventStage(ctx, auditinternal.StagePanic)
		panic(p)
	}
	if !record.hasAnswer() {
		record.handlers.SetEventResponseStatus(&metav1.Status{
			Code:    http.StatusOK,
			Status:  metav1.StatusSuccess,
			Message: "Connection closed early",
		})
		if streams {
			record.handlers.ProcessEventStage(ctx, auditinternal.StageResponseStarted)
		}
	}
	if d := time.Since(record.received); d > slowRequest {
		audit.AddAuditAnnotation(ctx, totalLatencyAnnotation, d.String())
	}
	record.handlers.ProcessEventStage(ctx, auditinternal.StageResponseComplete)
}
