package clientgo_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/test/env"
)

// testNamespaces deletes namespaces: what is in one goes first, and what cannot
// go keeps it, and says so.
func testNamespaces(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	client := w.client(t)
	namespaces, core := client.CoreV1().Namespaces(), client.CoreV1()

	held := configMap("held", nil)
	held.Finalizers = []string{"example.org/hold"}
	must[*corev1.ConfigMap](t)(core.ConfigMaps(ns).Create(ctx, held, metav1.CreateOptions{}))
	must[*corev1.Secret](t)(core.Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}))

	before := must[*corev1.Namespace](t)(namespaces.Get(ctx, ns, metav1.GetOptions{}))
	if f := before.Spec.Finalizers; len(f) != 1 || f[0] != corev1.FinalizerKubernetes || before.Status.Phase != corev1.NamespaceActive {
		t.Errorf("a new namespace: %+v", before)
	}
	wantRefusal(t, namespaces.Delete(ctx, ns, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions("x")}),
		refusal{409, metav1.StatusReasonConflict, "Precondition failed: UID in precondition: x, UID in object meta: " + string(before.UID)})
	if err := namespaces.Delete(ctx, ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// Deleting again changes nothing.
	if err := namespaces.Delete(ctx, ns, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	var now *corev1.Namespace
	env.Eventually(t, "the namespace to say what holds it", func() bool {
		now = must[*corev1.Namespace](t)(namespaces.Get(ctx, ns, metav1.GetOptions{}))
		return condition(now, corev1.NamespaceFinalizersRemaining) == corev1.ConditionTrue
	})
	if now.Status.Phase != corev1.NamespaceTerminating || now.DeletionTimestamp.IsZero() {
		t.Errorf("%+v", now)
	}
	for kind, want := range map[corev1.NamespaceConditionType]corev1.ConditionStatus{
		corev1.NamespaceContentRemaining: "True", corev1.NamespaceDeletionContentFailure: "False",
		corev1.NamespaceDeletionDiscoveryFailure: "False", corev1.NamespaceDeletionGVParsingFailure: "False",
	} {
		if got := condition(now, kind); got != want {
			t.Errorf("condition %s is %q, want %s", kind, got, want)
		}
	}
	for _, c := range now.Status.Conditions {
		if c.Type == corev1.NamespaceFinalizersRemaining && c.Reason+": "+c.Message != "SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.org/hold in 1 resource instances" {
			t.Errorf("it says %+v", c)
		}
	}
	if _, err := core.Secrets(ns).Get(ctx, "s", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the secret is still there: %v", err)
	}

	// Nothing new gets in, by whatever way.
	_, err := core.Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{})
	status := wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, `secrets "late" is forbidden: unable to create new content in namespace ` + ns + ` because it is being terminated`})
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("causes %+v", status.Details.Causes)
	}
	_, err = core.ConfigMaps(ns).Patch(ctx, "late", types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"late"}}`), metav1.PatchOptions{FieldManager: "m"})
	wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, "because it is being terminated"})
	// What is there can still be changed, or it could never be let go.
	must[*corev1.ConfigMap](t)(core.ConfigMaps(ns).Patch(ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}))
	env.Eventually(t, "the namespace to be gone", func() bool {
		_, err := namespaces.Get(ctx, ns, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})

	t.Run("missing", func(t *testing.T) {
		_, err := core.Secrets("missing").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
		wantRefusal(t, err, refusal{404, metav1.StatusReasonNotFound, `namespaces "missing" not found`})
		list := must[*corev1.SecretList](t)(core.Secrets("missing").List(ctx, metav1.ListOptions{}))
		if len(list.Items) != 0 {
			t.Errorf("%+v", list)
		}
	})
	t.Run("protected", func(t *testing.T) {
		for _, name := range []string{"default", "kube-system", "kube-public"} {
			wantRefusal(t, namespaces.Delete(ctx, name, metav1.DeleteOptions{}),
				refusal{403, metav1.StatusReasonForbidden, `namespaces "` + name + `" is forbidden: this namespace may not be deleted`})
		}
	})
	t.Run("finalize", func(t *testing.T) {
		// Only this subresource takes the finalizer off.
		ns := w.namespace(t)
		n := must[*corev1.Namespace](t)(namespaces.Get(ctx, ns, metav1.GetOptions{}))
		n.Spec.Finalizers = nil
		if n = must[*corev1.Namespace](t)(namespaces.Update(ctx, n, metav1.UpdateOptions{})); len(n.Spec.Finalizers) != 1 {
			t.Errorf("an update took the finalizer off: %+v", n.Spec)
		}
		n.Spec.Finalizers = append(n.Spec.Finalizers, "example.org/hold")
		if n = must[*corev1.Namespace](t)(namespaces.Finalize(ctx, n, metav1.UpdateOptions{})); len(n.Spec.Finalizers) != 2 {
			t.Errorf("finalize left %+v", n.Spec)
		}
		n.Spec.Finalizers = []corev1.FinalizerName{"nothing"}
		_, err := namespaces.Finalize(ctx, n, metav1.UpdateOptions{})
		wantRefusal(t, err, refusal{422, metav1.StatusReasonInvalid, "spec.finalizers"})
	})
}

// condition returns the status of a condition, or "".
func condition(ns *corev1.Namespace, kind corev1.NamespaceConditionType) corev1.ConditionStatus {
	for _, c := range ns.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}
