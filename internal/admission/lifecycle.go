package admission

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// Lifecycle is the plugin NamespaceLifecycle: nothing is created in a namespace
// that is not there or is being deleted, and the namespaces that the system
// cannot do without are not deleted.
type Lifecycle struct {
	// Namespace returns a namespace as the store has it now, or an API error.
	Namespace func(ctx context.Context, name string) (*corev1.Namespace, error)
}

// immortal are the namespaces that cannot be deleted.
var immortal = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic}

// Handles is true for creating in a namespace and for deleting a namespace.
func (Lifecycle) Handles(a admission.Attributes) bool {
	if a.GetKind().Kind == "Namespace" && a.GetKind().Group == "" {
		return a.GetOperation() == admission.Delete && a.GetSubresource() == ""
	}
	return a.GetOperation() == admission.Create && a.GetNamespace() != ""
}

// Judge refuses by the rules above.
func (l Lifecycle) Judge(ctx context.Context, a admission.Attributes) error {
	if a.GetOperation() == admission.Delete {
		if slices.Contains(immortal, a.GetName()) {
			return apierrors.NewForbidden(a.GetResource().GroupResource(), a.GetName(), fmt.Errorf("this namespace may not be deleted"))
		}
		return nil
	}
	ns, err := l.Namespace(ctx, a.GetNamespace())
	if err != nil {
		return err
	}
	if ns.DeletionTimestamp.IsZero() && ns.Status.Phase != corev1.NamespaceTerminating {
		return nil
	}
	refusal := apierrors.NewForbidden(a.GetResource().GroupResource(), a.GetName(),
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.GetNamespace()))
	refusal.ErrStatus.Details.Causes = append(refusal.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", a.GetNamespace()),
		Field:   "metadata.namespace",
	})
	return refusal
}
