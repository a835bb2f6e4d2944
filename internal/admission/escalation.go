package admission

import (
	"context"
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authz/rbac/escalation"
)

// Escalation keeps callers from giving out permissions they do not have. It is
// no plugin of kube-apiserver's, which has it in its storage, and so it cannot
// be switched off.
type Escalation struct{ Guard *escalation.Guard }

// Handles is true for writes of roles and bindings.
func (Escalation) Handles(a admission.Attributes) bool {
	if a.GetResource().Group != rbacv1.GroupName || a.GetSubresource() != "" {
		return false
	}
	return a.GetOperation() == admission.Create || a.GetOperation() == admission.Update
}

// Judge asks the guard.
func (p Escalation) Judge(ctx context.Context, a admission.Attributes) error {
	user, err := caller(a.GetUserInfo())
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	w := escalation.Write{User: user, Namespace: a.GetNamespace()}
	if info, ok := genericapirequest.RequestInfoFrom(ctx); ok {
		// A POST names its object in the body, where resourceNames of a rule
		// do not reach; a PUT that creates names it in the path as well.
		w.Name = info.Name
	}
	switch obj := a.GetObject().(type) {
	case *rbacv1.Role:
		return p.Guard.CheckRole(ctx, w, before[*rbacv1.Role](a.GetOldObject()), obj)
	case *rbacv1.ClusterRole:
		return p.Guard.CheckClusterRole(ctx, w, before[*rbacv1.ClusterRole](a.GetOldObject()), obj)
	case *rbacv1.RoleBinding:
		return p.Guard.CheckRoleBinding(ctx, w, before[*rbacv1.RoleBinding](a.GetOldObject()), obj)
	case *rbacv1.ClusterRoleBinding:
		return p.Guard.CheckClusterRoleBinding(ctx, w, before[*rbacv1.ClusterRoleBinding](a.GetOldObject()), obj)
	}
	return apierrors.NewInternalError(errors.New("the object is neither a role nor a binding"))
}

// before returns the stored object, or nil if there is none.
func before[T any](obj runtime.Object) T {
	old, _ := obj.(T)
	return old
}
