package clientgo_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testPatch uses every kind of patch, and such as cannot be applied.
func testPatch(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	core := w.client(t).CoreV1()
	pods := core.Pods(ns)
	must[*corev1.Pod](t)(pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "one", Image: "i"}, {Name: "two", Image: "i"},
		}},
	}, metav1.CreateOptions{}))

	for _, test := range []struct {
		name  string
		kind  types.PatchType
		patch string
		want  func(*corev1.Pod) bool
	}{
		{"strategic merges lists by key", types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"two","image":"j"}]}}`,
			func(p *corev1.Pod) bool {
				return len(p.Spec.Containers) == 2 && p.Spec.Containers[0].Image == "i" && p.Spec.Containers[1].Image == "j"
			}},
		{"strategic deletes by directive", types.StrategicMergePatchType, `{"metadata":{"labels":{"a":null,"c":"d"}}}`,
			func(p *corev1.Pod) bool { return p.Labels["a"] == "" && p.Labels["c"] == "d" }},
		{"strategic replaces by directive", types.StrategicMergePatchType, `{"metadata":{"labels":{"$patch":"replace","e":"f"}}}`,
			func(p *corev1.Pod) bool { return len(p.Labels) == 1 && p.Labels["e"] == "f" }},
		{"merge", types.MergePatchType, `{"metadata":{"labels":{"e":null,"g":"h"}}}`,
			func(p *corev1.Pod) bool { return len(p.Labels) == 1 && p.Labels["g"] == "h" }},
		{"json", types.JSONPatchType, `[{"op":"test","path":"/metadata/labels/g","value":"h"},{"op":"replace","path":"/spec/containers/0/image","value":"k"}]`,
			func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "k" }},
		{"nothing", types.MergePatchType, `{}`, func(p *corev1.Pod) bool { return p.Labels["g"] == "h" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := pods.Patch(ctx, "p", test.kind, []byte(test.patch), metav1.PatchOptions{})
			if err != nil || !test.want(p) {
				t.Errorf("%v: %+v", err, p)
			}
		})
	}

	for _, test := range []struct {
		name, object string
		kind         types.PatchType
		patch        string
		want         refusal
	}{
		{"no such object", "q", types.MergePatchType, `{}`, refusal{404, metav1.StatusReasonNotFound, `pods "q" not found`}},
		{"not JSON", "p", types.MergePatchType, `{`, refusal{400, metav1.StatusReasonBadRequest, ""}},
		{"a test that fails", "p", types.JSONPatchType, `[{"op":"test","path":"/metadata/labels/g","value":"x"}]`, refusal{422, metav1.StatusReasonInvalid, "the server rejected our request"}},
		{"a path that is not there", "p", types.JSONPatchType, `[{"op":"remove","path":"/metadata/labels/x"}]`, refusal{422, metav1.StatusReasonInvalid, "the server rejected our request"}},
		{"a merge that loses a container", "p", types.MergePatchType, `{"spec":{"containers":[{"name":"one","image":"k"}]}}`,
			refusal{422, metav1.StatusReasonInvalid, "spec.containers: Forbidden: pod updates may not add or remove containers"}},
		{"what cannot change", "p", types.MergePatchType, `{"spec":{"serviceAccountName":"other"}}`,
			refusal{422, metav1.StatusReasonInvalid, "spec: Forbidden: pod updates may not change fields other than"}},
		{"another version", "p", types.MergePatchType, `{"metadata":{"resourceVersion":"1"}}`,
			refusal{409, metav1.StatusReasonConflict, "the object has been modified; please apply your changes to the latest version and try again"}},
		{"another UID", "p", types.MergePatchType, `{"metadata":{"uid":"x"}}`,
			refusal{422, metav1.StatusReasonInvalid, `metadata.uid: Invalid value: "x": field is immutable`}},
		{"another name", "p", types.MergePatchType, `{"metadata":{"name":"x"}}`,
			refusal{400, metav1.StatusReasonBadRequest, "the name of the object (x) does not match the name on the URL (p)"}},
		{"another kind", "p", types.MergePatchType, `{"kind":"Secret"}`, refusal{422, metav1.StatusReasonInvalid, "patch: Invalid value"}},
		{"wrong type", "p", types.MergePatchType, `{"spec":{"containers":"x"}}`, refusal{422, metav1.StatusReasonInvalid, "cannot unmarshal string into Go struct field PodSpec.spec.containers"}},
		{"unknown media type", "p", "application/x-patch", `{}`, refusal{415, metav1.StatusReasonUnsupportedMediaType, "415: Unsupported Media Type"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := pods.Patch(ctx, test.object, test.kind, []byte(test.patch), metav1.PatchOptions{})
			wantRefusal(t, err, test.want)
		})
	}

	t.Run("status", func(t *testing.T) {
		p, err := pods.Patch(ctx, "p", types.MergePatchType, []byte(`{"metadata":{"labels":{"i":"j"}},"spec":{"nodeName":"x"},"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status")
		if err != nil || p.Status.Phase != corev1.PodRunning || p.Spec.NodeName != "" {
			t.Errorf("%v: %+v", err, p)
		}
		p, err = pods.Patch(ctx, "p", types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`), metav1.PatchOptions{})
		if err != nil || p.Status.Phase != corev1.PodRunning {
			t.Errorf("the pod itself changes its status: %v, %+v", err, p.Status)
		}
	})
}
