package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/authz/node"
)

// pod lets a node make mirror pods, and delete, evict and report on the pods that
// run on it.
func (p NodeRestriction) pod(ctx context.Context, w *nodeWrite) error {
	switch w.GetSubresource() {
	case "":
	case "status":
		return podStatus(w)
	case "eviction":
		return p.eviction(ctx, w)
	default:
		return w.forbid("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", w.GetSubresource())
	}
	switch w.GetOperation() {
	case admission.Create:
		return p.mirrorPod(ctx, w)
	case admission.Delete:
		pod, err := stored[*corev1.Pod](w)
		if err != nil {
			return err
		}
		if pod.Spec.NodeName != w.node {
			return w.forbid("node %q can only delete pods with spec.nodeName set to itself", w.node)
		}
		return nil
	}
	return w.forbid("unexpected operation %q, node %q can only create and delete mirror pods", w.GetOperation(), w.node)
}

// mirrorPod lets a node show a pod that it runs without having been told to. Such
// a pod belongs to the node and refers to nothing, so that the node gets at
// nothing by it.
func (p NodeRestriction) mirrorPod(ctx context.Context, w *nodeWrite) error {
	pod, err := written[*corev1.Pod](w)
	if err != nil {
		return err
	}
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; !ok {
		return w.forbid("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, w.node)
	}
	if pod.Spec.NodeName != w.node {
		return w.forbid("node %q can only create pods with spec.nodeName set to itself", w.node)
	}
	if err := p.owned(ctx, w, pod); err != nil {
		return err
	}
	what, err := referred(pod)
	switch {
	case err != nil:
		return w.forbid("error checking mirror pod for API references: %w", err)
	case what != "":
		return w.forbid("node %q can not create pods that reference %s", w.node, what)
	}
	return nil
}

// owned refuses a pod that does not belong to the Node, and to nothing else.
func (p NodeRestriction) owned(ctx context.Context, w *nodeWrite, pod *corev1.Pod) error {
	if len(pod.OwnerReferences) > 1 {
		return w.forbid("node %q can only create pods with a single owner reference set to itself", w.node)
	}
	if len(pod.OwnerReferences) == 0 {
		return w.forbid("node %q can only create pods with an owner reference set to itself", w.node)
	}
	owner := pod.OwnerReferences[0]
	switch {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != w.node:
		return w.forbid("node %q can only create pods with an owner reference set to itself", w.node)
	case owner.Controller == nil || !*owner.Controller:
		return w.forbid("node %q can only create pods with a controller owner reference set to itself", w.node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return w.forbid("node %q must not set blockOwnerDeletion on an owner reference", w.node)
	}
	found, err := p.Node(ctx, w.node)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return w.forbid("error looking up node %s to verify uid: %v", w.node, err)
	case owner.UID != found.UID:
		return w.forbid("node %s UID mismatch: expected %s got %s", w.node, owner.UID, found.UID)
	}
	return nil
}

// referred names the resource of an object that a pod refers to, or "".
func referred(pod *corev1.Pod) (string, error) {
	refers := map[node.Kind]bool{}
	for kind := range node.References(pod) {
		refers[kind] = true
	}
	switch {
	case refers[node.ServiceAccount]:
		return "serviceaccounts", nil
	case refers[node.Secret]:
		return "secrets", nil
	case refers[node.ConfigMap]:
		return "configmaps", nil
	case len(pod.Spec.ResourceClaims) > 0:
		return "resourceclaims", nil
	}
	for i := range pod.Spec.Volumes {
		if what, err := referredByVolume(&pod.Spec.Volumes[i]); what != "" || err != nil {
			return what, err
		}
	}
	return "", nil
}

// referredByVolume knows every type of volume, so that a new one is refused.
func referredByVolume(v *corev1.Volume) (string, error) {
	switch {
	case v.AWSElasticBlockStore != nil, v.AzureDisk != nil, v.CephFS != nil, v.Cinder != nil, v.DownwardAPI != nil,
		v.EmptyDir != nil, v.FC != nil, v.FlexVolume != nil, v.Flocker != nil, v.GCEPersistentDisk != nil, v.GitRepo != nil,
		v.HostPath != nil, v.Image != nil, v.ISCSI != nil, v.NFS != nil, v.PhotonPersistentDisk != nil, v.PortworxVolume != nil,
		v.Quobyte != nil, v.RBD != nil, v.ScaleIO != nil, v.StorageOS != nil, v.VsphereVolume != nil:
		return "", nil
	case v.ConfigMap != nil:
		return "configmaps (via configmap volumes)", nil
	case v.Secret != nil:
		return "secrets (via secret volumes)", nil
	case v.CSI != nil:
		return "csidrivers (via CSI volumes)", nil
	case v.Glusterfs != nil:
		return "endpoints (via glusterFS volumes)", nil
	case v.PersistentVolumeClaim != nil:
		return "persistentvolumeclaims", nil
	case v.Ephemeral != nil:
		return "persistentvolumeclaims (via ephemeral volumes)", nil
	case v.AzureFile != nil:
		return "secrets (via azureFile volumes)", nil
	case v.Projected == nil:
		return "", fmt.Errorf("unknown volume type for volume  %q", v.Name)
	}
	for _, s := range v.Projected.Sources {
		switch {
		case s.ConfigMap != nil:
			return "configmaps (via projected volumes)", nil
		case s.Secret != nil:
			return "secrets (via projected volumes)", nil
		case s.ServiceAccountToken != nil:
			return "serviceaccounts (via projected volumes)", nil
		case s.ClusterTrustBundle != nil:
			return "clustertrustbundles", nil
		case s.PodCertificate != nil:
			return "podcertificates", nil
		case s.DownwardAPI == nil:
			return "", fmt.Errorf("unknown source for projected volume %q", v.Name)
		}
	}
	return "", nil
}

// podStatus lets a node report on a pod, but not claim anything for it.
func podStatus(w *nodeWrite) error {
	if w.GetOperation() != admission.Update {
		return w.forbid("unexpected operation %q", w.GetOperation())
	}
	old, err := stored[*corev1.Pod](w)
	if err != nil {
		return err
	}
	if old.Spec.NodeName != w.node {
		return w.forbid("node %q can only update pod status for pods with spec.nodeName set to itself", w.node)
	}
	pod, err := written[*corev1.Pod](w)
	if err != nil {
		return err
	}
	same := equality.Semantic.DeepEqual
	switch {
	case !labels.Equals(old.Labels, pod.Labels):
		return w.forbid("node %q cannot update labels through pod status", w.node)
	case !same(old.Status.ResourceClaimStatuses, pod.Status.ResourceClaimStatuses):
		return w.forbid("node %q cannot update resource claim statues", w.node)
	case !same(old.Status.ExtendedResourceClaimStatus, pod.Status.ExtendedResourceClaimStatus):
		return w.forbid("node %q cannot update extended resource claim status", w.node)
	case !same(old.Status.NodeAllocatableResourceClaimStatuses, pod.Status.NodeAllocatableResourceClaimStatuses):
		return w.forbid("node %q cannot update node allocatable resource claim statuses", w.node)
	}
	return nil
}

// eviction lets a node evict a pod. The name in the path counts, and only without
// one that in the object.
func (p NodeRestriction) eviction(ctx context.Context, w *nodeWrite) error {
	if w.GetOperation() != admission.Create {
		return w.forbid("unexpected operation %s", w.GetOperation())
	}
	eviction, err := written[*policyv1.Eviction](w)
	if err != nil {
		return err
	}
	name := w.GetName()
	if name == "" {
		name = eviction.Name
	}
	if name == "" {
		return w.forbid("could not determine pod from request data")
	}
	pod, err := p.Pod(ctx, w.GetNamespace(), name)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return admission.NewForbidden(w, err)
	case pod.Spec.NodeName != w.node:
		return w.forbid("node %s can only evict pods with spec.nodeName set to itself", w.node)
	}
	return nil
}

// ownNode lets a node write its own Node, but not in a way that would bring it
// pods that are meant for others.
func (NodeRestriction) ownNode(_ context.Context, w *nodeWrite) error {
	if name := w.GetName(); name != w.node {
		return w.forbid("node %q is not allowed to modify node %q", w.node, name)
	}
	switch w.GetOperation() {
	case admission.Create:
		obj, err := written[*corev1.Node](w)
		if err != nil {
			return err
		}
		if configSource(obj) != nil {
			return w.forbid("node %q is not allowed to create pods with a non-nil configSource", w.node)
		}
		if denied := deniedLabels(obj.Labels, nil); len(denied) > 0 {
			return w.forbid("node %q is not allowed to set the following labels: %s", w.node, strings.Join(denied, ", "))
		}
	case admission.Update:
		return changedNode(w)
	}
	return nil
}

func changedNode(w *nodeWrite) error {
	obj, err := written[*corev1.Node](w)
	if err != nil {
		return err
	}
	old, err := stored[*corev1.Node](w)
	if err != nil {
		return err
	}
	same := equality.Semantic.DeepEqual
	switch {
	case configSource(obj) != nil && !same(configSource(obj), configSource(old)):
		return w.forbid("node %q is not allowed to update configSource to a new non-nil configSource", w.node)
	case !same(obj.Spec.Taints, old.Spec.Taints):
		return w.forbid("node %q is not allowed to modify taints", w.node)
	case !same(obj.OwnerReferences, old.OwnerReferences):
		return w.forbid("node %q is not allowed to modify ownerReferences", w.node)
	}
	if denied := deniedLabels(obj.Labels, old.Labels); len(denied) > 0 {
		return w.forbid("is not allowed to modify labels: %s", strings.Join(denied, ", "))
	}
	return nil
}

// configSource returns where kubelets before 1.24 had their configuration from.
func configSource(n *corev1.Node) *corev1.NodeConfigSource {
	//lint:ignore SA1019 no kubelet reads it any more, and it is refused as upstream does
	return n.Spec.ConfigSource
}

// deniedLabels returns the keys of labels that differ, and that a node may not
// set, change or remove.
func deniedLabels(a, b map[string]string) []string {
	var denied []string
	for _, labels := range []map[string]string{a, b} {
		for key := range labels {
			was, had := a[key]
			is, has := b[key]
			if (had != has || was != is) && !nodeLabel(key) {
				denied = append(denied, key)
			}
		}
	}
	slices.Sort(denied)
	return slices.Compact(denied)
}

// nodeLabel reports whether nodes may have a say in the label: it belongs to no
// domain of Kubernetes, or it is one that kubelets set (k8s.io/kubelet/pkg/apis).
func nodeLabel(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found {
		return true
	}
	of := func(parent string) bool { return domain == parent || strings.HasSuffix(domain, "."+parent) }
	switch {
	case of(corev1.LabelNamespaceNodeRestriction):
		return false
	case !of("kubernetes.io") && !of("k8s.io"):
		return true
	}
	return of(corev1.LabelNamespaceSuffixKubelet) || of(corev1.LabelNamespaceSuffixNode) || slices.Contains(kubeletLabels(), key)
}

func kubeletLabels() []string {
	return []string{
		corev1.LabelHostname, corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
		corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
		corev1.LabelInstanceType, corev1.LabelInstanceTypeStable, corev1.LabelOSStable, corev1.LabelArchStable,
		"beta.kubernetes.io/os", "beta.kubernetes.io/arch",
	}
}
