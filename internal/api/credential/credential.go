// Package credential serves the register of what was issued: the resource
// credentials of gatehouse.dev/v1alpha1, which can be read and not written.
//
// A list is written out while it is read from the store, so that one of a million
// entries takes no more memory than one of a hundred. It is of one moment, and
// what ends first is at its beginning. Who asks for a part of it is told where to
// go on, and gets a smaller part where few of the entries are wanted.
//
// The package decides nothing, and does not authorize its own callers: it stands
// behind the filters that do. It refuses to watch: entries come and go with every
// token, and nobody is to hold them in memory.
package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/api/answer"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

const (
	// Path is that of the resource.
	Path = "/apis/" + register.Group + "/" + register.Version + "/" + register.Resource
	// mostLists is how many lists are written at the same time, with a megabyte or
	// two of the store's answers each.
	mostLists = 8
	// mostLooked is how many entries are looked at for a part of a list.
	mostLooked = 100_000
)

// Resource describes it for discovery.
func Resource() metav1.APIResource {
	return metav1.APIResource{
		Name: register.Resource, SingularName: "credential", Kind: register.Kind, Verbs: metav1.Verbs{"get", "list"},
	}
}

// A Register is what is served.
type Register interface {
	Find(ctx context.Context, name string) (*register.Entry, error)
	List(ctx context.Context, q register.Query, show func([]*register.Entry) error) (register.Listing, error)
}

// A Handler serves the resource. Use [New].
type Handler struct {
	register Register
	log      *slog.Logger
	listing  chan struct{}
}

// New returns a handler that serves a register.
func New(r Register, log *slog.Logger) *Handler {
	return &Handler{r, log, make(chan struct{}, mostLists)}
}

// Serves reports whether requests for a path are for this handler, whatever
// their method.
func (h *Handler) Serves(path string) bool {
	return path == Path || strings.HasPrefix(path, Path+"/")
}

// ServeHTTP answers with an entry, or with a list of them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, named := strings.CutPrefix(r.URL.Path, Path+"/")
	query := r.URL.Query()
	form, err := answer.FormOf(r, resource(), true)
	switch watch, _ := strconv.ParseBool(query.Get("watch")); {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		err = apierrors.NewMethodNotSupported(resource(), strings.ToLower(r.Method))
	case watch:
		err = apierrors.NewMethodNotSupported(resource(), "watch")
	case err != nil:
	case named:
		err = h.get(w, r, name, form)
	default:
		err = h.list(w, r, query, form)
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

func resource() schema.GroupResource {
	return schema.GroupResource{Group: register.Group, Resource: register.Resource}
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request, name string, form answer.Form) error {
	entry, err := h.register.Find(r.Context(), name)
	if err != nil {
		return err
	}
	if entry == nil {
		return apierrors.NewNotFound(resource(), name)
	}
	page := newWriter(w, form, includedIn(r.URL.Query()), time.Now())
	if form == answer.Table {
		if err := page.show([]*register.Entry{entry}); err != nil {
			return err
		}
		return page.end(metav1.ListMeta{ResourceVersion: strconv.FormatInt(entry.Revision, 10)})
	}
	answer.Write(w, http.StatusOK, entry.Object())
	return nil
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request, asked url.Values, form answer.Form) error {
	now := time.Now()
	query, some, err := queryOf(asked, now)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	select {
	case h.listing <- struct{}{}:
		defer func() { <-h.listing }()
	case <-r.Context().Done():
		return apierrors.NewTooManyRequests("too many lists of credentials are being written", 1)
	}
	page := newWriter(w, form, includedIn(asked), now)
	var listing register.Listing
	if some {
		if listing, err = h.register.List(r.Context(), query, page.show); err != nil {
			return page.broken(err)
		}
	}
	meta := metav1.ListMeta{Continue: listing.Continue, ResourceVersion: strconv.FormatInt(listing.Revision, 10)}
	return page.end(meta)
}

// queryOf reads what a list is asked for, and whether there can be any.
func queryOf(asked url.Values, now time.Time) (q register.Query, some bool, err error) {
	if asked.Get("resourceVersionMatch") == string(metav1.ResourceVersionMatchExact) {
		return q, false, errors.New("resourceVersionMatch: Exact is not served: a list is of the present")
	}
	selector, err := fields.ParseSelector(asked.Get("fieldSelector"))
	if err != nil {
		return q, false, fmt.Errorf("fieldSelector: %w", err)
	}
	if q, err = register.Choose(selector, now); err != nil {
		return q, false, err
	}
	byLabel, err := labels.Parse(asked.Get("labelSelector"))
	if err != nil {
		return q, false, fmt.Errorf("labelSelector: %w", err)
	}
	if text := asked.Get("limit"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return q, false, fmt.Errorf("limit: %q is no number of entries", text)
		}
		q.Most = int(min(n, register.MaxEntries*2))
	}
	if q.Most > 0 {
		q.Look = max(mostLooked, q.Most)
	}
	q.Continue = asked.Get("continue")
	return q, byLabel.Matches(labels.Set{}), nil // no entry has a label
}

// fail answers with a Status. What went wrong in here is for the log.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errBegun) && r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the caller is gone, or out of time
	case errors.Is(err, errBegun):
		h.log.ErrorContext(r.Context(), "listing credentials: the answer is cut off", "err", err)
		panic(http.ErrAbortHandler) // the only way to say that the rest is missing
	case errors.Is(err, register.ErrContinue):
		err = apierrors.NewBadRequest(err.Error())
	case errors.Is(err, ledger.ErrGone):
		err = apierrors.NewResourceExpired("the list has changed too much since it was begun: begin it anew, without a continue token")
	}
	if !answer.Fail(w, err, apierrors.NewServiceUnavailable("the register of credentials could not be read")) {
		h.log.ErrorContext(r.Context(), "reading the register of credentials", "err", err)
	}
}
