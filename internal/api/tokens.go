package api

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"
)

// A TokenRequester issues tokens of service accounts.
type TokenRequester interface {
	// RequestToken answers a request for a token of the service account, and
	// returns the request with its status filled in. The checks are all made
	// when dry is true, and nothing is issued. Errors are API errors.
	RequestToken(ctx context.Context, namespace, name string, req *authenticationv1.TokenRequest, dry bool) (*authenticationv1.TokenRequest, error)
}

func serviceAccountTokens(in *installer, _ *registry.Store, group map[string]rest.Storage) {
	group["serviceaccounts/token"] = tokenStorage{in.tokens}
}

// tokenStorage is the subresource /token.
type tokenStorage struct{ tokens TokenRequester }

var (
	_ rest.NamedCreater             = tokenStorage{}
	_ rest.GroupVersionKindProvider = tokenStorage{}
)

func (tokenStorage) New() runtime.Object { return &authenticationv1.TokenRequest{} }
func (tokenStorage) Destroy()            {}

func (tokenStorage) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
}

func (t tokenStorage) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	req, ok := obj.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, apierrors.NewBadRequest("the body is no TokenRequest")
	}
	if err := validate(ctx, obj.DeepCopyObject()); err != nil {
		return nil, err
	}
	return t.tokens.RequestToken(ctx, genericapirequest.NamespaceValue(ctx), name, req, dryrun.IsDryRun(options.DryRun))
}
