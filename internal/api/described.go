package api

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// described is a resource that discovery and OpenAPI have to know, but whose
// requests are answered in front of this server: the reviews, and explanations.
// Were one to arrive here all the same, the front door would be wired wrongly, and
// it is refused.
type described struct {
	resource   schema.GroupResource
	singular   string
	namespaced bool
	new        func() runtime.Object
}

var (
	_ rest.Creater              = described{}
	_ rest.Scoper               = described{}
	_ rest.SingularNameProvider = described{}
)

func (d described) New() runtime.Object     { return d.new() }
func (d described) Destroy()                {}
func (d described) NamespaceScoped() bool   { return d.namespaced }
func (d described) GetSingularName() string { return d.singular }

func (d described) Create(context.Context, runtime.Object, rest.ValidateObjectFunc, *metav1.CreateOptions) (runtime.Object, error) {
	return nil, apierrors.NewMethodNotSupported(d.resource, "create")
}

// install adds the resource to its group.
func (d described) install(in *installer) error {
	gv, ok := versionOf(d.resource.Group)
	if !ok {
		return fmt.Errorf("no version of the group of %s is served", d.resource)
	}
	in.group(gv)[d.resource.Resource] = d
	return nil
}

// explained are the explanations, which can be got besides.
type explained struct{ described }

var _ rest.Getter = explained{}

func (e explained) Get(context.Context, string, *metav1.GetOptions) (runtime.Object, error) {
	return nil, apierrors.NewMethodNotSupported(e.resource, "get")
}

// install adds the resource to its group.
func (e explained) install(in *installer) error {
	in.group(v1alpha1.GroupVersion())[e.resource.Resource] = e
	return nil
}

func explanations() entry {
	return explained{described{v1alpha1.GroupVersion().WithResource("explanations").GroupResource(), "explanation", false,
		func() runtime.Object { return &v1alpha1.Explanation{} }}}
}

// reviews are the resources that are described only.
func reviews() []entry {
	authentication := authenticationv1.SchemeGroupVersion.WithResource
	authorization := authorizationv1.SchemeGroupVersion.WithResource
	return []entry{
		described{authentication("selfsubjectreviews").GroupResource(), "selfsubjectreview", false,
			func() runtime.Object { return &authenticationv1.SelfSubjectReview{} }},
		described{authentication("tokenreviews").GroupResource(), "tokenreview", false,
			func() runtime.Object { return &authenticationv1.TokenReview{} }},
		described{authorization("localsubjectaccessreviews").GroupResource(), "localsubjectaccessreview", true,
			func() runtime.Object { return &authorizationv1.LocalSubjectAccessReview{} }},
		described{authorization("selfsubjectaccessreviews").GroupResource(), "selfsubjectaccessreview", false,
			func() runtime.Object { return &authorizationv1.SelfSubjectAccessReview{} }},
		described{authorization("selfsubjectrulesreviews").GroupResource(), "selfsubjectrulesreview", false,
			func() runtime.Object { return &authorizationv1.SelfSubjectRulesReview{} }},
		described{authorization("subjectaccessreviews").GroupResource(), "subjectaccessreview", false,
			func() runtime.Object { return &authorizationv1.SubjectAccessReview{} }},
	}
}
