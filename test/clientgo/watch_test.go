package clientgo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// testWatch watches from a version, with bookmarks, and with the objects that
// there are already.
func testWatch(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	configMaps := w.client(t).CoreV1().ConfigMaps(ns)
	a := configMap("a", nil)
	a.Labels = map[string]string{"color": "red"}
	a = must[*corev1.ConfigMap](t)(configMaps.Create(ctx, a, metav1.CreateOptions{}))
	b := must[*corev1.ConfigMap](t)(configMaps.Create(ctx, configMap("b", nil), metav1.CreateOptions{}))

	t.Run("from a version", func(t *testing.T) {
		events := must[watch.Interface](t)(configMaps.Watch(ctx, metav1.ListOptions{ResourceVersion: a.ResourceVersion, FieldSelector: "metadata.name!=kube-root-ca.crt"}))
		defer events.Stop()
		want(t, events, watch.Added, "b")
		// The object seems to come and go as it meets the selector.
		red := must[watch.Interface](t)(configMaps.Watch(ctx, metav1.ListOptions{ResourceVersion: b.ResourceVersion, LabelSelector: "color=red"}))
		defer red.Stop()
		for _, step := range []struct {
			label string
			want  watch.EventType
		}{{`"blue"`, watch.Deleted}, {`"red"`, watch.Added}} {
			patch := []byte(`{"metadata":{"labels":{"color":` + step.label + `}}}`)
			must[*corev1.ConfigMap](t)(configMaps.Patch(ctx, "a", types.MergePatchType, patch, metav1.PatchOptions{}))
			want(t, events, watch.Modified, "a")
			want(t, red, step.want, "a")
		}
	})

	t.Run("streaming list", func(t *testing.T) {
		events := must[watch.Interface](t)(configMaps.Watch(ctx, metav1.ListOptions{
			SendInitialEvents: ptr(true), AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
			FieldSelector: "metadata.name!=kube-root-ca.crt",
		}))
		defer events.Stop()
		want(t, events, watch.Added, "a")
		want(t, events, watch.Added, "b")
		e := want(t, events, watch.Bookmark, "")
		if e.Annotations[metav1.InitialEventsAnnotationKey] != "true" || e.ResourceVersion == "" {
			t.Errorf("the end of the list is marked by %+v", e.ObjectMeta)
		}
		must[*corev1.ConfigMap](t)(configMaps.Create(ctx, configMap("c", nil), metav1.CreateOptions{}))
		want(t, events, watch.Added, "c")
	})

	t.Run("end", func(t *testing.T) {
		// Before a watch ends it says how far it came.
		events := must[watch.Interface](t)(configMaps.Watch(ctx, metav1.ListOptions{
			ResourceVersion: b.ResourceVersion, TimeoutSeconds: ptr[int64](5), AllowWatchBookmarks: true, LabelSelector: "no=one",
		}))
		defer events.Stop()
		must[*corev1.ConfigMap](t)(configMaps.Create(ctx, configMap("d", nil), metav1.CreateOptions{}))
		bookmarks := 0
		for e := range events.ResultChan() {
			cm, ok := e.Object.(*corev1.ConfigMap)
			if e.Type != watch.Bookmark || !ok || cm.ResourceVersion == "" {
				t.Errorf("%s %+v, want bookmarks", e.Type, e.Object)
			}
			bookmarks++
		}
		if bookmarks == 0 {
			t.Error("there was no bookmark")
		}
	})

	t.Run("encodings", func(t *testing.T) {
		// A watcher of tables gets the columns once, and rows.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", w.Address+"/api/v1/namespaces/"+ns+"/configmaps?watch=true&fieldSelector=metadata.name%3Db", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", asTable)
		res := must[*http.Response](t)(w.http.Do(r))
		defer res.Body.Close()
		line := must[string](t)(bufio.NewReader(res.Body).ReadString('\n'))
		var e struct {
			Type   watch.EventType
			Object metav1.Table
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != watch.Added || e.Object.Kind != "Table" || len(e.Object.ColumnDefinitions) != 3 || len(e.Object.Rows) != 1 {
			t.Errorf("got %s", line)
		}
		// YAML has no frames, so a stream in it could not be taken apart.
		answer := w.send(t, "GET", "/api/v1/namespaces/"+ns+"/configmaps?watch=true&timeoutSeconds=1", "", "Accept", asYAML)
		wantAnswer(t, answer, 406, "")
	})

	for name, test := range map[string]struct {
		query string
		code  int
		part  string
	}{
		"future":              {"resourceVersion=9000000000&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=5", 200, "Too large resource version"},
		"initial events only": {"sendInitialEvents=true", 422, "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"},
		"match":               {"resourceVersion=1&resourceVersionMatch=Exact", 422, "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.send(t, "GET", "/api/v1/namespaces/"+ns+"/configmaps?watch=true&"+test.query, "")
			wantAnswer(t, answer, test.code, test.part)
		})
	}
}

// want expects the next event to be about the object of that name.
func want(t *testing.T, events watch.Interface, kind watch.EventType, name string) *corev1.ConfigMap {
	t.Helper()
	e := <-events.ResultChan()
	cm, ok := e.Object.(*corev1.ConfigMap)
	if e.Type != kind || !ok || cm.Name != name {
		t.Fatalf("got %s %+v, want %s of %q", e.Type, e.Object, kind, name)
	}
	return cm
}

// TestExpired asks a server for a past that it does not know any more.
func TestExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ns := w.namespace(t)
	old := must[*corev1.ConfigMap](t)(w.client(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("a", nil), metav1.CreateOptions{}))
	w.namespace(t)
	w.Restart()
	a := w.send(t, "GET", "/api/v1/namespaces/"+ns+"/configmaps?watch=true&timeoutSeconds=5&resourceVersion="+old.ResourceVersion, "")
	if !strings.Contains(a.body, `"reason":"Expired"`) || !strings.Contains(a.body, "too old resource version") || !strings.Contains(a.body, `"code":410`) {
		t.Errorf("%d %s", a.code, a.body)
	}
}
