package door

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/fieldname"
)

const secondsOfHour = 60 * 60

// annotations are those of the credential that a request was let in with.
func annotations(ctx context.Context) []authn.Annotation {
	if p := passageOf(ctx); p != nil && p.result != nil {
		return p.result.Annotations
	}
	return nil
}

// callerOf returns who sent the request, or nil before that is known.
func callerOf(ctx context.Context) *identity.Identity {
	info, _ := genericapirequest.UserFrom(ctx)
	caller, _ := info.(*identity.Identity)
	return caller
}

// authenticate finds out who sent the request, or answers 401, or 503 if nobody
// got to look at the credential. Behind it the
// request carries no credential any more, and no header that claims to say who
// somebody is, by whatever method the caller was identified.
func (d *door) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			d.Metrics.Presented(r.TLS.PeerCertificates[0].NotAfter.Sub(start))
		}
		res, err := d.identify(r)
		if err != nil {
			// Who came before and had to wait for the store is told why.
			if stale := d.Stale(time.Now()); stale != nil && !isHealth(passageOf(r.Context()).info) {
				d.refuseStale(w, r, stale)
				return
			}
			d.Metrics.Authenticated(failure(err), time.Since(start))
			if method, kind := authn.Blame(err); kind != "" {
				d.Metrics.Attempted(method, kind)
			}
			d.Hold(r)
			if authn.IsThrottled(err) {
				d.refuseThrottled(w, r, err)
				return
			}
			d.refuse(w, r, err)
			return
		}
		d.Metrics.Authenticated("success", time.Since(start))
		if res.Identity != nil {
			d.Metrics.Attempted(res.Identity.Credential.Method, "")
			d.Metrics.Identified(res.Identity.Name)
			if hour := uint32(start.Unix() / secondsOfHour); res.FirstUse(hour) {
				d.Used(&res.Identity.Credential, hour)
			}
		}
		ctx := r.Context()
		for _, text := range res.Warnings {
			warning.AddWarning(ctx, "", text)
		}
		p := passageOf(ctx)
		if longRunning(r, p.info) {
			p.again = d.again(r)
		}
		if isAnonymous(res.Identity) && d.claimed(r.Header) {
			// Whoever sent them thinks that he is somebody.
			_, p.unheeded, _ = authn.Trace(d.Authenticator, r)
		}
		d.strip(r.Header)
		if r.ProtoMajor == 2 && isAnonymous(res.Identity) {
			// A stranger gets one connection per request, so that resetting
			// streams costs him as much as us (CVE-2023-44487).
			w.Header().Set("Connection", "close")
		}
		p.result = res
		next.ServeHTTP(w, r)
	})
}

// identify returns who sent the request, unless that was taken back. Who it was
// is known to the passage then all the same, and so to the audit event.
func (d *door) identify(r *http.Request) (*authn.Result, error) {
	res, err := d.Authenticator.Authenticate(r)
	if err != nil {
		return nil, err
	}
	if err := d.Revocations.JudgeResult(res); err != nil {
		passageOf(r.Context()).result = res
		return nil, err
	}
	return res, nil
}

// refuse answers 401, in Kubernetes' words and no more.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	d.turnAway(w, r, http.StatusUnauthorized, err, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header()["Www-Authenticate"] = d.challenges
		d.fail(w, r, apierrors.NewUnauthorized("Unauthorized"))
	})
}

// refuseThrottled answers 503: a client that was told 401 would have its user log
// in again, and one that sends the same again, as clients do, may be let in.
func (d *door) refuseThrottled(w http.ResponseWriter, r *http.Request, err error) {
	d.turnAway(w, r, http.StatusServiceUnavailable, err, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		d.fail(w, r, apierrors.NewServiceUnavailable("too many credentials wait to be verified; try again"))
	})
}

// turnAway answers one whose credential does not count. What was wrong goes to
// the log, the audit event and the journal, which share the IDs that the answer
// has.
func (d *door) turnAway(w http.ResponseWriter, r *http.Request, status int, err error, answer http.HandlerFunc) {
	id := d.noteRefusal(w, r, status, err)
	d.Log.InfoContext(r.Context(), "authentication failed", "err", err,
		"method", r.Method, "path", r.URL.Path, "peer", r.RemoteAddr, "auditID", w.Header().Get(auditIDHeader), "requestID", id)
	d.recorder.Refuse(w, r, err, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kubeaudit.AddAuditAnnotation(r.Context(), audit.RequestIDAnnotation, id)
		answer(w, r)
	}))
}

// failure tells the requests without any credential from those with a bad one,
// as upstream's metrics do.
func failure(err error) string {
	if err == authn.ErrNoCredential {
		return "failure"
	}
	return "error"
}

func isAnonymous(who *identity.Identity) bool {
	return who.Name == identity.Anonymous || who.InGroup(identity.GroupUnauthenticated)
}

// claimed reports whether h has headers of an authenticating proxy.
func (d *door) claimed(h http.Header) bool {
	for name := range h {
		if d.ProxyHeaders.Claims(name) {
			return true
		}
	}
	return false
}

// strip removes the credential, and the headers of an authenticating proxy in
// every spelling that some server behind us might take for them. Nor may the
// caller have a server behind us drop such headers when we set them.
func (d *door) strip(h http.Header) {
	authn.RemoveTokens(h)
	fieldname.Remove(h, d.ProxyHeaders.Claims)
	fieldname.Unlist(h, func(name string) bool {
		return d.ProxyHeaders.Claims(name) || impersonation.Claims(name) || fieldname.Equal(name, "Authorization")
	})
}
