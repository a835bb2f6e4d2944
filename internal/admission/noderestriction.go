package admission

import (
	"context"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// NodeRestriction is the plugin of that name: a node writes only what is its own,
// which its authorizer cannot see (k8s.io/kubernetes
// plugin/pkg/admission/noderestriction). The kinds that upstream's plugin also
// judges are not served here.
type NodeRestriction struct {
	Authorizer authz.Authorizer
	// Pod and Node return an object as the store has it now, or an API error.
	Pod  func(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Node func(ctx context.Context, name string) (*corev1.Node, error)
}

// A nodeWrite is a write by a node of that name.
type nodeWrite struct {
	admission.Attributes
	node string
	user *identity.Identity
}

// rules returns the method that judges writes to a resource, or nil.
func (p NodeRestriction) rules(r schema.GroupResource) func(context.Context, *nodeWrite) error {
	switch r {
	case corev1.Resource("pods"):
		return p.pod
	case corev1.Resource("nodes"):
		return p.ownNode
	case corev1.Resource("serviceaccounts"):
		return p.token
	case coordinationv1.Resource("leases"):
		return p.lease
	case certificatesv1.Resource("certificatesigningrequests"):
		return p.certificate
	}
	return nil
}

// Handles is true for writes to what nodes may write to.
func (p NodeRestriction) Handles(a admission.Attributes) bool {
	return a.GetOperation() != admission.Connect && p.rules(a.GetResource().GroupResource()) != nil
}

// Judge refuses a node what is not its own, and everything to one without a name.
func (p NodeRestriction) Judge(ctx context.Context, a admission.Attributes) error {
	user, err := caller(a.GetUserInfo())
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	name, ok := user.Node()
	if !ok {
		return nil
	}
	if name == "" {
		return admission.NewForbidden(a, fmt.Errorf("could not determine node from user %q", user.Name))
	}
	w := &nodeWrite{a, name, user}
	return p.rules(a.GetResource().GroupResource())(ctx, w)
}

// forbid returns the refusal with these words.
func (w *nodeWrite) forbid(format string, args ...any) error {
	return admission.NewForbidden(w, fmt.Errorf(format, args...))
}

// written and stored return the object that is written and the one that is there.
func written[T any](w *nodeWrite) (T, error) {
	obj, ok := w.GetObject().(T)
	if !ok {
		return obj, w.forbid("unexpected type %T", w.GetObject())
	}
	return obj, nil
}

func stored[T any](w *nodeWrite) (T, error) {
	obj, ok := w.GetOldObject().(T)
	if !ok {
		return obj, w.forbid("unexpected type %T", w.GetOldObject())
	}
	return obj, nil
}

// token lets a node have tokens that are bound to a pod that runs on it, for
// audiences that the pod asks for or that somebody allowed.
func (p NodeRestriction) token(ctx context.Context, w *nodeWrite) error {
	if w.GetOperation() != admission.Create || w.GetSubresource() != "token" {
		return nil
	}
	request, err := written[*authenticationv1.TokenRequest](w)
	if err != nil {
		return err
	}
	ref := request.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return w.forbid("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return w.forbid("node requested token with a pod binding without a uid")
	}
	pod, err := p.Pod(ctx, w.GetNamespace(), ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return admission.NewForbidden(w, err)
	case ref.UID != pod.UID:
		return w.forbid("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != w.node:
		return w.forbid("node requested token bound to a pod scheduled on a different node")
	}
	return p.audience(ctx, w, request.Spec.Audiences, pod)
}

func (p NodeRestriction) audience(ctx context.Context, w *nodeWrite, audiences []string, pod *corev1.Pod) error {
	audience := ""
	switch len(audiences) {
	case 0:
	case 1:
		audience = audiences[0]
	default:
		return w.forbid("node may only request 0 or 1 audiences")
	}
	if mountsAudience(pod, audience) {
		return nil
	}
	allowed, err := permitted(ctx, p.Authorizer, &authz.Attributes{
		User: w.user, Verb: "request-serviceaccounts-token-audience", IsResource: true,
		APIGroup: w.GetResource().Group, APIVersion: w.GetResource().Version, Resource: audience,
		Namespace: w.GetNamespace(), Name: w.GetName(),
	})
	switch {
	case allowed:
		return nil
	case err != nil:
		return w.forbid("error authorizing %s to request tokens for audience %q: %w", w.user.Name, audience, err)
	}
	return w.forbid("%s is not authorized to request tokens for audience %q", w.user.Name, audience)
}

// mountsAudience reports whether a pod mounts a token for the audience. What its
// volumes get from CSI drivers is not known here: there are no CSIDrivers.
func mountsAudience(pod *corev1.Pod, audience string) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience
		})
	})
}

// lease lets a node keep its own lease.
func (NodeRestriction) lease(_ context.Context, w *nodeWrite) error {
	if w.GetNamespace() != corev1.NamespaceNodeLease {
		return w.forbid("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	}
	name := w.GetName()
	if w.GetOperation() == admission.Create {
		lease, err := written[*coordinationv1.Lease](w)
		if err != nil {
			return err
		}
		name = lease.Name
	}
	if name != w.node {
		return w.forbid("can only access node lease with the same name as the requesting node")
	}
	return nil
}

// certificate lets a node ask for node certificates of itself.
func (NodeRestriction) certificate(_ context.Context, w *nodeWrite) error {
	if w.GetOperation() != admission.Create {
		return nil
	}
	csr, err := written[*request](w)
	if err != nil {
		return err
	}
	if csr.Spec.SignerName != certificatesv1.KubeletServingSignerName && csr.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	parsed, err := parseRequest(csr.Spec.Request)
	if err != nil {
		return w.forbid("unable to parse csr: %w", err)
	}
	if parsed.Subject.CommonName != identity.NodePrefix+w.node {
		return w.forbid("can only create a node CSR with CN=system:node:%s", w.node)
	}
	return nil
}
