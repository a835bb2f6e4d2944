package issuing

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// matchName refuses a request whose metadata names another account than the
// path it was sent to.
func matchName(namespace, name string, request *authenticationv1.TokenRequest) error {
	meta := field.NewPath("metadata")
	var refusal *field.Error
	switch {
	case request.Name != "" && request.Name != name:
		refusal = field.Invalid(meta.Child("name"), request.Name, "must match the service account name if specified")
	case request.Namespace != "" && request.Namespace != namespace:
		refusal = field.Invalid(meta.Child("namespace"), request.Namespace, "must match the service account namespace if specified")
	default:
		return nil
	}
	return invalid(name, refusal)
}

// validate refuses what is wrong with a complete request by itself
// (pkg/apis/authentication/validation/validation.go).
func validate(request *authenticationv1.TokenRequest) error {
	spec := field.NewPath("spec")
	if len(request.Spec.Attestations) != 0 && !isWebhook(request.Spec.BoundObjectRef) {
		return invalid("", field.Invalid(spec.Child("attestations"), request.Spec.Attestations,
			"attestations may only be specified with a webhook bound object reference"))
	}
	path, seconds := spec.Child("expirationSeconds"), *request.Spec.ExpirationSeconds
	switch {
	case seconds < minSeconds:
		return invalid("", field.Invalid(path, seconds, "may not specify a duration less than 10 minutes"))
	case seconds > maxSeconds:
		return invalid("", field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	return nil
}

func invalid(name string, refusal *field.Error) error {
	kind := authenticationv1.SchemeGroupVersion.WithKind("TokenRequest").GroupKind()
	return apierrors.NewInvalid(kind, name, field.ErrorList{refusal})
}

// isWebhook reports whether ref is of a kind that only the alpha feature of
// KEP-6060 binds tokens to.
func isWebhook(ref *authenticationv1.BoundObjectReference) bool {
	return ref != nil && ref.APIVersion == admissionregistrationv1.SchemeGroupVersion.String() &&
		(ref.Kind == "ValidatingWebhookConfiguration" || ref.Kind == "MutatingWebhookConfiguration")
}

// bind looks up the object that ref refers to and returns the claims about it.
// Like Kubernetes it does not mind which version of the core group is named.
func (t *Tokens) bind(ctx context.Context, account *corev1.ServiceAccount, ref *authenticationv1.BoundObjectReference) (binding, error) {
	if ref == nil {
		return binding{}, nil
	}
	kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	var bound binding
	var uid types.UID
	switch kind.GroupKind() {
	case schema.GroupKind{Kind: "Pod"}:
		pod, err := get(ctx, t.Objects.Pods, account.Namespace, ref.Name)
		if err != nil {
			return binding{}, err
		}
		if pod.Spec.ServiceAccountName != account.Name {
			return binding{}, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
		}
		uid, bound.Pod = pod.UID, &reference{Name: pod.Name, UID: pod.UID}
		if bound.Node, err = t.nodeOf(ctx, pod); err != nil {
			return binding{}, err
		}
	case schema.GroupKind{Kind: "Node"}:
		node, err := get(ctx, t.Objects.Nodes, "", ref.Name)
		if err != nil {
			return binding{}, err
		}
		uid, bound.Node = node.UID, &reference{Name: node.Name, UID: node.UID}
	case schema.GroupKind{Kind: "Secret"}:
		secret, err := get(ctx, t.Objects.Secrets, account.Namespace, ref.Name)
		if err != nil {
			return binding{}, err
		}
		uid, bound.Secret = secret.UID, &reference{Name: secret.Name, UID: secret.UID}
	default:
		return binding{}, unboundable(kind, ref)
	}
	if ref.UID != "" && ref.UID != uid {
		return binding{}, apierrors.NewConflict(schema.GroupResource{Resource: kind.Kind}, ref.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	return bound, nil
}

// nodeOf returns the node that pod is on, nil before it is on one. A node that
// is gone is told by its name alone.
func (t *Tokens) nodeOf(ctx context.Context, pod *corev1.Pod) (*reference, error) {
	if pod.Spec.NodeName == "" {
		return nil, nil
	}
	node, err := t.Objects.Nodes(ctx, "", pod.Spec.NodeName)
	switch {
	case apierrors.IsNotFound(err):
		return &reference{Name: pod.Spec.NodeName}, nil
	case err != nil:
		return nil, apierrors.NewInternalError(err)
	}
	return &reference{Name: node.Name, UID: node.UID}, nil
}

// unboundable is the refusal of a kind that no token can be bound to.
func unboundable(kind schema.GroupVersionKind, ref *authenticationv1.BoundObjectReference) error {
	message := fmt.Sprintf("cannot bind token to object of type %s", kind)
	if isWebhook(ref) {
		message += " (feature gate APIServerWebhookAuthenticationToken is disabled)"
	}
	return apierrors.NewBadRequest(message)
}
