package admission_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	ours "gatehouse.dev/gatehouse/internal/admission"
)

func kubelet(name string) *identity.Identity {
	return &identity.Identity{Name: "system:node:" + name, Groups: []string{"system:nodes"}}
}

// audiences authorizes "AUDIENCE NAMESPACE/SERVICEACCOUNT" for node n1.
type audiences []string

func (as audiences) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	for _, known := range as {
		switch {
		case known == "error":
			return authz.Answer{}, errors.New("the store is away")
		case a.User.Name == "system:node:n1" && a.IsResource && a.APIGroup == "" && a.APIVersion == "v1" &&
			a.Verb == "request-serviceaccounts-token-audience" && known == a.Resource+" "+a.Namespace+"/"+a.Name:
			return authz.Answer{Verdict: authz.Allow}, nil
		}
	}
	return authz.Answer{}, nil
}

// restriction is the plugin in a world with the nodes n1, n2 and, out of reach,
// broken, and the pods web on n1, other on n2, and pending on none.
func restriction(granted ...string) ours.NodeRestriction {
	pods := map[string]*corev1.Pod{"web": running("n1"), "other": running("n2"), "pending": running("")}
	return ours.NodeRestriction{
		Authorizer: audiences(granted),
		Pod: func(_ context.Context, namespace, name string) (*corev1.Pod, error) {
			if name == "broken" {
				return nil, errors.New("the store is away")
			}
			if pod := pods[name]; pod != nil && namespace == "ns" {
				return pod, nil
			}
			return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
		},
		Node: func(_ context.Context, name string) (*corev1.Node, error) {
			switch name {
			case "broken":
				return nil, errors.New("the store is away")
			case "n1", "n2":
				return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}}, nil
			}
			return nil, apierrors.NewNotFound(corev1.Resource("nodes"), name)
		},
	}
}

func running(node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "pod-uid", Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{NodeName: node, ServiceAccountName: "sa", Volumes: []corev1.Volume{
			{Name: "nothing", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "vault"}}),
		}},
	}
}

func projected(sources ...corev1.VolumeProjection) corev1.Volume {
	return volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}})
}

func volume(s corev1.VolumeSource) corev1.Volume { return corev1.Volume{Name: "v", VolumeSource: s} }

// edit returns what change makes of a copy of an object.
func edit[T interface{ DeepCopy() T }](obj T, changes ...func(T)) T {
	obj = obj.DeepCopy()
	for _, change := range changes {
		change(obj)
	}
	return obj
}

// A nodeCase is a write by node n1, unless it says who.
type nodeCase struct {
	name string
	write
	code int32
	want string
}

func (tt nodeCase) run(t *testing.T, p ours.Plugin) {
	t.Run(tt.name, func(t *testing.T) {
		w := tt.write
		if !w.anotherKindOfCaller {
			w.who, w.anotherKindOfCaller = kubelet("n1"), true
		}
		expect(t, w.judge(t, p), tt.code, tt.want)
	})
}

func by(who *identity.Identity, w write) write {
	w.who, w.anotherKindOfCaller = who, true
	return w
}

// Who is restricted.
func TestRestrictedNodes(t *testing.T) {
	node := func(name string) write {
		return write{kind: corev1.SchemeGroupVersion.WithKind("Node"), resource: "nodes", name: name, op: admission.Create, obj: &corev1.Node{}}
	}
	const refusal = `is not allowed to modify node "n1"`
	for _, tt := range []nodeCase{
		{"the node", by(kubelet("n1"), node("n1")), 0, ""},
		{"a person", by(&identity.Identity{Name: "jane"}, node("n1")), 0, ""},
		{"the name without the group", by(&identity.Identity{Name: "system:node:n2", Groups: []string{"dev"}}, node("n1")), 0, ""},
		{"the group without the name", by(&identity.Identity{Name: "n2", Groups: []string{"system:nodes"}}, node("n1")), 0, ""},
		{"an administrator who is a node", by(&identity.Identity{Name: "system:node:n2", Groups: []string{"system:masters", "system:nodes"}}, node("n1")), 403, refusal},
		{"another node", by(kubelet("n2"), node("n1")), 403, refusal},
		{"a node in other letters", by(kubelet("N1"), node("n1")), 403, refusal},
		{"a node without a name", by(kubelet(""), node("")), 403, `could not determine node from user "system:node:"`},
	} {
		tt.run(t, restriction())
	}
	nobody := node("n1")
	nobody.anotherKindOfCaller = true
	expect(t, nobody.judge(t, restriction()), 500, "without an authenticated caller")
	for _, w := range []write{
		{kind: rbacv1.SchemeGroupVersion.WithKind("Role"), resource: "roles", op: admission.Create},
		{kind: corev1.SchemeGroupVersion.WithKind("Event"), resource: "events", op: admission.Create},
		{kind: corev1.SchemeGroupVersion.WithKind("Pod"), resource: "pods", sub: "exec", op: admission.Connect},
	} {
		expect(t, by(kubelet("n1"), w).judge(t, restriction()), 0, "")
	}
}

func TestNodeRestrictionOfNodes(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	source := &corev1.NodeConfigSource{ConfigMap: &corev1.ConfigMapNodeConfigSource{Name: "c"}}
	label := func(keys ...string) *corev1.Node {
		return edit(node, func(n *corev1.Node) {
			n.Labels = map[string]string{}
			for _, key := range keys {
				n.Labels[key] = "x"
			}
		})
	}
	kind := corev1.SchemeGroupVersion.WithKind("Node")
	create := func(obj runtime.Object) write {
		return write{kind: kind, resource: "nodes", name: "n1", op: admission.Create, obj: obj}
	}
	update := func(old, obj runtime.Object) write {
		return write{kind: kind, resource: "nodes", name: "n1", op: admission.Update, old: old, obj: obj}
	}
	status := func(old, obj runtime.Object) write {
		w := update(old, obj)
		w.sub = "status"
		return w
	}
	named := func(name string, w write) write {
		w.name = name
		return w
	}
	//lint:ignore SA1019 what no kubelet reads any more is refused all the same
	configured := edit(node, func(n *corev1.Node) { n.Spec.ConfigSource = source })
	tainted := edit(node, func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}} })
	retainted := edit(tainted, func(n *corev1.Node) { n.Spec.Taints[0].Effect = corev1.TaintEffectNoExecute })
	emptied := edit(node, func(n *corev1.Node) { n.Spec.Taints, n.OwnerReferences = []corev1.Taint{}, []metav1.OwnerReference{} })
	owned := edit(node, func(n *corev1.Node) {
		n.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p"}}
	})
	reported := edit(node, func(n *corev1.Node) { n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady}} })
	const changedLabel = "is not allowed to modify labels: "
	for _, tt := range []nodeCase{
		{"create", create(node), 0, ""},
		{"create with its own labels", create(label("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
			"node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
			"failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region", "kubelet.kubernetes.io/x", "a.kubelet.kubernetes.io/x",
			"node.kubernetes.io/x", "a.node.kubernetes.io/x", "example.org/x", "plain", "notkubernetes.io/x", "k8s.io.example.org/x")), 0, ""},
		{"create with taints", create(tainted), 0, ""},
		{"create another", named("n2", create(node)), 403, `node "n1" is not allowed to modify node "n2"`},
		{"create something else", create(&corev1.Pod{}), 403, "unexpected type *v1.Pod"},
		{"create nothing", create(nil), 403, "unexpected type <nil>"},
		{"create with a configuration", create(configured), 403, `node "n1" is not allowed to create pods with a non-nil configSource`},
		{"create with a restricted label", create(label("node-restriction.kubernetes.io/x")), 403, `node "n1" is not allowed to set the following labels: node-restriction.kubernetes.io/x`},
		{"create with a restricted label below", create(label("a.node-restriction.kubernetes.io/x")), 403, "labels: a.node-restriction.kubernetes.io/x"},
		{"create with labels of Kubernetes", create(label("kubernetes.io/x", "a.k8s.io/y", "k8s.io/z", "plain", "foo.kubernetes.io/a")), 403, "labels: a.k8s.io/y, foo.kubernetes.io/a, k8s.io/z, kubernetes.io/x"},
		{"create as a master", create(label("node-role.kubernetes.io/control-plane")), 403, "labels: node-role.kubernetes.io/control-plane"},
		{"create with a label that looks like its own", create(label("xkubelet.kubernetes.io/x")), 403, "labels: xkubelet.kubernetes.io/x"},

		{"update", update(node, reported), 0, ""},
		{"update labels", update(label("a", "kubernetes.io/os"), label("b", "kubernetes.io/arch")), 0, ""},
		{"update beside a restricted label", update(label("node-restriction.kubernetes.io/x"), label("node-restriction.kubernetes.io/x", "a")), 0, ""},
		{"update with the same taints", update(tainted, edit(tainted, func(n *corev1.Node) { n.Spec.Unschedulable = true })), 0, ""},
		{"update of nothing to nothing", update(node, emptied), 0, ""},
		{"update with the same configuration", update(configured, configured), 0, ""},
		{"update without the configuration", update(configured, node), 0, ""},
		{"update of the status", status(node, reported), 0, ""},
		{"update another", named("n2", update(node, node)), 403, `is not allowed to modify node "n2"`},
		{"update the status of another", named("n2", status(node, reported)), 403, `is not allowed to modify node "n2"`},
		{"update something else", update(node, &corev1.Pod{}), 403, "unexpected type *v1.Pod"},
		{"update from something else", update(&corev1.Pod{}, node), 403, "unexpected type *v1.Pod"},
		{"update the configuration", update(node, configured), 403, `node "n1" is not allowed to update configSource to a new non-nil configSource`},
		{"add a taint", update(node, tainted), 403, `node "n1" is not allowed to modify taints`},
		{"remove a taint", update(tainted, node), 403, `node "n1" is not allowed to modify taints`},
		{"change a taint", update(tainted, retainted), 403, `node "n1" is not allowed to modify taints`},
		{"remove a taint by the status", status(tainted, node), 403, `node "n1" is not allowed to modify taints`},
		{"add an owner", update(node, owned), 403, `node "n1" is not allowed to modify ownerReferences`},
		{"remove an owner", update(owned, node), 403, `node "n1" is not allowed to modify ownerReferences`},
		{"add a restricted label", update(node, label("node-restriction.kubernetes.io/x")), 403, changedLabel + "node-restriction.kubernetes.io/x"},
		{"remove a restricted label", update(label("node-restriction.kubernetes.io/x"), node), 403, changedLabel + "node-restriction.kubernetes.io/x"},
		{"change a restricted label", update(label("node-restriction.kubernetes.io/x"), edit(label("node-restriction.kubernetes.io/x"), func(n *corev1.Node) {
			n.Labels["node-restriction.kubernetes.io/x"] = ""
		})), 403, changedLabel + "node-restriction.kubernetes.io/x"},
		{"change labels of Kubernetes", update(label("kubernetes.io/x", "a"), label("k8s.io/y", "b")), 403, changedLabel + "k8s.io/y, kubernetes.io/x"},
		{"add a label by the status", status(node, label("kubernetes.io/x")), 403, changedLabel + "kubernetes.io/x"},

		{"delete", write{kind: kind, resource: "nodes", name: "n1", op: admission.Delete, old: node}, 0, ""},
		{"delete another", write{kind: kind, resource: "nodes", name: "n2", op: admission.Delete, old: node}, 403, `is not allowed to modify node "n2"`},
		{"delete all", write{kind: kind, resource: "nodes", op: admission.Delete, old: node}, 403, `is not allowed to modify node ""`},
	} {
		tt.run(t, restriction())
	}
}

func TestNodeRestrictionOfPods(t *testing.T) {
	yes, no := true, false
	mirror := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "static-n1", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "hash"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "uid-n1", Controller: &yes, BlockOwnerDeletion: &no}},
		},
		Spec: corev1.PodSpec{NodeName: "n1", Volumes: []corev1.Volume{
			volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}), volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
			projected(corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{}}),
		}},
	}
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	create := func(change func(*corev1.Pod)) write {
		return write{kind: kind, namespace: "ns", name: "static-n1", resource: "pods", op: admission.Create, obj: edit(mirror, change)}
	}
	owner := func(change func(*metav1.OwnerReference)) write {
		return create(func(p *corev1.Pod) { change(&p.OwnerReferences[0]) })
	}
	with := func(s corev1.VolumeSource) write {
		return create(func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, volume(s)) })
	}
	withSource := func(s corev1.VolumeProjection) write {
		return create(func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, projected(s)) })
	}
	container := func(c corev1.Container) write {
		return create(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{c} })
	}
	on := func(op admission.Operation, sub string, old, obj runtime.Object) write {
		return write{kind: kind, namespace: "ns", name: "web", resource: "pods", sub: sub, op: op, old: old, obj: obj}
	}
	status := func(old *corev1.Pod, change func(*corev1.Pod)) write {
		return on(admission.Update, "status", old, edit(old, change))
	}
	named := func(name string, w write) write {
		w.name = name
		return w
	}
	ref := corev1.LocalObjectReference{Name: "x"}
	const notOwned, cannot = `node "n1" can only create pods with an owner reference set to itself`, `node "n1" can not create pods that reference `
	claim := "gpu"
	claimed := edit(running("n1"), func(p *corev1.Pod) {
		p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "a", ResourceClaimName: &claim}}
		p.Status.ExtendedResourceClaimStatus = &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: "b"}
		p.Status.NodeAllocatableResourceClaimStatuses = []corev1.NodeAllocatableResourceClaimStatus{{ResourceClaimName: "c"}}
	})
	for _, tt := range []nodeCase{
		{"create", create(func(*corev1.Pod) {}), 0, ""},
		{"create, not blocking by silence", owner(func(o *metav1.OwnerReference) { o.BlockOwnerDeletion = nil }), 0, ""},
		{"create something else", on(admission.Create, "", nil, &corev1.Node{}), 403, "unexpected type *v1.Node"},
		{"create no mirror", create(func(p *corev1.Pod) { p.Annotations = nil }), 403, `pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods`},
		{"create on another", create(func(p *corev1.Pod) { p.Spec.NodeName = "n2" }), 403, `node "n1" can only create pods with spec.nodeName set to itself`},
		{"create on none", create(func(p *corev1.Pod) { p.Spec.NodeName = "" }), 403, "with spec.nodeName set to itself"},
		{"create with two owners", create(func(p *corev1.Pod) { p.OwnerReferences = append(p.OwnerReferences, p.OwnerReferences[0]) }), 403, `node "n1" can only create pods with a single owner reference set to itself`},
		{"create with no owner", create(func(p *corev1.Pod) { p.OwnerReferences = nil }), 403, notOwned},
		{"create owned by another node", owner(func(o *metav1.OwnerReference) { o.Name = "n2" }), 403, notOwned},
		{"create owned by a pod", owner(func(o *metav1.OwnerReference) { o.Kind = "Pod" }), 403, notOwned},
		{"create owned by another group", owner(func(o *metav1.OwnerReference) { o.APIVersion = "a/v1" }), 403, notOwned},
		{"create not controlled", owner(func(o *metav1.OwnerReference) { o.Controller = &no }), 403, `node "n1" can only create pods with a controller owner reference set to itself`},
		{"create not controlled by silence", owner(func(o *metav1.OwnerReference) { o.Controller = nil }), 403, "with a controller owner reference set to itself"},
		{"create that blocks", owner(func(o *metav1.OwnerReference) { o.BlockOwnerDeletion = &yes }), 403, `node "n1" must not set blockOwnerDeletion on an owner reference`},
		{"create owned by an older node", owner(func(o *metav1.OwnerReference) { o.UID = "old" }), 403, "node n1 UID mismatch: expected old got uid-n1"},
		{"create owned by no UID", owner(func(o *metav1.OwnerReference) { o.UID = "" }), 403, "node n1 UID mismatch"},
		{"create of a node that is not there", by(kubelet("n3"), create(func(p *corev1.Pod) { p.Spec.NodeName, p.OwnerReferences[0].Name = "n3", "n3" })), 404, `nodes "n3" not found`},
		{"create while the store fails", by(kubelet("broken"), create(func(p *corev1.Pod) { p.Spec.NodeName, p.OwnerReferences[0].Name = "broken", "broken" })), 403, "error looking up node broken to verify uid: the store is away"},
		{"create with a service account", create(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "sa" }), 403, cannot + "serviceaccounts"},
		{"create with a pull secret", create(func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{ref} }), 403, cannot + "secrets"},
		{"create with a secret in a variable", container(corev1.Container{Env: []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref}}}}}), 403, cannot + "secrets"},
		{"create with secrets as variables", container(corev1.Container{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}), 403, cannot + "secrets"},
		{"create with a config map in a variable", container(corev1.Container{Env: []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref}}}}}), 403, cannot + "configmaps"},
		{"create with config maps as variables", container(corev1.Container{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref}}}}), 403, cannot + "configmaps"},
		{"create with a resource claim", create(func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu"}} }), 403, cannot + "resourceclaims"},
		{"create with a secret", with(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}), 403, cannot + "secrets"},
		{"create with a secret without a name", with(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}), 403, cannot + "secrets (via secret volumes)"},
		{"create with a config map without a name", with(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}), 403, cannot + "configmaps (via configmap volumes)"},
		{"create with a share without a secret", with(corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{}}), 403, cannot + "secrets (via azureFile volumes)"},
		{"create with a driver", with(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "d"}}), 403, cannot + "csidrivers (via CSI volumes)"},
		{"create with endpoints", with(corev1.VolumeSource{Glusterfs: &corev1.GlusterfsVolumeSource{}}), 403, cannot + "endpoints (via glusterFS volumes)"},
		{"create with a claim", with(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}), 403, cannot + "persistentvolumeclaims"},
		{"create with a claim of its own", with(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}), 403, cannot + "persistentvolumeclaims (via ephemeral volumes)"},
		{"create with nothing in a volume", with(corev1.VolumeSource{}), 403, `error checking mirror pod for API references: unknown volume type for volume  "v"`},
		{"create with a token", withSource(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}), 403, cannot + "serviceaccounts (via projected volumes)"},
		{"create with a projected secret", withSource(corev1.VolumeProjection{Secret: &corev1.SecretProjection{}}), 403, cannot + "secrets (via projected volumes)"},
		{"create with a projected config map", withSource(corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{}}), 403, cannot + "configmaps (via projected volumes)"},
		{"create with trust", withSource(corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{}}), 403, cannot + "clustertrustbundles"},
		{"create with a certificate", withSource(corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{}}), 403, cannot + "podcertificates"},
		{"create with an unknown source", withSource(corev1.VolumeProjection{}), 403, `unknown source for projected volume "v"`},

		{"delete", on(admission.Delete, "", running("n1"), nil), 0, ""},
		{"delete of another", on(admission.Delete, "", running("n2"), nil), 403, `node "n1" can only delete pods with spec.nodeName set to itself`},
		{"delete of none", on(admission.Delete, "", running(""), nil), 403, "can only delete pods with spec.nodeName set to itself"},
		{"delete of something else", on(admission.Delete, "", nil, nil), 403, "unexpected type <nil>"},
		{"update", on(admission.Update, "", running("n1"), running("n1")), 403, `unexpected operation "UPDATE", node "n1" can only create and delete mirror pods`},
		{"update a part", on(admission.Update, "ephemeralcontainers", running("n1"), running("n1")), 403, `unexpected pod subresource "ephemeralcontainers", only 'status' and 'eviction' are allowed`},
		{"bind", on(admission.Create, "binding", nil, &corev1.Binding{}), 403, `unexpected pod subresource "binding"`},

		{"report", status(running("n1"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), 0, ""},
		{"report with the same claims", status(claimed, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), 0, ""},
		{"report no claims as an empty list", status(running("n1"), func(p *corev1.Pod) { p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{} }), 0, ""},
		{"report on another", status(running("n2"), func(*corev1.Pod) {}), 403, `node "n1" can only update pod status for pods with spec.nodeName set to itself`},
		{"report on a pod that it takes to itself", on(admission.Update, "status", running("n2"), running("n1")), 403, "can only update pod status for pods with spec.nodeName set to itself"},
		{"report on something else", on(admission.Update, "status", nil, running("n1")), 403, "unexpected type <nil>"},
		{"report something else", on(admission.Update, "status", running("n1"), &corev1.Node{}), 403, "unexpected type *v1.Node"},
		{"report by another operation", on(admission.Create, "status", nil, running("n1")), 403, `unexpected operation "CREATE"`},
		{"report labels", status(running("n1"), func(p *corev1.Pod) { p.Labels["a"] = "b" }), 403, `node "n1" cannot update labels through pod status`},
		{"report no labels", status(running("n1"), func(p *corev1.Pod) { p.Labels = nil }), 403, "cannot update labels through pod status"},
		{"report a claim", status(running("n1"), func(p *corev1.Pod) { p.Status.ResourceClaimStatuses = claimed.Status.ResourceClaimStatuses }), 403, `node "n1" cannot update resource claim statues`},
		{"report another claim", status(claimed, func(p *corev1.Pod) { p.Status.ResourceClaimStatuses[0].ResourceClaimName = nil }), 403, "cannot update resource claim statues"},
		{"report an extended claim", status(running("n1"), func(p *corev1.Pod) { p.Status.ExtendedResourceClaimStatus = claimed.Status.ExtendedResourceClaimStatus }), 403, `node "n1" cannot update extended resource claim status`},
		{"report no extended claim", status(claimed, func(p *corev1.Pod) { p.Status.ExtendedResourceClaimStatus = nil }), 403, "cannot update extended resource claim status"},
		{"report an allocatable claim", status(claimed, func(p *corev1.Pod) {
			q := resource.MustParse("1")
			p.Status.NodeAllocatableResourceClaimStatuses[0].Mapping = []corev1.NodeAllocatableMappedResources{{Name: "cpu", Quantity: &q}}
		}), 403, `node "n1" cannot update node allocatable resource claim statuses`},

		{"evict", on(admission.Create, "eviction", nil, &policyv1.Eviction{}), 0, ""},
		{"evict by the name in the object", named("", on(admission.Create, "eviction", nil, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web"}})), 0, ""},
		{"evict the one in the path", named("other", on(admission.Create, "eviction", nil, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web"}})), 403, "node n1 can only evict pods with spec.nodeName set to itself"},
		{"evict from another", named("other", on(admission.Create, "eviction", nil, &policyv1.Eviction{})), 403, "node n1 can only evict pods with spec.nodeName set to itself"},
		{"evict from none", named("pending", on(admission.Create, "eviction", nil, &policyv1.Eviction{})), 403, "can only evict pods with spec.nodeName set to itself"},
		{"evict nobody", named("", on(admission.Create, "eviction", nil, &policyv1.Eviction{})), 403, "could not determine pod from request data"},
		{"evict what is not there", named("none", on(admission.Create, "eviction", nil, &policyv1.Eviction{})), 404, `pods "none" not found`},
		{"evict while the store fails", named("broken", on(admission.Create, "eviction", nil, &policyv1.Eviction{})), 403, "the store is away"},
		{"evict by something else", on(admission.Create, "eviction", nil, &corev1.Pod{}), 403, "unexpected type *v1.Pod"},
		{"evict by another operation", on(admission.Update, "eviction", nil, nil), 403, "unexpected operation UPDATE"},
	} {
		tt.run(t, restriction())
	}
}

func TestNodeRestrictionOfTokens(t *testing.T) {
	bound := func(name string, uid types.UID) *authenticationv1.BoundObjectReference {
		return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: name, UID: uid}
	}
	web := bound("web", "pod-uid")
	kind := corev1.SchemeGroupVersion.WithKind("TokenRequest")
	request := func(ref *authenticationv1.BoundObjectReference, audiences ...string) write {
		return write{
			kind: kind, namespace: "ns", name: "sa", resource: "serviceaccounts", sub: "token", op: admission.Create,
			obj: &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref, Audiences: audiences}},
		}
	}
	const unbound = "node requested token not bound to a pod"
	for _, tt := range []struct {
		granted []string
		nodeCase
	}{
		{nil, nodeCase{"for an audience of the pod", request(web, "vault"), 0, ""}},
		{nil, nodeCase{"of another, by a person", by(&identity.Identity{Name: "jane"}, request(bound("other", "pod-uid"), "a", "b")), 0, ""}},
		{[]string{"mine ns/sa"}, nodeCase{"for an audience that is granted", request(web, "mine"), 0, ""}},
		{[]string{" ns/sa"}, nodeCase{"for the default audience, granted", request(web), 0, ""}},
		{nil, nodeCase{"for the default audience", request(web), 403, `system:node:n1 is not authorized to request tokens for audience ""`}},
		{nil, nodeCase{"for another audience", request(web, "mine"), 403, `system:node:n1 is not authorized to request tokens for audience "mine"`}},
		{nil, nodeCase{"for two audiences of the pod", request(web, "vault", "vault"), 403, "node may only request 0 or 1 audiences"}},
		{[]string{"mine ns/other"}, nodeCase{"for an audience that is granted to another account", request(web, "mine"), 403, "is not authorized"}},
		{[]string{"mine else/sa"}, nodeCase{"for an audience that is granted elsewhere", request(web, "mine"), 403, "is not authorized"}},
		{[]string{"error"}, nodeCase{"while the authorizer fails", request(web, "mine"), 403, `error authorizing system:node:n1 to request tokens for audience "mine": the store is away`}},
		{nil, nodeCase{"not bound", request(nil, "vault"), 403, unbound}},
		{nil, nodeCase{"bound to a secret", request(&authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: "web", UID: "pod-uid"}, "vault"), 403, unbound}},
		{nil, nodeCase{"bound to itself", request(&authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "uid-n1"}, "vault"), 403, unbound}},
		{nil, nodeCase{"bound to a pod of another version", request(&authenticationv1.BoundObjectReference{APIVersion: "v2", Kind: "Pod", Name: "web", UID: "pod-uid"}, "vault"), 403, unbound}},
		{nil, nodeCase{"bound to a pod without a name", request(bound("", "pod-uid"), "vault"), 403, unbound}},
		{nil, nodeCase{"bound to a pod without a UID", request(bound("web", ""), "vault"), 403, "node requested token with a pod binding without a uid"}},
		{nil, nodeCase{"bound to an older pod", request(bound("web", "old"), "vault"), 403, "the UID in the bound object reference (old) does not match the UID in record"}},
		{nil, nodeCase{"bound to a pod elsewhere", request(bound("other", "pod-uid"), "vault"), 403, "node requested token bound to a pod scheduled on a different node"}},
		{nil, nodeCase{"bound to a pod that waits", request(bound("pending", "pod-uid"), "vault"), 403, "scheduled on a different node"}},
		{nil, nodeCase{"bound to no pod", request(bound("none", "pod-uid"), "vault"), 404, `pods "none" not found`}},
		{nil, nodeCase{"while the store fails", request(bound("broken", "pod-uid"), "vault"), 403, "the store is away"}},
	} {
		tt.run(t, restriction(tt.granted...))
	}
	wrong := request(web, "vault")
	wrong.obj = &corev1.Pod{}
	nodeCase{"something else", wrong, 403, "unexpected type *v1.Pod"}.run(t, restriction())
	account := write{kind: corev1.SchemeGroupVersion.WithKind("ServiceAccount"), namespace: "ns", name: "sa", resource: "serviceaccounts", op: admission.Create, obj: &corev1.ServiceAccount{}}
	nodeCase{"an account, which no authorizer lets a node make", account, 0, ""}.run(t, restriction())
}

func TestNodeRestrictionOfLeases(t *testing.T) {
	kind := coordinationv1.SchemeGroupVersion.WithKind("Lease")
	on := func(op admission.Operation, namespace, name string, obj runtime.Object) write {
		return write{kind: kind, namespace: namespace, name: name, resource: "leases", op: op, obj: obj}
	}
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	const name = "can only access node lease with the same name as the requesting node"
	const place = `can only access leases in the "kube-node-lease" system namespace`
	for _, tt := range []nodeCase{
		{"create", on(admission.Create, "kube-node-lease", "", lease("n1")), 0, ""},
		{"update", on(admission.Update, "kube-node-lease", "n1", lease("n1")), 0, ""},
		{"delete", on(admission.Delete, "kube-node-lease", "n1", nil), 0, ""},
		{"create another's", on(admission.Create, "kube-node-lease", "n1", lease("n2")), 403, name},
		{"create elsewhere", on(admission.Create, "kube-system", "n1", lease("n1")), 403, place},
		{"create something else", on(admission.Create, "kube-node-lease", "n1", &corev1.Pod{}), 403, "unexpected type *v1.Pod"},
		{"update another's", on(admission.Update, "kube-node-lease", "n2", lease("n1")), 403, name},
		{"update elsewhere", on(admission.Update, "kube-system", "n1", lease("n1")), 403, place},
		{"delete another's", on(admission.Delete, "kube-node-lease", "n2", nil), 403, name},
		{"delete elsewhere", on(admission.Delete, "default", "n1", nil), 403, place},
		{"delete all", on(admission.Delete, "kube-node-lease", "", nil), 403, name},
	} {
		tt.run(t, restriction())
	}
}

// pkcs10 is a request for a certificate with that common name.
func pkcs10(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: []string{"system:nodes"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestNodeRestrictionOfCertificates(t *testing.T) {
	const client, serving = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
	kind := certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest")
	create := func(signer string, text []byte) write {
		return write{kind: kind, name: "r", resource: "certificatesigningrequests", op: admission.Create, obj: &certificatesv1.CertificateSigningRequest{
			Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer, Request: text},
		}}
	}
	const refusal = "can only create a node CSR with CN=system:node:n1"
	for _, tt := range []nodeCase{
		{"a client certificate", create(client, pkcs10(t, "system:node:n1")), 0, ""},
		{"a serving certificate", create(serving, pkcs10(t, "system:node:n1")), 0, ""},
		{"a certificate of another signer", create("example.org/any", pkcs10(t, "somebody")), 0, ""},
		{"a client certificate of a person", create("kubernetes.io/kube-apiserver-client", pkcs10(t, "jane")), 0, ""},
		{"the approval", write{kind: kind, name: "r", resource: "certificatesigningrequests", sub: "approval", op: admission.Update}, 0, ""},
		{"a client certificate of another", create(client, pkcs10(t, "system:node:n2")), 403, refusal},
		{"a serving certificate of another", create(serving, pkcs10(t, "system:node:n2")), 403, refusal},
		{"a client certificate of a person, as a node", create(client, pkcs10(t, "jane")), 403, refusal},
		{"a certificate of nobody", create(serving, pkcs10(t, "")), 403, refusal},
		{"a certificate of a node whose name goes on", create(client, pkcs10(t, "system:node:n10")), 403, refusal},
		{"no request", create(client, nil), 403, "unable to parse csr: no PEM block"},
		{"a broken request", create(client, []byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")), 403, "unable to parse csr"},
		{"something else", write{kind: kind, name: "r", resource: "certificatesigningrequests", op: admission.Create, obj: &corev1.Pod{}}, 403, "unexpected type *v1.Pod"},
	} {
		tt.run(t, restriction())
	}
}
