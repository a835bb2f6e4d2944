package columns_test

import (
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/columns"
)

func TestCore(t *testing.T) {
	testGolden(t, func() []golden {
		return []golden{{
			name: "Namespace", table: columns.Namespace(),
			obj: &corev1.NamespaceList{Items: []corev1.Namespace{
				{ObjectMeta: named("default"), Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}},
				{ObjectMeta: metav1.ObjectMeta{Name: "old", CreationTimestamp: ago(800 * 24 * time.Hour)}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating}},
				{ObjectMeta: metav1.ObjectMeta{Name: "unborn"}},
			}},
			want: `
NAME | STATUS | AGE
default | Active | 5m
old | Terminating | 2y70d
unborn |  | <unknown>`,
		}, {
			name: "ServiceAccount", table: columns.ServiceAccount(),
			obj: &corev1.ServiceAccount{ObjectMeta: named("builder"), Secrets: make([]corev1.ObjectReference, 2)},
			want: `
NAME | AGE
builder | 5m`,
		}, {
			name: "Secret", table: columns.Secret(),
			obj: &corev1.SecretList{Items: []corev1.Secret{
				{ObjectMeta: named("token"), Type: corev1.SecretTypeServiceAccountToken, Data: map[string][]byte{"ca.crt": nil, "token": []byte("hush")}},
				{ObjectMeta: named("empty"), Type: corev1.SecretTypeOpaque},
			}},
			want: `
NAME | TYPE | DATA | AGE
token | kubernetes.io/service-account-token | 2 | 5m
empty | Opaque | 0 | 5m`,
		}, {
			name: "ConfigMap", table: columns.ConfigMap(),
			obj: &corev1.ConfigMap{ObjectMeta: named("settings"), Data: map[string]string{"a": "", "b": ""}, BinaryData: map[string][]byte{"c": nil}},
			want: `
NAME | DATA | AGE
settings | 3 | 5m`,
		}}
	})
}

func TestNode(t *testing.T) {
	ready := func(s corev1.ConditionStatus) []corev1.NodeCondition {
		return []corev1.NodeCondition{{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}, {Type: corev1.NodeReady, Status: s}}
	}
	full := corev1.Node{
		ObjectMeta: named("full"),
		Spec:       corev1.NodeSpec{Unschedulable: true},
		Status: corev1.NodeStatus{
			Conditions: ready(corev1.ConditionTrue),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: "full"},
				{Type: corev1.NodeInternalIP, Address: "10.0.0.1"},
				{Type: corev1.NodeInternalIP, Address: "10.0.0.2"},
				{Type: corev1.NodeExternalIP, Address: "192.0.2.1"},
			},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: "v1.37.2", OSImage: "Linux", KernelVersion: "7.1", Architecture: "arm64", ContainerRuntimeVersion: "containerd://2.3",
			},
		},
	}
	full.Labels = map[string]string{
		"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "yes",
		"node-role.kubernetes.io/": "", "kubernetes.io/role": "edge",
	}
	down := corev1.Node{ObjectMeta: named("down"), Status: corev1.NodeStatus{Conditions: ready(corev1.ConditionUnknown)}}
	bare := corev1.Node{ObjectMeta: named("bare"), Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{Architecture: "amd64"}}}
	testGolden(t, func() []golden {
		for _, n := range []*corev1.Node{&full, &down, &bare} {
			n.CreationTimestamp = ago(5 * time.Minute)
		}
		return []golden{{
			name: "Node", table: columns.Node(), obj: &corev1.NodeList{Items: []corev1.Node{full, down, bare}},
			want: `
NAME | STATUS | ROLES | AGE | VERSION | [INTERNAL-IP] | [EXTERNAL-IP] | [OS-IMAGE] | [KERNEL-VERSION] | [CONTAINER-RUNTIME]
full | Ready,SchedulingDisabled | control-plane,edge,worker | 5m | v1.37.2 | [10.0.0.1] | [192.0.2.1] | [Linux] | [7.1 (arm64)] | [containerd://2.3]
down | NotReady | <none> | 5m |  | [<none>] | [<none>] | [<unknown>] | [<unknown>] | [<unknown>]
bare | Unknown | <none> | 5m |  | [<none>] | [<none>] | [<unknown>] | [<unknown> (amd64)] | [<unknown>]`,
		}}
	})
}

func TestBindings(t *testing.T) {
	subjects := []rbacv1.Subject{
		{Kind: rbacv1.GroupKind, Name: "admins"}, {Kind: rbacv1.UserKind, Name: "jane"}, {Kind: rbacv1.UserKind, Name: "joe"},
		{Kind: rbacv1.ServiceAccountKind, Namespace: "ci", Name: "bot"}, {Kind: "Robot", Name: "r2"},
	}
	testGolden(t, func() []golden {
		return []golden{{
			name: "RoleBinding", table: columns.RoleBinding(),
			obj: &rbacv1.RoleBinding{ObjectMeta: named("b"), RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "edit"}, Subjects: subjects},
			want: `
NAME | ROLE | AGE | [USERS] | [GROUPS] | [SERVICEACCOUNTS]
b | Role/edit | 5m | [jane, joe] | [admins] | [ci/bot]`,
		}, {
			name: "ClusterRoleBinding", table: columns.ClusterRoleBinding(),
			obj: &rbacv1.ClusterRoleBinding{ObjectMeta: named("b"), RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}},
			want: `
NAME | ROLE | AGE | [USERS] | [GROUPS] | [SERVICEACCOUNTS]
b | ClusterRole/view | 5m | [] | [] | []`,
		}}
	})
}

// request returns a CertificateSigningRequest with these conditions.
func request(name string, conditions ...certificatesv1.RequestConditionType) certificatesv1.CertificateSigningRequest {
	r := certificatesv1.CertificateSigningRequest{
		ObjectMeta: named(name),
		Spec:       certificatesv1.CertificateSigningRequestSpec{SignerName: "example.com/s", Username: "jane"},
	}
	for _, c := range conditions {
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c})
	}
	return r
}

func TestCertificates(t *testing.T) {
	const approved, denied, failed = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed
	testGolden(t, func() []golden {
		day := int32(86400)
		issued := request("issued", approved)
		issued.Spec.ExpirationSeconds, issued.Status.Certificate = &day, []byte("x")
		unnamed := request("unnamed")
		unnamed.Spec.SignerName = ""
		return []golden{{
			name: "CertificateSigningRequest", table: columns.CertificateSigningRequest(),
			obj: &certificatesv1.CertificateSigningRequestList{Items: []certificatesv1.CertificateSigningRequest{
				unnamed, request("approved", approved), issued, request("both", approved, denied), request("failed", failed, approved),
			}},
			want: `
NAME | AGE | SIGNERNAME | REQUESTOR | REQUESTEDDURATION | CONDITION
unnamed | 5m | <none> | jane | <none> | Pending
approved | 5m | example.com/s | jane | <none> | Approved
issued | 5m | example.com/s | jane | 24h | Approved,Issued
both | 5m | example.com/s | jane | <none> | Denied
failed | 5m | example.com/s | jane | <none> | Approved,Failed`,
		}, {
			name: "ClusterTrustBundle", table: columns.ClusterTrustBundle(),
			obj: &certificatesv1.ClusterTrustBundleList{Items: []certificatesv1.ClusterTrustBundle{
				{ObjectMeta: named("plain")},
				{ObjectMeta: named("example.com:s:1"), Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: "example.com/s"}},
			}},
			want: `
NAME | SIGNERNAME
plain | <none>
example.com:s:1 | example.com/s`,
		}, {
			name: "PodCertificateRequest", table: columns.PodCertificateRequest(),
			obj: &certificatesv1.PodCertificateRequestList{Items: []certificatesv1.PodCertificateRequest{
				{ObjectMeta: named("new")},
				{
					ObjectMeta: named("done"),
					Spec: certificatesv1.PodCertificateRequestSpec{
						PodName: "p", ServiceAccountName: "sa", NodeName: "n", SignerName: "s", UnverifiedUserAnnotations: map[string]string{"b": "2", "a": "1"},
					},
					Status: certificatesv1.PodCertificateRequestStatus{Conditions: []metav1.Condition{{Type: "Seen"}, {Type: "Issued"}}},
				},
			}},
			want: `
NAME | PODNAME | SERVICEACCOUNTNAME | NODENAME | SIGNERNAME | STATE | UNVERIFIEDUSERANNOTATIONS
new |  |  |  |  | Pending | <none>
done | p | sa | n | s | Issued | a=1,b=2`,
		}}
	})
}

func TestLease(t *testing.T) {
	testGolden(t, func() []golden {
		holder := "replica-1"
		return []golden{{
			name: "Lease", table: columns.Lease(),
			obj: &coordinationv1.LeaseList{Items: []coordinationv1.Lease{
				{ObjectMeta: named("held"), Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}},
				{ObjectMeta: named("free")},
			}},
			want: `
NAME | HOLDER | AGE
held | replica-1 | 5m
free |  | 5m`,
		}}
	})
}
