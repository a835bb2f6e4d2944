package door

import (
	"context"
	"net/http"
	"time"

	kubeaudit "k8s.io/apiserver/pkg/audit"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/live"
)

// stay has streams join those that are open, so that they end with what let them
// in. A request of any other sort passes.
func (d *door) stay(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		p := passageOf(ctx)
		if !longRunning(r, p.info) {
			next.ServeHTTP(w, r)
			return
		}
		conn := http.NewResponseController(w)
		stream := d.Live.Join(live.Stay{
			Who: callerOf(ctx), Result: p.result, Again: p.again,
			Cut: func() {
				p.cut()
				// A caller who takes nothing does not keep the stream open. An
				// error means that the connection is not net/http's any more.
				_ = conn.SetWriteDeadline(time.Now())
			},
		})
		defer d.leave(w, r, stream)
		d.endIfStale(stream)
		next.ServeHTTP(w, r.WithContext(live.With(ctx, stream)))
	})
}

// leave ends a stream, and records why if it was ended for a reason.
func (d *door) leave(w http.ResponseWriter, r *http.Request, stream *live.Request) {
	stream.Leave()
	why := stream.Ending()
	if why == nil {
		return
	}
	ctx, auditID, id := r.Context(), w.Header().Get(auditIDHeader), d.Journal.NewID()
	audit.Ended(ctx, why.String())
	kubeaudit.AddAuditAnnotation(ctx, audit.RequestIDAnnotation, id)
	d.Journal.Refused(id, auditID, r, int(why.Status().Code), func() []authn.Rung { return authn.Ladder(why.Err) })
	d.Log.InfoContext(ctx, "a stream was ended", "why", why.Kind, "err", why.Err, "user", callerOf(ctx).Name,
		"path", r.URL.Path, "auditID", auditID, "requestID", id)
}

// again returns what authenticates once more with the credential of r, which is
// about to be taken off it. What it keeps is gone when the stream is.
func (d *door) again(r *http.Request) func(context.Context) (*authn.Result, error) {
	kept := *r
	kept.Header = r.Header.Clone()
	kept.Body, kept.GetBody = http.NoBody, nil
	return func(ctx context.Context) (*authn.Result, error) {
		return d.Authenticator.Authenticate(kept.WithContext(inTime{ctx, r.Context()}))
	}
}

// inTime lasts as long as its context, and has the values of a request that may
// be over.
type inTime struct {
	context.Context
	values context.Context
}

// Value returns what the request has.
func (c inTime) Value(key any) any { return c.values.Value(key) }
