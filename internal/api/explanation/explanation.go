// Package explanation serves the explanations of refused requests: the resource
// explanations of gatehouse.dev/v1alpha1.
//
// Explanations are got by the ID of a request, or by an audit ID, and created
// from a credential that might be presented. Nothing is stored by it. A create
// has a secret in its body, so neither the body nor the answer ever goes into
// the audit event; that has who asked.
//
// The package decides nothing, and does not authorize its own callers: it stands
// behind the filters that do. It refuses a body that is too large, that is not
// JSON or has fields that it does not know.
package explanation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubejson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/internal/api/answer"
	"gatehouse.dev/gatehouse/internal/explain"
)

const (
	// Prefix is the path of the group and version.
	Prefix = "/apis/" + explain.Group + "/" + explain.Version
	path   = Prefix + "/" + explain.Resource
	// maxBody bounds what is read: a token, a chain and headers.
	maxBody = 512 << 10
)

// Resources describes them for discovery.
func Resources() metav1.APIResourceList {
	return metav1.APIResourceList{
		GroupVersion: explain.Group + "/" + explain.Version,
		APIResources: []metav1.APIResource{{
			Name: explain.Resource, SingularName: "explanation", Kind: explain.Kind, Verbs: metav1.Verbs{"create", "get"},
		}},
	}
}

// An Explainer knows the answers.
type Explainer interface {
	Find(ctx context.Context, name string) (*explain.Explanation, error)
	Try(ctx context.Context, spec *explain.Spec) (*explain.Explanation, error)
}

// A Handler serves explanations. Use [New].
type Handler struct {
	explainer Explainer
	log       *slog.Logger
	trying    chan struct{}
}

// mostTrying is how many credentials are judged at the same time: a password
// takes a tenth of a second of a processor, and memory.
const mostTrying = 2

// New returns a handler that asks explainer.
func New(explainer Explainer, log *slog.Logger) *Handler {
	return &Handler{explainer, log, make(chan struct{}, mostTrying)}
}

// Serves reports whether requests for a path are for this handler, whatever
// their method.
func (h *Handler) Serves(p string) bool { return p == path || strings.HasPrefix(p, path+"/") }

// ServeHTTP answers with an explanation.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, code, err := h.answer(w, r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	answer.Write(w, code, found)
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) (*explain.Explanation, int, error) {
	name, named := strings.CutPrefix(r.URL.Path, path+"/")
	_, err := answer.FormOf(r, resource(), false)
	switch {
	case err != nil:
		return nil, 0, err
	case named && r.Method == http.MethodGet:
		found, err := h.explainer.Find(r.Context(), name)
		return found, http.StatusOK, err
	case !named && r.Method == http.MethodPost:
		asked, err := read(w, r)
		if err != nil {
			return nil, 0, err
		}
		found, err := h.try(r.Context(), asked.Spec)
		if err != nil {
			return nil, 0, err
		}
		found.Name = asked.Name
		return found, http.StatusCreated, nil
	}
	allowed := http.MethodPost
	if named {
		allowed = http.MethodGet
	}
	w.Header().Set("Allow", allowed)
	return nil, 0, apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, "", resource(), "", "", 0, false)
}

func (h *Handler) try(ctx context.Context, spec *explain.Spec) (*explain.Explanation, error) {
	select {
	case h.trying <- struct{}{}:
		defer func() { <-h.trying }()
		return h.explainer.Try(ctx, spec)
	case <-ctx.Done():
		return nil, apierrors.NewTooManyRequests("too many credentials are being judged", 1)
	}
}

func resource() schema.GroupResource {
	return schema.GroupResource{Group: explain.Group, Resource: explain.Resource}
}

// read returns what is asked. Errors of the decoder say where a field is wrong,
// and could quote what is in it, so they are not passed on.
func read(w http.ResponseWriter, r *http.Request) (*explain.Explanation, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "post", resource(), "",
			"the body has to be application/json", 0, true)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	if err != nil {
		return nil, apierrors.NewBadRequest("the body could not be read")
	}
	var asked explain.Explanation
	strict, err := kubejson.UnmarshalStrict(body, &asked)
	switch {
	case err != nil:
		return nil, apierrors.NewBadRequest("the body is no JSON of an " + explain.Kind + ": a field is of another type, or the text ends early")
	case len(strict) > 0:
		return nil, apierrors.NewBadRequest("the body has a field that is not known, or one twice: there are spec.token, spec.certificate, spec.headers, spec.asRequest.method and spec.asRequest.path")
	case asked.APIVersion != explain.Group+"/"+explain.Version || asked.Kind != explain.Kind:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body has to be of apiVersion %s/%s and kind %s", explain.Group, explain.Version, explain.Kind))
	case asked.Spec == nil:
		return nil, apierrors.NewBadRequest("the body has no spec: there is nothing to explain")
	}
	return &asked, nil
}

// fail answers with a Status. What went wrong in here is for the log.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if bad, ok := errors.AsType[explain.BadRequest](err); ok {
		err = apierrors.NewBadRequest(bad.Error())
	}
	if !answer.Fail(w, err, apierrors.NewInternalError(errors.New("the store could not be asked"))) {
		h.log.ErrorContext(r.Context(), "explaining a request", "err", err)
	}
}
