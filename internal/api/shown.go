package api

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// shown are the credentials of the register, for OpenAPI alone. Like those of a
// [described] resource, their requests are answered in front of this server, and
// refused here.
type shown struct{ rest.TableConvertor }

var (
	_ rest.Getter               = shown{}
	_ rest.Lister               = shown{}
	_ rest.Scoper               = shown{}
	_ rest.SingularNameProvider = shown{}
)

func (shown) New() runtime.Object     { return &v1alpha1.Credential{} }
func (shown) NewList() runtime.Object { return &v1alpha1.CredentialList{} }
func (shown) Destroy()                {}
func (shown) NamespaceScoped() bool   { return false }
func (shown) GetSingularName() string { return "credential" }

func (shown) Get(context.Context, string, *metav1.GetOptions) (runtime.Object, error) {
	return nil, apierrors.NewMethodNotSupported(shownResource(), "get")
}

func (shown) List(context.Context, *internalversion.ListOptions) (runtime.Object, error) {
	return nil, apierrors.NewMethodNotSupported(shownResource(), "list")
}

func shownResource() schema.GroupResource {
	return schema.GroupResource{Group: v1alpha1.Group, Resource: "credentials"}
}

// install adds the resource to its group.
func (s shown) install(in *installer) error {
	in.group(v1alpha1.GroupVersion())["credentials"] = s
	return nil
}
