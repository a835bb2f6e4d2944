package door

import (
	"errors"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/explain"
)

// authorize lets the request through if the caller may do what it asks for, or
// answers 403.
func (d *door) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		info, _ := genericapirequest.RequestInfoFrom(ctx)
		a := attributesOf(info)
		if a.User = callerOf(ctx); a.User == nil {
			d.fail(w, r, apierrors.NewInternalError(errors.New("no user found for request")))
			return
		}
		start := time.Now()
		answer, err := d.Authorizer.Authorize(ctx, &a)
		d.Metrics.Authorized(outcome(answer, err), time.Since(start))
		audit.Decision(ctx, answer, err)
		switch {
		case answer.Verdict == authz.Allow:
			next.ServeHTTP(w, r)
		case err != nil:
			d.Log.ErrorContext(ctx, "authorization failed", "err", err, "user", a.User.Name, "path", info.Path)
			d.fail(w, r, apierrors.NewInternalError(errors.New("the request could not be authorized")))
		default:
			w.Header().Set("X-Content-Type-Options", "nosniff")
			d.noteDenial(w, r, explain.Lack{Asked: &a, Reason: answer.Reason()})
			d.fail(w, r, forbidden(&a, answer.Reason()))
		}
	})
}

func outcome(answer authz.Answer, err error) string {
	switch {
	case answer.Verdict == authz.Allow:
		return "allowed"
	case err != nil:
		return "error"
	case answer.Verdict == authz.Deny:
		return "denied"
	}
	return "no-opinion"
}

// attributesOf says what a request asks for, as k8s.io/apiserver
// pkg/endpoints/filters/authorization.go does.
func attributesOf(info *genericapirequest.RequestInfo) authz.Attributes {
	a := authz.Attributes{Verb: info.Verb, IsResource: info.IsResourceRequest, Path: info.Path}
	if !info.IsResourceRequest {
		return a
	}
	a.APIGroup, a.APIVersion = info.APIGroup, info.APIVersion
	a.Resource, a.Subresource = info.Resource, info.Subresource
	a.Namespace, a.Name = info.Namespace, info.Name
	switch info.Verb {
	case "list", "watch", "deletecollection":
		a.FieldSelector, a.LabelSelector = info.FieldSelector, info.LabelSelector
	}
	return a
}

// forbidden is the 403 in Kubernetes' words, which kubectl's users know.
func forbidden(a *authz.Attributes, reason string) error {
	// The caller chose what is in it, so it must not look like HTML.
	text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(a.Denial())
	if reason != "" {
		text += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.APIGroup, Resource: a.Resource}, a.Name, errors.New(text))
}
