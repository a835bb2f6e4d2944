package door

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/explain"
)

// impersonate lets the caller act as somebody else if the request asks for that
// and he may, and answers 400 or 403 otherwise. Behind it the caller is whom he
// acts as, and nothing in the headers tells that he is not.
func (d *door) impersonate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := impersonation.Read(r.Header)
		if err != nil {
			d.refuseToRead(w, r, err)
			return
		}
		if want == nil {
			next.ServeHTTP(w, r)
			return
		}
		impersonation.Remove(r.Header)
		ctx := r.Context()
		info, _ := genericapirequest.RequestInfoFrom(ctx)
		a := attributesOf(info)
		if a.User = callerOf(ctx); a.User == nil {
			d.fail(w, r, apierrors.NewInternalError(errors.New("no User found in the context")))
			return
		}
		grant, err := d.Impersonation.Decide(ctx, &a, want)
		if err != nil {
			d.refuseToAct(w, r, a.User.Name, want.Name, err)
			return
		}
		d.Log.DebugContext(ctx, "impersonation", "user", a.User.Name, "as", want.Name, "constraint", grant.Constraint)
		audit.Impersonated(ctx, grant.Identity, grant.Constraint)
		if err := d.Revocations.Judge(grant.Identity); err != nil {
			d.refuseRevoked(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(genericapirequest.WithUser(ctx, grant.Identity)))
	})
}

// refuseToRead answers 400 to headers that do not say whom the caller acts as.
func (d *door) refuseToRead(w http.ResponseWriter, r *http.Request, err error) {
	id := d.newRequestID(w, r)
	d.Journal.Misread(id, AuditIDOf(w), r, callerOf(r.Context()), func() []authn.Rung { return authn.Ladder(err) })
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	d.fail(w, r, apierrors.NewBadRequest(err.Error()))
}

// refuseRevoked answers 401 to whoever acts as somebody who is revoked. As with
// every 401, the reason is for the operator alone.
func (d *door) refuseRevoked(w http.ResponseWriter, r *http.Request, err error) {
	id := d.noteRefusal(w, r, http.StatusUnauthorized, err)
	kubeaudit.AddAuditAnnotation(r.Context(), audit.RequestIDAnnotation, id)
	audit.Failed(r.Context(), err)
	if method, kind := authn.Blame(err); kind != "" {
		d.Metrics.Attempted(method, kind)
	}
	d.Log.InfoContext(r.Context(), "impersonation of a revoked caller refused", "err", err,
		"path", r.URL.Path, "auditID", w.Header().Get(auditIDHeader), "requestID", id)
	w.Header()["Www-Authenticate"] = d.challenges
	d.fail(w, r, apierrors.NewUnauthorized("Unauthorized"))
}

// refuseToAct answers 403 with what the caller may not do. That an authorizer
// failed is for the log.
func (d *door) refuseToAct(w http.ResponseWriter, r *http.Request, caller, as string, err error) {
	refusal, ok := errors.AsType[*impersonation.Refusal](err)
	if !ok {
		d.fail(w, r, apierrors.NewInternalError(fmt.Errorf("deciding about impersonation: %w", err)))
		return
	}
	if refusal.Cause != nil {
		d.Log.ErrorContext(r.Context(), "authorization of impersonation failed", "err", refusal.Cause, "user", caller, "as", as)
	}
	d.noteDenial(w, r, explain.Lacking(refusal)...)
	d.fail(w, r, forbidden(&refusal.Asked, refusal.Reason))
}
