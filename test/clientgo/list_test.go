package clientgo_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/env"
)

const (
	asTable    = "application/json;as=Table;v=v1;g=meta.k8s.io"
	asMetadata = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
	asMetaList = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
)

// testList reads lists in chunks, and at versions.
func testList(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	configMaps := w.client(t).CoreV1().ConfigMaps(ns)
	const all = 7 // and kube-root-ca.crt, which a controller makes
	for i := range all {
		cm := configMap(fmt.Sprintf("cm-%d", i), nil)
		cm.Labels = map[string]string{"test": "list"}
		must[*corev1.ConfigMap](t)(configMaps.Create(ctx, cm, metav1.CreateOptions{}))
	}
	env.Eventually(t, "the root CA in the namespace", func() bool {
		_, err := configMaps.Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err == nil
	})

	t.Run("chunks", func(t *testing.T) {
		var names []string
		var remaining []int64
		options := metav1.ListOptions{Limit: 3}
		version := ""
		for {
			list := must[*corev1.ConfigMapList](t)(configMaps.List(ctx, options))
			for _, cm := range list.Items {
				names = append(names, cm.Name)
			}
			if version == "" {
				version = list.ResourceVersion
				// What is written between two chunks is in none.
				must[*corev1.ConfigMap](t)(configMaps.Create(ctx, configMap("cm-55", nil), metav1.CreateOptions{}))
			}
			if list.ResourceVersion != version {
				t.Errorf("a chunk of version %s in a list of version %s", list.ResourceVersion, version)
			}
			if list.RemainingItemCount != nil {
				remaining = append(remaining, *list.RemainingItemCount)
			}
			if options.Continue = list.Continue; options.Continue == "" {
				break
			}
		}
		want := []string{"cm-0", "cm-1", "cm-2", "cm-3", "cm-4", "cm-5", "cm-6", "kube-root-ca.crt"}
		if !slices.Equal(names, want) || !slices.Equal(remaining, []int64{5, 2}) {
			t.Errorf("got %v, remaining %v", names, remaining)
		}
	})

	t.Run("selected chunks", func(t *testing.T) {
		list := must[*corev1.ConfigMapList](t)(configMaps.List(ctx, metav1.ListOptions{Limit: 3, LabelSelector: "test=list"}))
		if len(list.Items) != 3 || list.Continue == "" || list.RemainingItemCount != nil {
			t.Errorf("%d items, continue %q, remaining %v; how many are left is not known", len(list.Items), list.Continue, list.RemainingItemCount)
		}
	})

	for _, test := range []struct {
		name, query string
		code        int
		part        string
	}{
		{"continue token of somebody else", "limit=1&continue=xyz", 400, "invalid continue token: continue key is not valid"},
		{"version of the future", "resourceVersion=9000000000", 504, "Too large resource version: 9000000000, current: "},
		{"version that is none", "resourceVersion=x", 400, "Invalid value: \\\"x\\\""},
		{"match without a version", "resourceVersionMatch=Exact", 422, "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"},
		{"match that is none", "resourceVersion=1&resourceVersionMatch=Nearly", 422, "resourceVersionMatch: Unsupported value: \\\"Nearly\\\""},
		{"streaming list that is no watch", "sendInitialEvents=true", 422, "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"},
		{"label selector that is none", "labelSelector=a+in", 400, "unable to parse requirement"},
		{"field selector that is none", "fieldSelector=a", 400, "invalid selector"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantAnswer(t, w.send(t, "GET", "/api/v1/namespaces/"+ns+"/configmaps?"+test.query, ""), test.code, test.part)
		})
	}

	t.Run("versions", func(t *testing.T) {
		now := must[*corev1.ConfigMapList](t)(configMaps.List(ctx, metav1.ListOptions{LabelSelector: "test=list"}))
		if err := configMaps.Delete(ctx, "cm-6", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			options metav1.ListOptions
			want    int
		}{
			{metav1.ListOptions{ResourceVersion: now.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact}, all},
			{metav1.ListOptions{}, all - 1},
		} {
			test.options.LabelSelector = "test=list"
			list := must[*corev1.ConfigMapList](t)(configMaps.List(ctx, test.options))
			if len(list.Items) != test.want {
				t.Errorf("%+v: %d items, want %d", test.options, len(list.Items), test.want)
			}
		}
		// Any version will do, so this may be of the past, but is no error.
		must[*corev1.ConfigMapList](t)(configMaps.List(ctx, metav1.ListOptions{ResourceVersion: "0"}))
	})
}

// testTables asks for objects in the forms that kubectl and controllers of
// metadata want.
func testTables(t *testing.T, w *world) {
	ns := w.namespace(t)
	must[*corev1.Secret](t)(w.client(t).CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"a": nil, "b": nil},
	}, metav1.CreateOptions{}))
	path := "/api/v1/namespaces/" + ns + "/secrets"

	t.Run("table", func(t *testing.T) {
		table := decode[metav1.Table](t, w.send(t, "GET", path, "", "Accept", asTable+",application/json"))
		var columns []string
		for _, c := range table.ColumnDefinitions {
			columns = append(columns, c.Name)
		}
		if table.Kind != "Table" || !slices.Equal(columns, []string{"Name", "Type", "Data", "Age"}) || len(table.Rows) != 1 {
			t.Fatalf("%+v", table)
		}
		if cells := table.Rows[0].Cells; fmt.Sprint(cells[:3]) != "[s Opaque 2]" {
			t.Errorf("cells %v", cells)
		}
		var row metav1.PartialObjectMetadata
		if err := json.Unmarshal(table.Rows[0].Object.Raw, &row); err != nil || row.Kind != "PartialObjectMetadata" || row.Name != "s" {
			t.Errorf("%v, row of %s", err, table.Rows[0].Object.Raw)
		}
	})
	t.Run("whole objects", func(t *testing.T) {
		table := decode[metav1.Table](t, w.send(t, "GET", path+"/s?includeObject=Object", "", "Accept", asTable))
		var s corev1.Secret
		if err := json.Unmarshal(table.Rows[0].Object.Raw, &s); err != nil || len(s.Data) != 2 {
			t.Errorf("%v, row of %s", err, table.Rows[0].Object.Raw)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		a := w.send(t, "GET", path+"/s", "", "Accept", asMetadata)
		if m := decode[metav1.PartialObjectMetadata](t, a); m.Kind != "PartialObjectMetadata" || m.Name != "s" || strings.Contains(a.body, `"data"`) {
			t.Error(a)
		}
		a = w.send(t, "GET", path, "", "Accept", asMetaList)
		if m := decode[metav1.PartialObjectMetadataList](t, a); m.Kind != "PartialObjectMetadataList" || len(m.Items) != 1 || strings.Contains(a.body, `"data"`) {
			t.Error(a)
		}
	})
	t.Run("refusal", func(t *testing.T) {
		// A Status is not a table, and says so itself.
		wantAnswer(t, w.send(t, "GET", path+"/x", "", "Accept", asTable), 404, `"kind": "Status"`, `secrets \"x\" not found`)
	})
	for accept, want := range map[string]string{
		asYAML: "apiVersion: v1\n", "*/*": `{"kind":"Secret"`, "application/json, */*": `{"kind":"Secret"`, asProtobuf: "k8s\x00",
	} {
		t.Run(accept, func(t *testing.T) { wantAnswer(t, w.send(t, "GET", path+"/s", "", "Accept", accept), 200, want) })
	}
	t.Run("unknown encoding", func(t *testing.T) {
		wantAnswer(t, w.send(t, "GET", path+"/s", "", "Accept", "text/html"), 406, "Available representations: application/json, application/yaml, application/vnd.kubernetes.protobuf")
	})
}

// testSelectors selects objects by every field that can be, and by others.
func testSelectors(t *testing.T, w *world) {
	ns := w.namespace(t)
	for _, test := range []struct {
		group, resource string
		namespaced      bool
		fields          []string
	}{
		{"/api/v1", "namespaces", false, []string{"status.phase"}},
		{"/api/v1", "secrets", true, []string{"type"}},
		{"/api/v1", "serviceaccounts", true, nil},
		{"/api/v1", "configmaps", true, nil},
		{"/api/v1", "pods", true, []string{
			"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
			"status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
		}},
		{"/api/v1", "nodes", false, []string{"spec.unschedulable"}},
		{"/api/v1", "events", true, []string{
			"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
			"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
			"reason", "reportingComponent", "source", "type",
		}},
		{"/apis/rbac.authorization.k8s.io/v1", "roles", true, nil},
		{"/apis/rbac.authorization.k8s.io/v1", "rolebindings", true, nil},
		{"/apis/rbac.authorization.k8s.io/v1", "clusterroles", false, nil},
		{"/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", false, nil},
		{"/apis/certificates.k8s.io/v1", "certificatesigningrequests", false, []string{"spec.signerName"}},
		{"/apis/certificates.k8s.io/v1", "clustertrustbundles", false, []string{"spec.signerName"}},
		{"/apis/coordination.k8s.io/v1", "leases", true, nil},
	} {
		t.Run(test.resource, func(t *testing.T) {
			fields := append([]string{"metadata.name"}, test.fields...)
			path := test.group + "/" + test.resource
			if test.namespaced {
				fields = append(fields, "metadata.namespace")
				path = test.group + "/namespaces/" + ns + "/" + test.resource
			}
			for _, f := range fields {
				a := w.send(t, "GET", path+"?fieldSelector="+f+"%3Dnothing-has-this", "")
				wantAnswer(t, a, 200, `"items":[]`)
			}
			for _, f := range []string{"spec.nothing", "data", "metadata.uid"} {
				for _, watching := range []string{"", "&watch=true"} {
					a := w.send(t, "GET", path+"?fieldSelector="+f+"%3Dx"+watching, "")
					wantAnswer(t, a, 400, `"reason":"BadRequest"`, f)
				}
			}
		})
	}
}

// decode returns the object in a, which has to be a success.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var obj T
	if a.code/100 != 2 {
		t.Fatalf("%d %s", a.code, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &obj); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return obj
}
