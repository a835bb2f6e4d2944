package defaults_test

import (
	"reflect"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gatehouse.dev/gatehouse/internal/api/defaults"
)

// TestRegister defaults each object through a scheme, twice: defaulting happens
// at each reading, so the second time must change nothing.
func TestRegister(t *testing.T) {
	scheme := runtime.NewScheme()
	defaults.Register(scheme)
	for _, test := range []struct {
		name         string
		object, want runtime.Object
	}{
		{"namespace",
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{corev1.LabelMetadataName: "forged"}}},
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{corev1.LabelMetadataName: "a"}},
				Status: corev1.NamespaceStatus{Phase: "Active"}}},
		{"namespace without a name yet",
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}},
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}, Status: corev1.NamespaceStatus{Phase: "Active"}}},
		{"ending namespace",
			&corev1.Namespace{Status: corev1.NamespaceStatus{Phase: "Terminating"}},
			&corev1.Namespace{Status: corev1.NamespaceStatus{Phase: "Terminating"}}},
		{"secret",
			&corev1.Secret{Data: map[string][]byte{"a": []byte("old"), "b": []byte("b")}, StringData: map[string]string{"a": "new"}},
			&corev1.Secret{Data: map[string][]byte{"a": []byte("new"), "b": []byte("b")}, Type: "Opaque"}},
		{"secret of strings",
			&corev1.Secret{Type: "x", StringData: map[string]string{"a": "1"}},
			&corev1.Secret{Type: "x", Data: map[string][]byte{"a": []byte("1")}}},
		{"config map", &corev1.ConfigMap{}, &corev1.ConfigMap{Data: map[string]string{}}},
		{"node",
			&corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"a", "b"}},
				Status: corev1.NodeStatus{Capacity: corev1.ResourceList{"cpu": resource.MustParse("1")}}},
			&corev1.Node{Spec: corev1.NodeSpec{PodCIDR: "a", PodCIDRs: []string{"a", "b"}},
				Status: corev1.NodeStatus{Capacity: corev1.ResourceList{"cpu": resource.MustParse("1")},
					Allocatable: corev1.ResourceList{"cpu": resource.MustParse("1")}}}},
		{"node of an old client",
			&corev1.Node{Spec: corev1.NodeSpec{PodCIDR: "c", PodCIDRs: []string{"a", "b"}}},
			&corev1.Node{Spec: corev1.NodeSpec{PodCIDR: "c", PodCIDRs: []string{"c"}}}},
		{"role binding",
			&rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{Kind: "Role"}, Subjects: []rbacv1.Subject{
				{Kind: "User"}, {Kind: "Group", APIGroup: "x"}, {Kind: "ServiceAccount"}, {Kind: "Machine"}}},
			&rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role"}, Subjects: []rbacv1.Subject{
				{Kind: "User", APIGroup: rbacv1.GroupName}, {Kind: "Group", APIGroup: "x"}, {Kind: "ServiceAccount"}, {Kind: "Machine"}}}},
		{"cluster role binding",
			&rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: "x"}, Subjects: []rbacv1.Subject{{Kind: "Group"}}},
			&rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: "x"}, Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName}}}},
		{"token request",
			&authenticationv1.TokenRequest{},
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}},
		{"elements of a list",
			&corev1.SecretList{Items: []corev1.Secret{{}}},
			&corev1.SecretList{Items: []corev1.Secret{{Type: "Opaque"}}}},
		{"service account", &corev1.ServiceAccount{}, &corev1.ServiceAccount{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 {
				scheme.Default(test.object)
				if !equality.Semantic.DeepEqual(test.object, test.want) {
					t.Fatalf("got  %+v\nwant %+v", test.object, test.want)
				}
			}
		})
	}
}

func TestPod(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		DeprecatedServiceAccount: "robot",
		Containers:               []corev1.Container{{Image: "i"}},
		InitContainers:           []corev1.Container{{Image: "i:1", TerminationMessagePath: "/x"}},
		EphemeralContainers:      []corev1.EphemeralContainer{{}},
		Volumes: []corev1.Volume{
			{},
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{DefaultMode: new(int32(0o400))}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}},
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{FieldRef: &corev1.ObjectFieldSelector{}}}}},
			}}}},
		},
	}}
	defaults.Pod(pod)
	spec := pod.Spec
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"phase", pod.Status.Phase, corev1.PodPending},
		{"serviceAccountName", spec.ServiceAccountName, "robot"},
		{"restartPolicy", spec.RestartPolicy, corev1.RestartPolicyAlways},
		{"dnsPolicy", spec.DNSPolicy, corev1.DNSClusterFirst},
		{"grace", *spec.TerminationGracePeriodSeconds, int64(30)},
		{"scheduler", spec.SchedulerName, "default-scheduler"},
		{"service links", *spec.EnableServiceLinks, true},
		{"security context", *spec.SecurityContext, corev1.PodSecurityContext{}},
		{"pull", spec.Containers[0].ImagePullPolicy, corev1.PullAlways},
		{"message path", spec.Containers[0].TerminationMessagePath, "/dev/termination-log"},
		{"own message path", spec.InitContainers[0].TerminationMessagePath, "/x"},
		{"ephemeral message policy", spec.EphemeralContainers[0].TerminationMessagePolicy, corev1.TerminationMessageReadFile},
		{"empty volume", spec.Volumes[0].EmptyDir != nil, true},
		{"own mode", *spec.Volumes[1].Secret.DefaultMode, int32(0o400)},
		{"mode", *spec.Volumes[2].Projected.DefaultMode, int32(0o644)},
		{"token", *spec.Volumes[2].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds, int64(3600)},
		{"field", spec.Volumes[2].Projected.Sources[1].DownwardAPI.Items[0].FieldRef.APIVersion, "v1"},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("%s = %v, want %v", test.name, test.got, test.want)
		}
	}
	again := pod.DeepCopy()
	defaults.Pod(again)
	if !reflect.DeepEqual(again, pod) {
		t.Error("the second time changed something")
	}
}

// TestPodAccount is about who a pod runs as if a client gives two answers.
func TestPodAccount(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{ServiceAccountName: "a", DeprecatedServiceAccount: "b"}}
	defaults.Pod(pod)
	if pod.Spec.ServiceAccountName != "a" || pod.Spec.DeprecatedServiceAccount != "a" {
		t.Errorf("accounts = %q, %q, want both a", pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount)
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"i":                          corev1.PullAlways,
		"i:latest":                   corev1.PullAlways,
		"example.com:5000/a/i":       corev1.PullAlways,
		"i:latest@sha256:0123":       corev1.PullAlways,
		"i:1":                        corev1.PullIfNotPresent,
		"example.com:5000/a/i:1":     corev1.PullIfNotPresent,
		"i@sha256:0123":              corev1.PullIfNotPresent,
		"example.com:5000/i@sha256:": corev1.PullIfNotPresent,
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}
		defaults.Pod(pod)
		if got := pod.Spec.Containers[0].ImagePullPolicy; got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}
