package upstream

import (
	"context"
	"errors"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"gatehouse.dev/gatehouse/internal/api/validation/review"
)

// A reviewStorage is the storage of one kind of review: it has a name and
// creates (k8s.io/kubernetes pkg/registry/authentication and
// pkg/registry/authorization). The v1 types stand in for the internal ones, so
// that this side is spared the two conversions of kube-apiserver.
type reviewStorage struct {
	singular string
	empty    func() runtime.Object
	answer   func(ctx context.Context, obj runtime.Object) error
}

var (
	_ rest.Creater              = reviewStorage{}
	_ rest.Scoper               = reviewStorage{}
	_ rest.SingularNameProvider = reviewStorage{}
)

func (s reviewStorage) New() runtime.Object     { return s.empty() }
func (s reviewStorage) Destroy()                {}
func (s reviewStorage) NamespaceScoped() bool   { return false }
func (s reviewStorage) GetSingularName() string { return s.singular }

func (s reviewStorage) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	if validate != nil {
		if err := validate(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	return obj, s.answer(ctx, obj)
}

func tokenReviews(tokens authenticator.Request, audiences authenticator.Audiences) reviewStorage {
	return reviewStorage{"tokenreview", func() runtime.Object { return &authenticationv1.TokenReview{} },
		func(_ context.Context, obj runtime.Object) error {
			r := obj.(*authenticationv1.TokenReview)
			if r.Spec.Token == "" {
				return apierrors.NewBadRequest("token is required for TokenReview in authentication")
			}
			// kube-apiserver makes a request with the token in its header.
			inner := &http.Request{Header: http.Header{}}
			inner.Header.Set("Authorization", "Bearer "+r.Spec.Token)
			asked := authenticator.Audiences(r.Spec.Audiences)
			if len(asked) == 0 {
				asked = audiences
			}
			inner = inner.WithContext(authenticator.WithAudiences(inner.Context(), asked))
			res, ok, err := tokens.AuthenticateRequest(inner)
			r.Status.Authenticated = ok
			if err != nil {
				r.Status.Error = err.Error()
			}
			if ok && res.User != nil {
				r.Status.User = authenticationv1.UserInfo{
					Username: res.User.GetName(), UID: res.User.GetUID(),
					Groups: res.User.GetGroups(), Extra: map[string]authenticationv1.ExtraValue{},
				}
				for k, v := range res.User.GetExtra() {
					r.Status.User.Extra[k] = v
				}
				r.Status.Audiences = res.Audiences
			}
			return nil
		}}
}

func subjectAccessReviews(access authorizer.Authorizer) reviewStorage {
	return reviewStorage{"subjectaccessreview", func() runtime.Object { return &authorizationv1.SubjectAccessReview{} },
		func(ctx context.Context, obj runtime.Object) error {
			r := obj.(*authorizationv1.SubjectAccessReview)
			if errs := review.ValidateSubjectAccessReview(r); len(errs) > 0 {
				return apierrors.NewInvalid(authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview").GroupKind(), "", errs)
			}
			who := &user.DefaultInfo{Name: r.Spec.User, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: map[string][]string{}}
			for k, v := range r.Spec.Extra {
				who.Extra[k] = v
			}
			r.Status = decide(ctx, access, who, r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
			return nil
		}}
}

func selfSubjectAccessReviews(access authorizer.Authorizer) reviewStorage {
	return reviewStorage{"selfsubjectaccessreview", func() runtime.Object { return &authorizationv1.SelfSubjectAccessReview{} },
		func(ctx context.Context, obj runtime.Object) error {
			r := obj.(*authorizationv1.SelfSubjectAccessReview)
			if errs := review.ValidateSelfSubjectAccessReview(r); len(errs) > 0 {
				return apierrors.NewInvalid(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview").GroupKind(), "", errs)
			}
			who, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewInternalError(errors.New("no user in the context"))
			}
			r.Status = decide(ctx, access, who, r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
			return nil
		}}
}

func decide(ctx context.Context, access authorizer.Authorizer, who user.Info, resource *authorizationv1.ResourceAttributes, path *authorizationv1.NonResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
	a := authorizer.AttributesRecord{User: who}
	if resource != nil {
		a.Verb, a.Namespace, a.Name = resource.Verb, resource.Namespace, resource.Name
		a.APIGroup, a.APIVersion = resource.Group, resource.Version
		a.Resource, a.Subresource, a.ResourceRequest = resource.Resource, resource.Subresource, true
		if a.APIVersion == "" {
			a.APIVersion = "*"
		}
	} else {
		a.Verb, a.Path = path.Verb, path.Path
	}
	decision, reason, err := access.Authorize(ctx, a)
	status := authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow,
		Denied:  decision == authorizer.DecisionDeny,
		Reason:  reason,
	}
	if err != nil {
		status.EvaluationError = err.Error()
	}
	return status
}
