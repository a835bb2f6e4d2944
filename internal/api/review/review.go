// Package review answers the questions other programs ask about callers and
// permissions: the reviews of authentication.k8s.io/v1 and
// authorization.k8s.io/v1.
//
// A review is a POST whose answer is the object itself with its status filled
// in; nothing is stored. The generic API server spends most of its time on
// managed fields and conversions that a review has no use for, so that these
// handlers stand beside it. On the wire they behave like its create handler:
// the same encodings, parameters, statuses and messages, and the same objects
// in the audit event.
//
// The package decides nothing about callers and permissions, and does not
// authorize its own callers: it stands behind the filters that do. It refuses a
// body that is too large, of another kind or ambiguous.
package review

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// A RulesResolver lists what a user may do in a namespace.
type RulesResolver interface {
	// RulesFor returns the rules that apply to user in namespace. It reports
	// true if there may be more than those, and an error for what it could not
	// look at; the rules stand in both cases.
	RulesFor(ctx context.Context, user *identity.Identity, namespace string) (
		[]authorizationv1.ResourceRule, []authorizationv1.NonResourceRule, bool, error)
}

// A Config is what a [Handler] asks. All fields but Clients must be set.
type Config struct {
	// Tokens says whose the token of a TokenReview is. There is no anonymous
	// step: a token that nobody knows is nobody's.
	Tokens authn.TokenVerifier
	// Audiences are those of this server.
	Audiences []string
	// Clients are the callers that are told of some tokens only, by user name.
	Clients map[string]*Client
	// Access answers all kinds of access review.
	Access authz.Authorizer
	Rules  RulesResolver
	// Journal keeps why a review about somebody else said no.
	Journal Journal
	// Validate returns what is wrong with the fields of a review, for a 422.
	// It gets one of the six types below, as a pointer.
	Validate func(runtime.Object) field.ErrorList
}

// A Journal keeps for operators what those who ask are told in one line only. Both
// methods return the ID that it is found by, or "" where it is not kept.
type Journal interface {
	// NotAuthenticated is told of a token that is nobody's, that nobody got to look
	// at, or that does not count for who asks; then whose says whose it is. The
	// ladder, which says what each authenticator found, may be called until
	// NotAuthenticated returns.
	NotAuthenticated(q Question, audiences []string, whose *identity.Identity, ladder func() []authn.Rung) (id string)
	// NotAllowed is told of what somebody may not do, the reason given, and why it
	// could not be decided, if that is so.
	NotAllowed(q Question, a *authz.Attributes, reason string, err error) (id string)
}

// A Question is a request with a review, on its way to an answer.
type Question struct {
	// Kind is that of the review.
	Kind string
	// Code is the status of the answer.
	Code int
	W    http.ResponseWriter
	R    *http.Request
	// namespace is that of the request, if its kind is namespaced.
	namespace string
}

// A Handler serves reviews. Use [New].
type Handler struct {
	Config
	wire *wire
	// kinds are those of the cluster, by path.
	kinds map[string]*kind
	// local is the one kind that is namespaced.
	local *kind
}

// New returns a handler that asks what is in c.
func New(c Config) (*Handler, error) {
	wire, err := newWire()
	if err != nil {
		return nil, fmt.Errorf("preparing encodings: %w", err)
	}
	identities, permissions := authenticationv1.SchemeGroupVersion, authorizationv1.SchemeGroupVersion
	h := &Handler{Config: c, wire: wire, kinds: map[string]*kind{}}
	for _, k := range []*kind{
		newKind(identities, "TokenReview", h.tokenReview),
		newKind(identities, "SelfSubjectReview", h.selfSubjectReview),
		newKind(permissions, "SubjectAccessReview", h.subjectAccessReview),
		newKind(permissions, "SelfSubjectAccessReview", h.selfSubjectAccessReview),
		newKind(permissions, "SelfSubjectRulesReview", h.selfSubjectRulesReview),
	} {
		h.kinds["/apis/"+k.gvk.GroupVersion().String()+"/"+k.gvr.Resource] = k
	}
	h.local = newKind(permissions, "LocalSubjectAccessReview", h.localSubjectAccessReview)
	return h, nil
}

// An object is a review: one of the six types of k8s.io/api.
type object interface {
	runtime.Object
	metav1.Object
}

// A kind is one kind of review.
type kind struct {
	gvk schema.GroupVersionKind
	gvr schema.GroupVersionResource
	// apiVersion is that of gvk, as objects have it.
	apiVersion string
	new        func() object
	// answer fills in the status of a review.
	answer func(q Question, review object) error
}

// newKind returns the kind of the type T.
func newKind[T any, P interface {
	*T
	object
}](gv schema.GroupVersion, name string, answer func(Question, P) error) *kind {
	return &kind{
		gvk:        gv.WithKind(name),
		gvr:        gv.WithResource(strings.ToLower(name) + "s"),
		apiVersion: gv.String(),
		new:        func() object { return P(new(T)) },
		answer:     func(q Question, review object) error { return answer(q, review.(P)) },
	}
}

// secret reports whether the body of a request of this kind holds a secret.
func (k *kind) secret() bool { return k.gvk.Kind == "TokenReview" }

// Serves reports whether requests for path, which is that of a URL, are for
// this handler, whatever their method.
func (h *Handler) Serves(path string) bool {
	k, _ := h.find(path)
	return k != nil
}

// find returns the kind of review at path, and the namespace if it has one.
// Only the exact path will do: it is what the caller was authorized for.
func (h *Handler) find(path string) (*kind, string) {
	if k := h.kinds[path]; k != nil {
		return k, ""
	}
	rest, ok := strings.CutPrefix(path, "/apis/authorization.k8s.io/v1/namespaces/")
	if !ok {
		return nil, ""
	}
	namespace, resource, _ := strings.Cut(rest, "/")
	if namespace == "" || resource != h.local.gvr.Resource {
		return nil, ""
	}
	return h.local, namespace
}

// ServeHTTP answers a review. The caller must be in the context of r, as an
// identity.Identity.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k, namespace := h.find(r.URL.Path)
	if k == nil {
		http.NotFound(w, r)
		return
	}
	if err := h.create(w, r, k, namespace); err != nil {
		h.fail(w, r, k, err)
	}
}

// create is the way of a review, in the order of the generic create handler
// (pkg/endpoints/handlers/create.go). It writes nothing if it returns an error.
func (h *Handler) create(w http.ResponseWriter, r *http.Request, k *kind, namespace string) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, "", schema.GroupResource{}, "", "", 0, false)
	}
	out, err := h.wire.output(r)
	if err != nil {
		return err
	}
	in, err := h.wire.input(r)
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	validation, err := h.wire.options(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	review, err := h.wire.decode(ctx, k, in, body, validation)
	if err != nil {
		return err
	}
	h.logRequest(ctx, k, review)
	if err := adoptMeta(review, namespace); err != nil {
		return err
	}
	if errs := h.Validate(review); len(errs) > 0 {
		return apierrors.NewInvalid(k.gvk.GroupKind(), "", errs)
	}
	if err := k.answer(Question{k.gvk.Kind, http.StatusCreated, w, r, namespace}, review); err != nil {
		return err
	}
	review.SetManagedFields(nil)
	h.logResponse(ctx, k, review)
	if t := review.GetObjectKind(); t.GroupVersionKind() != k.gvk {
		t.SetGroupVersionKind(k.gvk)
	}
	return write(w, out, http.StatusCreated, review)
}

// adoptMeta takes away what only a server may set, and makes the namespace of
// review that of the request (pkg/registry/rest/meta.go).
func adoptMeta(review object, namespace string) error {
	review.SetCreationTimestamp(metav1.Time{})
	review.SetUID("")
	review.SetDeletionTimestamp(nil)
	review.SetDeletionGracePeriodSeconds(nil)
	review.SetSelfLink("")
	if given := review.GetNamespace(); given != "" && namespace != "" && given != namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	review.SetNamespace(namespace)
	return nil
}

// caller returns who asks.
func caller(ctx context.Context) (*identity.Identity, error) {
	info, ok := request.UserFrom(ctx)
	if !ok {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	who, ok := info.(*identity.Identity)
	if !ok || who == nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("the caller is a %T and no identity", info))
	}
	return who, nil
}
