package clientgo_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// testOwn reads and writes our own kinds with the clients that know no kind, and
// asks for them in every encoding. There is none of them in protobuf.
func testOwn(t *testing.T, w *world) {
	ctx := t.Context()
	own := schema.GroupVersion{Group: "gatehouse.dev", Version: "v1alpha1"}
	client := must[*dynamic.DynamicClient](t)(dynamic.NewForConfig(w.admin))
	object := func(kind, name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": own.String(), "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
		}}
	}
	revocations := client.Resource(own.WithResource("revocations"))
	made := must[*unstructured.Unstructured](t)(revocations.Create(ctx, object("Revocation", "own", map[string]any{"user": "nobody-at-all"}), metav1.CreateOptions{}))
	if user, _, _ := unstructured.NestedString(made.Object, "spec", "user"); user != "nobody-at-all" {
		t.Errorf("the dynamic client made %v", made.Object)
	}
	explained := must[*unstructured.Unstructured](t)(client.Resource(own.WithResource("explanations")).Create(ctx,
		object("Explanation", "own", map[string]any{"token": "nobodys"}), metav1.CreateOptions{}))
	if requests, _, _ := unstructured.NestedSlice(explained.Object, "status", "requests"); len(requests) != 1 {
		t.Errorf("the dynamic client is told %v", explained.Object)
	}
	if found := must[*unstructured.Unstructured](t)(client.Resource(own.WithResource("explanations")).Get(ctx, "never-sent", metav1.GetOptions{})); found.GetKind() != "Explanation" {
		t.Errorf("the dynamic client finds %v", found.Object)
	}
	credentials := must[*unstructured.UnstructuredList](t)(client.Resource(own.WithResource("credentials")).List(ctx, metav1.ListOptions{Limit: 1}))
	if credentials.GetKind() != "CredentialList" {
		t.Errorf("the dynamic client lists %v", credentials.Object)
	}
	names := must[metadata.Interface](t)(metadata.NewForConfig(w.admin))
	if m := must[*metav1.PartialObjectMetadata](t)(names.Resource(own.WithResource("revocations")).Get(ctx, "own", metav1.GetOptions{})); m.Name != "own" {
		t.Errorf("the metadata client finds %+v", m)
	}

	config := rest.CopyConfig(w.admin)
	config.ContentType = asProtobuf // with JSON as second best, which client-go adds
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	anything := must[*rest.RESTClient](t)(rest.UnversionedRESTClientFor(config))
	for _, path := range []string{"revocations", "revocations/own", "credentials", "explanations/never-sent"} {
		path = "/apis/gatehouse.dev/v1alpha1/" + path
		if text, err := anything.Get().AbsPath(path).DoRaw(ctx); err != nil || !strings.HasPrefix(string(text), `{"`) {
			t.Errorf("%s for who prefers protobuf: %v %.80s", path, err, text)
		}
		wantAnswer(t, w.send(t, "GET", path, "", "Accept", asProtobuf+","+asJSON), 200, `"apiVersion":"gatehouse.dev/v1alpha1"`)
		for _, accept := range []string{asProtobuf, "text/html", asProtobuf + ";as=Table;v=v1;g=meta.k8s.io"} {
			wantAnswer(t, w.send(t, "GET", path, "", "Accept", accept), 406, "NotAcceptable", "application/json")
		}
	}
	for resource, body := range map[string]string{
		"revocations": `{"apiVersion":"gatehouse.dev/v1alpha1","kind":"Revocation","metadata":{"name":"x"},"spec":{"user":"nobody-at-all"}}`, "explanations": "k8s\x00",
	} {
		wantAnswer(t, w.send(t, "POST", "/apis/gatehouse.dev/v1alpha1/"+resource, body, "Content-Type", asProtobuf), 415, "UnsupportedMediaType")
	}
	if err := revocations.Delete(ctx, "own", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
