package admission

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// Containers refuses what expects a container to run. The Pods that this server
// keeps are objects that tokens are bound to, and whoever asks kubectl to run an
// image would wait for it in vain.
type Containers struct{}

// Handles is true for what kubectl run creates, unless it only rehearses.
func (Containers) Handles(a admission.Attributes) bool {
	if a.GetOperation() != admission.Create || a.GetResource().Resource != "pods" || a.GetSubresource() != "" || a.IsDryRun() {
		return false
	}
	options, ok := a.GetOperationOptions().(*metav1.CreateOptions)
	return ok && options.FieldManager == "kubectl-run"
}

// Judge refuses.
func (Containers) Judge(_ context.Context, a admission.Attributes) error {
	return admission.NewForbidden(a, errors.New("this is Gatehouse, an identity server: it keeps Pod objects and runs no containers; kubectl create -f makes such an object"))
}
