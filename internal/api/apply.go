package api

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// untyped begins the library's error about a server-side apply of something
// that is no object of the kind.
const untyped = "failed to create typed patch object"

// blame makes such an apply the fault of who sent it, which it is. The library
// takes it for one of the server, answers 500 and logs the values that do not
// fit, those of a Secret too.
func blame(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), untyped) {
		return apierrors.NewBadRequest(err.Error())
	}
	return err
}

// Update updates, patches or applies an object.
func (s served) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, force bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	obj, created, err := s.Store.Update(ctx, name, info, create, update, force, options)
	return obj, created, blame(err)
}

// Update never creates, whatever the resource itself allows.
func (p *part) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	obj, created, err := p.store.Update(ctx, name, info, create, update, false, options)
	return obj, created, blame(err)
}
