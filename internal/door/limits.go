package door

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/identity"
)

// A limit bounds how many requests are in flight at once.
type limit struct {
	max int64
	now *atomic.Int64
}

func newLimit(max int) limit { return limit{int64(max), new(atomic.Int64)} }

// enter reports whether there is a place; if so the caller must leave.
func (l limit) enter() bool {
	if l.max == 0 {
		return true
	}
	if l.now.Add(1) > l.max {
		l.now.Add(-1)
		return false
	}
	return true
}

func (l limit) leave() {
	if l.max != 0 {
		l.now.Add(-1)
	}
}

// limitInFlight answers 429 when too many requests are being served. Streams do
// not count, nor do health checks, whose failing would make an overload worse,
// nor does the group that must be able to mend it (k8s.io/apiserver
// pkg/server/filters/maxinflight.go).
func (d *door) limitInFlight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, _ := genericapirequest.RequestInfoFrom(r.Context())
		caller := callerOf(r.Context())
		if longRunning(r, info) || isHealth(info) || caller != nil && caller.InGroup(identity.GroupMasters) {
			next.ServeHTTP(w, r)
			return
		}
		limit, mutating := d.mutating, true
		switch info.Verb {
		case "get", "list", "watch", "head", "options":
			limit, mutating = d.reading, false
		}
		if !limit.enter() {
			d.Metrics.Shed(mutating)
			w.Header().Set("Retry-After", "1")
			d.fail(w, r, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1))
			return
		}
		defer limit.leave()
		next.ServeHTTP(w, r)
	})
}

// isHealth tells the paths that say whether the server lives.
func isHealth(info *genericapirequest.RequestInfo) bool {
	switch info.Path {
	case "/livez", "/readyz", "/healthz":
		return true
	}
	return false
}

// lastWords is how long an answer may still be on its way when the time of its
// request is over.
const lastWords = 5 * time.Second

// limitTime ends what takes too long: a request after the request timeout, or
// the shorter one that it asks for, with its body read and its answer taken by
// then; and a stream when the server drains.
func (d *door) limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := passageOf(r.Context())
		conn := http.NewResponseController(w)
		if longRunning(r, p.info) {
			ctx, cancel := context.WithCancel(p.Context)
			defer cancel()
			defer context.AfterFunc(d.Draining, cancel)()
			// The request before it on the connection has left its own.
			_ = conn.SetWriteDeadline(time.Time{})
			p.Context, p.cut = ctx, cancel
			next.ServeHTTP(w, r)
			return
		}
		timeout, err := d.timeout(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		deadline := time.Now().Add(timeout)
		ctx, cancel := context.WithDeadline(p.Context, deadline)
		defer cancel()
		// A caller that sends its body, or takes its answer, a byte a minute is
		// cut off. An error means that the connection cannot do it, as in tests.
		if r.ContentLength != 0 {
			_ = conn.SetReadDeadline(deadline)
		}
		_ = conn.SetWriteDeadline(deadline.Add(lastWords))
		p.Context = ctx
		next.ServeHTTP(w, r)
	})
}

// timeout returns how long a request may take: the request timeout, unless the
// parameter timeout asks for less (k8s.io/apiserver
// pkg/endpoints/filters/request_deadline.go).
func (d *door) timeout(r *http.Request) (time.Duration, error) {
	if r.URL.RawQuery == "" {
		return d.RequestTimeout, nil
	}
	value := r.URL.Query().Get("timeout")
	if value == "" {
		return d.RequestTimeout, nil
	}
	asked, err := time.ParseDuration(value)
	if err != nil {
		return 0, apierrors.NewBadRequest("invalid timeout specified in the request URL - " + err.Error())
	}
	if asked <= 0 {
		return d.RequestTimeout, nil
	}
	return min(asked, d.RequestTimeout), nil
}

// endAfterChunks makes a request of HTTP/1.1 whose length is not told beforehand
// the last of its connection. net/http takes one that tells a length as well,
// and does not say so; a proxy that goes by the length would see the next
// request begin somewhere else, which is how requests are smuggled. The
// connection has to end then (RFC 9112 section 6.1), and for those that are in
// order it costs next to nothing: they are rare.
func endAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// recoverPanic answers 500 when a handler panics, and keeps the process.
func (d *door) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				// The way a handler says that an answer it has begun cannot be
				// ended; the connection has to be cut.
				panic(p)
			default:
				d.Log.ErrorContext(r.Context(), "request handler panicked",
					"method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				http.Error(w, "This request caused apiserver to panic. Look in the logs for details.", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// fail answers with the Status of err, in the encoding that the caller asked for.
func (d *door) fail(w http.ResponseWriter, r *http.Request, err error) {
	gv := schema.GroupVersion{Version: "v1"}
	if info, ok := genericapirequest.RequestInfoFrom(r.Context()); ok && info.IsResourceRequest {
		gv = schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}
	}
	responsewriters.ErrorNegotiated(err, d.Codecs, gv, w, r)
}
