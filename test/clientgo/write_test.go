package clientgo_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testDryRun makes every kind of write, and expects nothing of it to stay.
func testDryRun(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	secrets := w.client(t).CoreV1().Secrets(ns)
	dry := []string{metav1.DryRunAll}
	secret := func(name, value string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"k": []byte(value)}}
	}
	kept := must[*corev1.Secret](t)(secrets.Create(ctx, secret("kept", "a"), metav1.CreateOptions{}))

	made := must[*corev1.Secret](t)(secrets.Create(ctx, secret("dry", "a"), metav1.CreateOptions{DryRun: dry}))
	if made.Type != corev1.SecretTypeOpaque || made.UID == "" {
		t.Errorf("a dry run does not answer as the real one would: %+v", made)
	}
	_, err := secrets.Create(ctx, secret("kept", "a"), metav1.CreateOptions{DryRun: dry})
	wantRefusal(t, err, refusal{409, metav1.StatusReasonAlreadyExists, `secrets "kept" already exists`})
	_, err = secrets.Create(ctx, secret("Dry", "a"), metav1.CreateOptions{DryRun: dry})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "metadata.name"})

	changed := kept.DeepCopy()
	changed.Data["k"] = []byte("b")
	if s := must[*corev1.Secret](t)(secrets.Update(ctx, changed, metav1.UpdateOptions{DryRun: dry})); string(s.Data["k"]) != "b" {
		t.Errorf("a dry run does not answer as the real one would: %+v", s)
	}
	must[*corev1.Secret](t)(secrets.Patch(ctx, "kept", types.MergePatchType, []byte(`{"data":{"l":"bA=="}}`), metav1.PatchOptions{DryRun: dry}))
	must[*corev1.Secret](t)(secrets.Patch(ctx, "applied", types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"applied"}}`), metav1.PatchOptions{DryRun: dry, FieldManager: "m"}))
	if err := secrets.Delete(ctx, "kept", metav1.DeleteOptions{DryRun: dry}); err != nil {
		t.Error(err)
	}
	if err := secrets.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	if err := w.client(t).CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{DryRun: dry}); err != nil {
		t.Error(err)
	}
	list := must[*corev1.SecretList](t)(secrets.List(ctx, metav1.ListOptions{}))
	if len(list.Items) != 1 || list.Items[0].ResourceVersion != kept.ResourceVersion {
		t.Errorf("dry runs left %+v", list.Items)
	}
	if n := must[*corev1.Namespace](t)(w.client(t).CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})); !n.DeletionTimestamp.IsZero() || n.Status.Phase != corev1.NamespaceActive {
		t.Errorf("a dry run began to delete the namespace: %+v", n)
	}
	_, err = secrets.Create(ctx, secret("dry", "a"), metav1.CreateOptions{DryRun: []string{"Some"}})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, `dryRun: Unsupported value: ["Some"]: supported values: "All"`})
}

// testFieldValidation sends what nobody knows, and what is there twice.
func testFieldValidation(t *testing.T, w *world) {
	ns := w.namespace(t)
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	const (
		twice   = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NAME"},"data":{"a":"1","a":"2"},"dat":{}}`
		yaml    = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\ndata:\n  a: '1'\n  a: '2'\ndat: {}\n"
		problem = `strict decoding error: `
	)
	for _, test := range []struct {
		name, mode, contentType, body string
		code                          int
		parts, warnings               []string
	}{
		{"strict", "Strict", asJSON, twice, 400, []string{problem, `duplicate field \"data.a\"`, `unknown field \"dat\"`}, nil},
		{"strict-yaml", "Strict", asYAML, yaml, 400, []string{problem, `key \"a\" already set in map`}, nil},
		{"warn", "Warn", asJSON, twice, 201, nil, []string{`duplicate field "data.a"`, `unknown field "dat"`}},
		{"warn-yaml", "Warn", asYAML, yaml, 201, nil, []string{`line 7: key "a" already set in map`, `unknown field "dat"`}},
		{"default", "", asJSON, twice, 201, nil, []string{`duplicate field "data.a"`, `unknown field "dat"`}},
		{"ignore", "Ignore", asJSON, twice, 201, nil, nil},
		{"none", "Perhaps", asJSON, twice, 422, []string{`fieldValidation: Unsupported value: \"Perhaps\"`}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := w.send(t, "POST", path+"?fieldValidation="+test.mode, strings.ReplaceAll(test.body, "NAME", "cm-"+test.name), "Content-Type", test.contentType)
			wantAnswer(t, a, test.code, test.parts...)
			wantWarnings(t, a.header, test.warnings)
		})
	}
	t.Run("patch", func(t *testing.T) {
		a := w.send(t, "PATCH", path+"/cm-warn?fieldValidation=Strict", `{"dat":{}}`, "Content-Type", string(types.MergePatchType))
		wantAnswer(t, a, 422, `unknown field \"dat\"`)
		a = w.send(t, "PATCH", path+"/cm-warn?fieldValidation=Strict&fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","dat":{}}`, "Content-Type", string(types.ApplyPatchType))
		wantAnswer(t, a, 400, "failed to create typed patch object", ".dat: field not declared in schema")
	})
}

func wantWarnings(t *testing.T, header http.Header, parts []string) {
	t.Helper()
	got := header.Values("Warning")
	if len(got) != len(parts) {
		t.Errorf("warnings %q, want %d", got, len(parts))
	}
	for _, part := range parts {
		if !strings.Contains(strings.ReplaceAll(strings.Join(got, "\n"), `\`, ""), part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
}

// testNames lets the server choose a name, and holds to those that are given.
func testNames(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	core := w.client(t).CoreV1()
	names := map[string]bool{}
	for range 3 {
		cm := must[*corev1.ConfigMap](t)(core.ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}}, metav1.CreateOptions{}))
		if suffix, ok := strings.CutPrefix(cm.Name, "made-"); !ok || len(suffix) != 5 || names[cm.Name] {
			t.Errorf("the name is %q", cm.Name)
		}
		names[cm.Name] = true
	}
	// The label by which selectors find a namespace is there from the start.
	made := must[*corev1.Namespace](t)(core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}}, metav1.CreateOptions{}))
	if made.Labels[corev1.LabelMetadataName] != made.Name {
		t.Errorf("namespace %s is labelled %v", made.Name, made.Labels)
	}
	_, err := core.ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{}, metav1.CreateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "metadata.name: Required value: name or generateName is required"})

	path := "/api/v1/namespaces/" + ns + "/configmaps"
	for name, test := range map[string]struct {
		method, path, body string
		code               int
		part               string
	}{
		"name differs":      {"PUT", path + "/a", `{"metadata":{"name":"b"}}`, 400, "the name of the object (b) does not match the name on the URL (a)"},
		"namespace differs": {"POST", path, `{"metadata":{"name":"a","namespace":"other"}}`, 400, "the namespace of the provided object does not match the namespace sent on the request"},
		"kind differs":      {"POST", path, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`, 400, "Secret in version \\\"v1\\\" cannot be handled as a ConfigMap"},
		"version differs":   {"POST", path, `{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"a"}}`, 400, "no kind \\\"ConfigMap\\\" is registered for version \\\"v2\\\""},
		"hub version":       {"POST", path, `{"apiVersion":"__internal","kind":"ConfigMap","metadata":{"name":"a"}}`, 400, "does not match the expected API version (v1)"},
		"no object":         {"POST", path, ``, 400, "unexpected end of JSON input"},
		"PUT creates none":  {"PUT", path + "/missing", `{"metadata":{"name":"missing"}}`, 404, `configmaps \"missing\" not found`},
		"no such method":    {"POST", path + "/a", `{}`, 405, "the server does not allow this method on the requested resource"},
		"no such resource":  {"GET", "/api/v1/namespaces/" + ns + "/services", "", 404, "the server could not find the requested resource"},
		"no such group":     {"GET", "/apis/apps/v1/deployments", "", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantAnswer(t, w.send(t, test.method, test.path, test.body, "Content-Type", asJSON), test.code, test.part)
		})
	}
	t.Run("PUT creates a role", func(t *testing.T) {
		a := w.send(t, "PUT", "/apis/rbac.authorization.k8s.io/v1/namespaces/"+ns+"/roles/put", `{"metadata":{"name":"put"}}`, "Content-Type", asJSON)
		wantAnswer(t, a, 201, `"name":"put"`)
	})
}

// testImmutable changes what cannot change.
func testImmutable(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	client := w.client(t)
	secrets, configMaps := client.CoreV1().Secrets(ns), client.CoreV1().ConfigMaps(ns)
	s := must[*corev1.Secret](t)(secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Immutable: ptr(true), Data: map[string][]byte{"k": []byte("v")}}, metav1.CreateOptions{}))
	changed := s.DeepCopy()
	changed.Data["k"] = []byte("w")
	_, err := secrets.Update(ctx, changed, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "data: Forbidden: field is immutable when `immutable` is set"})
	changed = s.DeepCopy()
	changed.Immutable = nil
	_, err = secrets.Update(ctx, changed, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "immutable: Forbidden"})
	changed = s.DeepCopy()
	changed.Type = "other"
	_, err = secrets.Update(ctx, changed, metav1.UpdateOptions{})
	status := wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, `Secret "s" is invalid: type: Invalid value: "other": field is immutable`})
	if d := status.Details; d == nil || d.Kind != "Secret" || d.Name != "s" || len(d.Causes) != 1 || d.Causes[0].Field != "type" || d.Causes[0].Type != metav1.CauseTypeFieldValueInvalid {
		t.Errorf("details %+v", d)
	}
	changed = s.DeepCopy()
	changed.Labels = map[string]string{"a": "b"}
	must[*corev1.Secret](t)(secrets.Update(ctx, changed, metav1.UpdateOptions{}))

	cm := configMap("cm", map[string]string{"k": "v"})
	cm.Immutable = ptr(true)
	must[*corev1.ConfigMap](t)(configMaps.Create(ctx, cm, metav1.CreateOptions{}))
	_, err = configMaps.Patch(ctx, "cm", types.MergePatchType, []byte(`{"data":{"k":"w"}}`), metav1.PatchOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "data: Forbidden: field is immutable when `immutable` is set"})

	path := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + ns + "/rolebindings"
	const binding = `{"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"ROLE"}}`
	wantAnswer(t, w.send(t, "POST", path, strings.ReplaceAll(binding, "ROLE", "view"), "Content-Type", asJSON), 201)
	wantAnswer(t, w.send(t, "PUT", path+"/b", strings.ReplaceAll(binding, "ROLE", "edit"), "Content-Type", asJSON), 422, "roleRef: Invalid value", "cannot change roleRef")
}

// testDelete deletes with conditions, many at once, and what is not there.
func testDelete(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	configMaps := w.client(t).CoreV1().ConfigMaps(ns)
	make := func(name string, labels map[string]string, finalizers ...string) *corev1.ConfigMap {
		cm := configMap(name, nil)
		cm.Labels, cm.Finalizers = labels, finalizers
		return must[*corev1.ConfigMap](t)(configMaps.Create(ctx, cm, metav1.CreateOptions{}))
	}
	one := make("one", nil)
	for _, test := range []struct {
		options metav1.DeleteOptions
		message string
	}{
		{metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions("x")}, "the UID in the precondition (x) does not match the UID in record (" + string(one.UID) + "). The object might have been deleted and then recreated"},
		{metav1.DeleteOptions{Preconditions: metav1.NewRVDeletionPrecondition("1").Preconditions}, "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (" + one.ResourceVersion + "). The object might have been modified"},
	} {
		err := configMaps.Delete(ctx, "one", test.options)
		wantRefusal(t, err, refusal{409, metav1.StatusReasonConflict, test.message})
	}
	if err := configMaps.Delete(ctx, "one", metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(one.UID))}); err != nil {
		t.Error(err)
	}
	status := wantRefusal(t, configMaps.Delete(ctx, "one", metav1.DeleteOptions{}), refusal{404, metav1.StatusReasonNotFound, `configmaps "one" not found`})
	if d := status.Details; d == nil || d.Name != "one" || d.Kind != "configmaps" {
		t.Errorf("details %+v", d)
	}

	make("red-1", map[string]string{"color": "red"})
	make("red-2", map[string]string{"color": "red"})
	make("blue", map[string]string{"color": "blue"})
	if err := configMaps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "color=red"}); err != nil {
		t.Error(err)
	}
	list := must[*corev1.ConfigMapList](t)(configMaps.List(ctx, metav1.ListOptions{LabelSelector: "color"}))
	if len(list.Items) != 1 || list.Items[0].Name != "blue" {
		t.Errorf("the collection left %v", list.Items)
	}
	// All namespaces at once are no collection.
	wantAnswer(t, w.send(t, "DELETE", "/api/v1/namespaces", ""), 405)

	// A finalizer keeps the object until it is taken off; until then there is
	// nothing new in its name.
	held := make("held", nil, "example.org/hold")
	if err := configMaps.Delete(ctx, "held", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	held = must[*corev1.ConfigMap](t)(configMaps.Get(ctx, held.Name, metav1.GetOptions{}))
	if held.DeletionTimestamp.IsZero() {
		t.Errorf("held %+v", held)
	}
	_, err := configMaps.Create(ctx, configMap("held", nil), metav1.CreateOptions{})
	wantRefusal(t, err, refusal{409, metav1.StatusReasonAlreadyExists, "object is being deleted: configmaps \"held\" already exists"})
	added := held.DeepCopy()
	added.Finalizers = append(added.Finalizers, "example.org/more")
	_, err = configMaps.Update(ctx, added, metav1.UpdateOptions{})
	wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"})
	held.Finalizers = nil
	must[*corev1.ConfigMap](t)(configMaps.Update(ctx, held, metav1.UpdateOptions{}))
	if _, err := configMaps.Get(ctx, "held", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("held is still there: %v", err)
	}

	// There is no garbage collector that would take these finalizers off.
	for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan, metav1.DeletePropagationBackground} {
		make("cascade", nil)
		if err := configMaps.Delete(ctx, "cascade", metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			t.Error(err)
		}
		if _, err := configMaps.Get(ctx, "cascade", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: still there: %v", policy, err)
		}
	}
	// What the delete of an object answers with depends on its kind.
	accounts := "/api/v1/namespaces/" + ns + "/serviceaccounts"
	wantAnswer(t, w.send(t, "POST", accounts, `{"metadata":{"name":"sa"}}`, "Content-Type", asJSON), 201)
	wantAnswer(t, w.send(t, "DELETE", accounts+"/sa", ""), 200, `"kind":"ServiceAccount"`)
	wantAnswer(t, w.send(t, "DELETE", "/api/v1/namespaces/"+ns+"/configmaps/blue", ""), 200, `"kind":"Status"`, `"status":"Success"`, `"uid":`)
}
