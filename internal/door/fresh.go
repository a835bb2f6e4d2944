package door

import (
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kubeaudit "k8s.io/apiserver/pkg/audit"

	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/live"
)

// requireFresh answers 503 while this process does not know who has been revoked,
// and what they may do. Only how it is may be asked.
func (d *door) requireFresh(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := passageOf(r.Context())
		err := d.Stale(p.received)
		if err == nil || isHealth(p.info) {
			next.ServeHTTP(w, r)
			return
		}
		d.refuseStale(w, r, err)
	})
}

func (d *door) refuseStale(w http.ResponseWriter, r *http.Request, err error) {
	d.Metrics.RefusedStale()
	// That it is so was logged when it began.
	id := d.noteRefusal(w, r, http.StatusServiceUnavailable, err)
	d.recorder.Refuse(w, r, err, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kubeaudit.AddAuditAnnotation(r.Context(), audit.RequestIDAnnotation, id)
		w.Header().Set("Retry-After", "1")
		d.fail(w, r, apierrors.NewServiceUnavailable("this server cannot reach its store and does not know what has been revoked; try again, or ask another one"))
	}))
}

// endIfStale ends a stream that began when all others were about to be ended.
func (d *door) endIfStale(stream *live.Request) {
	if err := d.Stale(time.Now()); err != nil {
		stream.End(live.Ending{Kind: live.Stale, Err: err})
	}
}
