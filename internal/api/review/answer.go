package review

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
)

// write answers with o, encoded as out says. It returns an error only if it has
// written nothing.
func write(w http.ResponseWriter, out runtime.SerializerInfo, code int, o runtime.Object) error {
	late := &lateWriter{w: w, code: code, mediaType: out.MediaType}
	if err := out.Serializer.Encode(o, late); err != nil && !late.begun {
		return apierrors.NewInternalError(err)
	}
	return nil
}

// A lateWriter writes the header with the first byte of the body, because until
// then encoding may still fail.
type lateWriter struct {
	w         http.ResponseWriter
	code      int
	mediaType string
	begun     bool
}

func (l *lateWriter) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", l.mediaType)
		l.w.WriteHeader(l.code)
	}
	return l.w.Write(p)
}

// fail answers with the status of err, in the encoding the caller wants, or in
// JSON if there is no such encoding.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, k *kind, err error) {
	status := statusOf(err)
	h.logResponse(r.Context(), k, status)
	out, negotiationErr := h.wire.output(r)
	if negotiationErr == nil && write(w, out, int(status.Code), status) == nil {
		return
	}
	body, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	w.WriteHeader(int(status.Code))
	w.Write(body) // fails only if the caller is gone
}

func statusOf(err error) *metav1.Status {
	// Not only apierrors has such errors: negotiation has its own.
	var told interface{ Status() metav1.Status }
	if !errors.As(err, &told) {
		told = apierrors.NewInternalError(err)
	}
	status := told.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return &status
}

// logRequest writes review into the audit event, as the policy wants. The
// library encodes it whatever the level; below Request only its metadata
// counts, and nearly no review has any.
func (h *Handler) logRequest(ctx context.Context, k *kind, review object) {
	ac := audit.AuditContextFrom(ctx)
	if !ac.Enabled() {
		return
	}
	named := review.GetName() != "" || review.GetNamespace() != "" || review.GetUID() != "" || review.GetResourceVersion() != ""
	if named || ac.GetEventLevel().GreaterOrEqual(auditinternal.LevelRequest) {
		audit.LogRequestObject(ctx, review, k.gvk.GroupVersion(), k.gvr, "", h.wire.codecs)
	}
}

// logResponse writes o, a review or a status, into the audit event.
func (h *Handler) logResponse(ctx context.Context, k *kind, o runtime.Object) {
	// Without this the library makes an audit context only to drop it.
	if audit.AuditContextFrom(ctx).Enabled() {
		audit.LogResponseObject(ctx, o, k.gvk.GroupVersion(), h.wire.codecs)
	}
}
