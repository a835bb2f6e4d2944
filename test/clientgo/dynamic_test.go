package clientgo_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
)

// testDynamic uses the clients that know no kinds: the dynamic one, and that of
// metadata, which a garbage collector has.
func testDynamic(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	configMaps := corev1.SchemeGroupVersion.WithResource("configmaps")
	objects := must[*dynamic.DynamicClient](t)(dynamic.NewForConfig(w.admin)).Resource(configMaps).Namespace(ns)
	made := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "one", "labels": map[string]any{"a": "b"}},
		"data":     map[string]any{"k": "v"},
	}}
	created, err := objects.Create(ctx, made, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v, _, _ := unstructured.NestedString(created.Object, "data", "k"); v != "v" || created.GetKind() != "ConfigMap" || created.GetAPIVersion() != "v1" {
		t.Errorf("created %v", created.Object)
	}

	client, err := metadata.NewForConfig(metadata.ConfigFor(w.admin))
	if err != nil {
		t.Fatal(err)
	}
	metas := client.Resource(configMaps).Namespace(ns)
	one, err := metas.Get(ctx, "one", metav1.GetOptions{})
	if err != nil || one.Labels["a"] != "b" || one.UID != created.GetUID() {
		t.Errorf("metadata: %v, %+v", err, one)
	}
	list, err := metas.List(ctx, metav1.ListOptions{LabelSelector: "a=b"})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "one" {
		t.Errorf("metadata: %v, %+v", err, list)
	}
	events, err := metas.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	patched, err := metas.Patch(ctx, "one", types.MergePatchType, []byte(`{"metadata":{"labels":{"c":"d"}}}`), metav1.PatchOptions{})
	if err != nil || patched.Labels["c"] != "d" {
		t.Errorf("metadata: %v, %+v", err, patched)
	}
	if err := metas.Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	for _, want := range []watch.EventType{watch.Modified, watch.Deleted} {
		e := <-events.ResultChan()
		m, ok := e.Object.(*metav1.PartialObjectMetadata)
		if e.Type != want || !ok || m.Labels["c"] != "d" {
			t.Errorf("watching metadata: %s %+v, want %s", e.Type, e.Object, want)
		}
	}
}
