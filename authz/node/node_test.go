package node_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/node"
	"gatehouse.dev/gatehouse/identity"
)

func kubelet(name string) *identity.Identity {
	return &identity.Identity{Name: "system:node:" + name, Groups: []string{"system:nodes", "system:authenticated"}}
}

// parse reads what is asked for: "VERB [GROUP:]RESOURCE[/SUB] [NAMESPACE|]NAME ?SELECTOR",
// or "VERB /PATH".
func parse(t *testing.T, text string) authz.Attributes {
	t.Helper()
	text, selector, _ := strings.Cut(text, " ?")
	parts := strings.Fields(text)
	a := authz.Attributes{Verb: parts[0], FieldSelector: selector}
	if parts[1][0] == '/' {
		a.Path = parts[1]
		return a
	}
	a.IsResource, a.APIVersion = true, "v1"
	resource := parts[1]
	if group, rest, ok := strings.Cut(resource, ":"); ok {
		a.APIGroup, resource = group, rest
	}
	a.Resource, a.Subresource, _ = strings.Cut(resource, "/")
	if len(parts) > 2 {
		a.Name = parts[2]
		if namespace, name, ok := strings.Cut(parts[2], "|"); ok {
			a.Namespace, a.Name = namespace, name
		}
	}
	return a
}

func ask(t *testing.T, x *node.Index, user *identity.Identity, question string) string {
	t.Helper()
	a := parse(t, question)
	a.User = user
	answer, err := x.Authorize(t.Context(), &a)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case answer.Verdict == authz.Allow && answer.Why == nil:
		return "yes"
	case answer.Verdict == authz.NoOpinion:
		return answer.Reason()
	}
	return fmt.Sprintf("%v, because of %q", answer.Verdict, answer.Reason())
}

// web is a pod of node n1 that refers to one object of each kind.
func web() *corev1.Pod {
	claim := "gpu"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"},
		Spec: corev1.PodSpec{
			NodeName: "n1", ServiceAccountName: "sa",
			Volumes: []corev1.Volume{
				{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "secret"}}},
				{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}}}},
				{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}},
			},
			ResourceClaims: []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: &claim}},
		},
	}
}

const stranger = "no relationship found between node 'n1' and this object"

// What node n1 may do, whose only pod is web.
func TestRules(t *testing.T) {
	x := node.New()
	x.SetPod(web())
	const (
		readOnly     = "can only read resources of this type"
		noSub        = "cannot read subresource"
		namespaced   = "can only read namespaced object of this type"
		noName       = "No Object name found"
		getOnly      = "can only get individual resources of this type"
		getNoSub     = "cannot get subresource"
		accounts     = "can only create tokens for individual service accounts"
		tokenOnly    = "can only create token subresource of serviceaccount"
		leaseVerbs   = "can only get, create, update, patch, or delete a node lease"
		leasePlace   = `can only access leases in the "kube-node-lease" system namespace`
		leaseName    = "can only access node lease with the same name as the requesting node"
		csiVerbs     = "can only get, create, update, patch, or delete a CSINode"
		csiName      = "can only access CSINode with the same name as the requesting node"
		podSelector  = "can only list/watch pods with spec.nodeName field selector"
		sliceSelect  = "can only list/watch/deletecollection resourceslices with nodeName field selector"
		sliceVerbs   = "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection"
		certSelector = "can only list/watch podcertificaterequests with nodeName field selector"
	)
	for _, tt := range []struct{ question, want string }{
		{"get secrets ns|secret", "yes"},
		{"list secrets ns|secret", "yes"},
		{"watch secrets ns|secret", "yes"},
		{"get secrets ns|other", stranger},
		{"get secrets else|secret", stranger},
		{"get secrets ns|config", stranger},
		{"get secrets ns|sa", stranger},
		{"get other:secrets ns|secret", ""},
		{"list secrets ns|", noName},
		{"watch secrets ns|", noName},
		{"list secrets", namespaced},
		{"get secrets secret", namespaced},
		{"get secrets/status ns|secret", noSub},
		{"create secrets ns|secret", readOnly},
		{"update secrets ns|secret", readOnly},
		{"patch secrets ns|secret", readOnly},
		{"delete secrets ns|secret", readOnly},
		{"deletecollection secrets ns|secret", readOnly},

		{"get configmaps ns|config", "yes"},
		{"list configmaps ns|config", "yes"},
		{"watch configmaps ns|config", "yes"},
		{"get configmaps ns|secret", stranger},
		{"list configmaps ns|", noName},
		{"list configmaps", namespaced},
		{"get configmaps/x ns|config", noSub},
		{"update configmaps ns|config", readOnly},
		{"delete configmaps ns|config", readOnly},

		{"get serviceaccounts ns|sa", "yes"},
		{"create serviceaccounts/token ns|sa", "yes"},
		{"get serviceaccounts ns|default", stranger},
		{"get serviceaccounts sa", namespaced},
		{"get serviceaccounts ns|", noName},
		{"create serviceaccounts/token ns|default", stranger},
		{"create serviceaccounts/token ns|", accounts},
		{"create serviceaccounts/token sa", stranger},
		{"create serviceaccounts ns|sa", tokenOnly},
		{"create serviceaccounts/other ns|sa", tokenOnly},
		{"get serviceaccounts/token ns|sa", accounts},
		{"list serviceaccounts ns|sa", accounts},
		{"watch serviceaccounts ns|sa", accounts},
		{"update serviceaccounts ns|sa", accounts},
		{"delete serviceaccounts ns|sa", accounts},
		{"impersonate serviceaccounts ns|sa", accounts},

		{"get persistentvolumeclaims ns|claim", "yes"},
		{"update persistentvolumeclaims/status ns|claim", "yes"},
		{"patch persistentvolumeclaims/status ns|claim", "yes"},
		{"get persistentvolumeclaims ns|other", stranger},
		{"list persistentvolumeclaims ns|claim", getOnly},
		{"update persistentvolumeclaims ns|claim", getOnly},
		{"get persistentvolumeclaims/x ns|claim", getNoSub},
		{"get persistentvolumeclaims/status ns|claim", "can only get/update/patch this type"},
		{"update persistentvolumeclaims/status ns|other", stranger},
		{"get persistentvolumes volume", stranger},
		{"list persistentvolumes", getOnly},
		{"get storage.k8s.io:volumeattachments a", stranger},
		{"create storage.k8s.io:volumeattachments", getOnly},
		{"get resource.k8s.io:resourceclaims ns|gpu", "yes"},
		{"get resource.k8s.io:resourceclaims ns|other", stranger},
		{"get resource.k8s.io:resourceclaims ns|", noName},
		{"get resource.k8s.io:resourceclaims/status ns|gpu", getNoSub},
		{"update resource.k8s.io:resourceclaims ns|gpu", getOnly},

		{"create nodes", "yes"},
		{"get nodes n1", "yes"},
		{"list nodes n1", "yes"},
		{"watch nodes n1", "yes"},
		{"update nodes n1", "yes"},
		{"patch nodes n1", "yes"},
		{"update nodes/status n1", "yes"},
		{"patch nodes/status n1", "yes"},
		{"get nodes n2", "node 'n1' cannot read 'n2', only its own Node object"},
		{"watch nodes n2", "node 'n1' cannot read 'n2', only its own Node object"},
		{"list nodes", "node 'n1' cannot read all nodes, only its own Node object"},
		{"watch nodes", "node 'n1' cannot read all nodes, only its own Node object"},
		{"delete nodes n1", ""},
		{"deletecollection nodes", ""},
		{"get nodes/status n1", ""},
		{"get nodes/proxy n1", ""},

		{"get pods ns|web", "yes"},
		{"list pods ns|web", "yes"},
		{"watch pods ns|web", "yes"},
		{"list pods ?spec.nodeName=n1", "yes"},
		{"watch pods ns| ?status.phase=Running,spec.nodeName==n1", "yes"},
		{"create pods ns|", "yes"},
		{"delete pods ns|web", "yes"},
		{"update pods/status ns|web", "yes"},
		{"patch pods/status ns|web", "yes"},
		{"create pods/eviction ns|web", "yes"},
		{"get pods ns|other", stranger},
		{"get pods ns|", noName},
		{"list pods ns|other", stranger},
		{"list pods", podSelector},
		{"list pods ?spec.nodeName=n2", podSelector},
		{"list pods ?spec.nodeName!=n1", podSelector},
		{"list pods ?spec.nodeName=", podSelector},
		{"list pods ?spec.nodeName", podSelector},
		{"list pods ?metadata.name=n1", podSelector},
		{"update pods ns|web", ""},
		{"patch pods ns|web", ""},
		{"deletecollection pods ns| ?spec.nodeName=n1", ""},
		{"get pods/status ns|web", ""},
		{"get pods/log ns|web", ""},
		{"create pods/exec ns|web", ""},
		{"get pods/exec ns|web", ""},
		{"create pods/binding ns|web", ""},
		{"patch pods/ephemeralcontainers ns|web", ""},
		{"delete pods/eviction ns|web", ""},

		{"get coordination.k8s.io:leases kube-node-lease|n1", "yes"},
		{"create coordination.k8s.io:leases kube-node-lease|", "yes"},
		{"update coordination.k8s.io:leases kube-node-lease|n1", "yes"},
		{"patch coordination.k8s.io:leases kube-node-lease|n1", "yes"},
		{"delete coordination.k8s.io:leases kube-node-lease|n1", "yes"},
		{"get coordination.k8s.io:leases kube-node-lease|n2", leaseName},
		{"delete coordination.k8s.io:leases kube-node-lease|", leaseName},
		{"get coordination.k8s.io:leases kube-system|n1", leasePlace},
		{"create coordination.k8s.io:leases kube-system|", leasePlace},
		{"list coordination.k8s.io:leases kube-node-lease|n1", leaseVerbs},
		{"watch coordination.k8s.io:leases kube-node-lease|n1", leaseVerbs},
		{"deletecollection coordination.k8s.io:leases kube-node-lease|", leaseVerbs},

		{"create storage.k8s.io:csinodes", "yes"},
		{"get storage.k8s.io:csinodes n1", "yes"},
		{"update storage.k8s.io:csinodes n1", "yes"},
		{"patch storage.k8s.io:csinodes n1", "yes"},
		{"delete storage.k8s.io:csinodes n1", "yes"},
		{"get storage.k8s.io:csinodes n2", csiName},
		{"list storage.k8s.io:csinodes n1", csiVerbs},
		{"get storage.k8s.io:csinodes/status n1", "CSINode status access requires CSIVolumeHealth feature"},
		{"get storage.k8s.io:csinodes/x n1", "cannot authorize CSINode subresources"},

		{"create resource.k8s.io:resourceslices", "yes"},
		{"list resource.k8s.io:resourceslices ?spec.nodeName=n1", "yes"},
		{"deletecollection resource.k8s.io:resourceslices ?spec.nodeName=n1", "yes"},
		{"list resource.k8s.io:resourceslices", sliceSelect},
		{"deletecollection resource.k8s.io:resourceslices ?spec.nodeName=n2", sliceSelect},
		{"get resource.k8s.io:resourceslices s", stranger},
		{"update resource.k8s.io:resourceslices", noName},
		{"get resource.k8s.io:resourceslices/status s", "cannot authorize ResourceSlice subresources"},
		{"escalate resource.k8s.io:resourceslices s", sliceVerbs},

		{"create certificates.k8s.io:podcertificaterequests ns|", "yes"},
		{"watch certificates.k8s.io:podcertificaterequests ?spec.nodeName=n1", "yes"},
		{"list certificates.k8s.io:podcertificaterequests ?spec.nodeName=n2", certSelector},
		{"get certificates.k8s.io:podcertificaterequests ns|r", stranger},
		{"update certificates.k8s.io:podcertificaterequests/status ns|r", "nodes may not access the status subresource of PodCertificateRequests"},
		{"delete certificates.k8s.io:podcertificaterequests ns|r", "nodes may not delete podcertificaterequests"},

		{"create certificates.k8s.io:certificatesigningrequests", "yes"},
		{"get certificates.k8s.io:certificatesigningrequests r", "yes"},
		{"list certificates.k8s.io:certificatesigningrequests", "yes"},
		{"watch certificates.k8s.io:certificatesigningrequests", "yes"},
		{"update certificates.k8s.io:certificatesigningrequests r", ""},
		{"delete certificates.k8s.io:certificatesigningrequests r", ""},
		{"update certificates.k8s.io:certificatesigningrequests/approval r", ""},
		{"create certificates.k8s.io:certificatesigningrequests/selfnodeclient", ""},
		{"approve certificates.k8s.io:signers kubernetes.io/kubelet-serving", ""},
		{"list certificates.k8s.io:clustertrustbundles", "yes"},
		{"create certificates.k8s.io:clustertrustbundles", ""},

		{"create authentication.k8s.io:tokenreviews", "yes"},
		{"get authentication.k8s.io:tokenreviews", ""},
		{"create authorization.k8s.io:subjectaccessreviews", "yes"},
		{"create authorization.k8s.io:localsubjectaccessreviews ns|", "yes"},
		{"create authorization.k8s.io:selfsubjectaccessreviews", ""},
		{"create events ns|", "yes"},
		{"patch events ns|e", "yes"},
		{"update events.k8s.io:events ns|e", "yes"},
		{"get events ns|e", ""},
		{"delete events ns|e", ""},
		{"list services", "yes"},
		{"create services", ""},
		{"get endpoints ns|e", "yes"},
		{"list endpoints", ""},
		{"watch storage.k8s.io:csidrivers", "yes"},
		{"update storage.k8s.io:csidrivers d", ""},
		{"get node.k8s.io:runtimeclasses r", "yes"},
		{"get node.k8s.io:runtimeclasses/x r", ""},
		{"get namespaces ns", ""},
		{"create rbac.authorization.k8s.io:clusterrolebindings", ""},
		{"impersonate users root", ""},
		{"* *", ""},
		{"get /healthz", ""},
		{"get /metrics", ""},
	} {
		if got := ask(t, x, kubelet("n1"), tt.question); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.question, got, tt.want)
		}
	}
}

// Who is a node, and which.
func TestNodes(t *testing.T) {
	x := node.New()
	x.SetPod(web())
	for _, tt := range []struct {
		name string
		user *identity.Identity
		want string
	}{
		{"the node", kubelet("n1"), "yes"},
		{"another node", kubelet("n2"), "no relationship found between node 'n2' and this object"},
		{"a node whose name begins the same", kubelet("n11"), "no relationship found between node 'n11' and this object"},
		{"a node in other letters", kubelet("N1"), "no relationship found between node 'N1' and this object"},
		{"a node without a name", kubelet(""), `unknown node for user "system:node:"`},
		{"not in the group", &identity.Identity{Name: "system:node:n1", Groups: []string{"system:authenticated"}}, ""},
		{"in no group", &identity.Identity{Name: "system:node:n1"}, ""},
		{"another name", &identity.Identity{Name: "n1", Groups: []string{"system:nodes"}}, ""},
		{"another prefix", &identity.Identity{Name: "system:nodes:n1", Groups: []string{"system:nodes"}}, ""},
		{"a service account", &identity.Identity{Name: "system:serviceaccount:ns:sa", Groups: []string{"system:nodes"}}, ""},
		{"nobody", nil, ""},
	} {
		if got := ask(t, x, tt.user, "get secrets ns|secret"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What a node may read follows its pods.
func TestPods(t *testing.T) {
	x := node.New()
	may := func(name, question string, want bool) {
		t.Helper()
		if got := ask(t, x, kubelet(name), question) == "yes"; got != want {
			t.Errorf("%s may %s: %v, want %v", name, question, got, want)
		}
	}
	const secret, sa = "get secrets ns|secret", "create serviceaccounts/token ns|sa"
	may("n1", secret, false)

	pending := web()
	pending.Spec.NodeName = ""
	x.SetPod(pending)
	may("n1", secret, false)
	may("", secret, false)
	x.SetPod(web())
	may("n1", secret, true)
	may("n2", secret, false)

	second := web()
	second.Name = "second"
	x.SetPod(second)
	x.DeletePod("ns", "web")
	may("n1", "get pods ns|web", false)
	may("n1", secret, true) // because of the second
	x.DeletePod("ns", "none")
	x.DeletePod("else", "second")
	may("n1", secret, true)

	// A pod of that name was made anew, on another node.
	second.Spec.NodeName = "n2"
	x.SetPod(second)
	may("n1", secret, false)
	may("n1", sa, false)
	may("n2", secret, true)

	mirror := second.DeepCopy()
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: ""}
	x.SetPod(mirror)
	may("n2", "get pods ns|second", true)
	for _, question := range []string{secret, sa, "get configmaps ns|config", "get persistentvolumeclaims ns|claim", "get resource.k8s.io:resourceclaims ns|gpu"} {
		may("n2", question, false)
	}

	debugged := second.DeepCopy()
	debugged.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "debug"}}}},
	}}}
	x.SetPod(second)
	may("n2", "get secrets ns|debug", false)
	x.SetPod(debugged)
	may("n2", "get secrets ns|debug", true)

	// The same twice counts once.
	x.SetPod(debugged)
	x.DeletePod("ns", "second")
	x.DeletePod("ns", "second")
	may("n2", secret, false)
	may("n2", "get secrets ns|debug", false)
}

func TestRulesFor(t *testing.T) {
	x := node.New()
	rules, err := x.RulesFor(t.Context(), kubelet("n1"), "ns")
	if err == nil || err.Error() != "node authorizer does not support user rule resolution" || !rules.Incomplete {
		t.Errorf("a node: %+v, %v", rules, err)
	}
	rules, err = x.RulesFor(t.Context(), &identity.Identity{Name: "jane"}, "ns")
	if err != nil || rules.Incomplete || rules.Resource != nil {
		t.Errorf("somebody else: %+v, %v", rules, err)
	}
}

// What both the old and the new pod refer to is there at every moment.
func TestReadersSeeNoGap(t *testing.T) {
	x := node.New()
	x.SetPod(web())
	a := parse(t, "get secrets ns|secret")
	a.User = kubelet("n1")
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if answer, _ := x.Authorize(t.Context(), &a); answer.Verdict != authz.Allow {
					t.Error("refused between two states that allow it")
					return
				}
			}
		})
	}
	for i := range 2000 {
		pod := web()
		pod.Spec.ServiceAccountName = fmt.Sprint("sa", i%2)
		x.SetPod(pod)
	}
	close(done)
	readers.Wait()
}

func TestAllowingAllocatesNothing(t *testing.T) {
	x := node.New()
	x.SetPod(web())
	for _, question := range []string{"get secrets ns|secret", "create serviceaccounts/token ns|sa", "get nodes n1", "update coordination.k8s.io:leases kube-node-lease|n1", "create events ns|"} {
		a := parse(t, question)
		a.User = kubelet("n1")
		if n := testing.AllocsPerRun(100, func() { x.Authorize(t.Context(), &a) }); n != 0 {
			t.Errorf("%s: %v allocations", question, n)
		}
	}
	a := parse(t, "get secrets ns|secret")
	a.User = &identity.Identity{Name: "jane"}
	if n := testing.AllocsPerRun(100, func() { x.Authorize(t.Context(), &a) }); n != 0 {
		t.Errorf("somebody else: %v allocations", n)
	}
}
