package clientgo_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	rbacv1apply "k8s.io/client-go/applyconfigurations/rbac/v1"
)

// testApply is server-side apply: who owns what, and what becomes of it.
func testApply(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	client := w.client(t)
	configMaps := client.CoreV1().ConfigMaps(ns)
	ours := metav1.ApplyOptions{FieldManager: "ours"}
	theirs := metav1.ApplyOptions{FieldManager: "theirs"}

	t.Run("conflict", func(t *testing.T) {
		data := func(k, v string) *corev1apply.ConfigMapApplyConfiguration {
			return corev1apply.ConfigMap("shared", ns).WithData(map[string]string{k: v})
		}
		must[*corev1.ConfigMap](t)(configMaps.Apply(ctx, data("a", "1").WithLabels(map[string]string{"x": "y"}), ours))
		_, err := configMaps.Apply(ctx, data("a", "2"), theirs)
		status := wantRefusal(t, err, refusal{409, metav1.StatusReasonConflict, `Apply failed with 1 conflict: conflict with "ours": .data.a`})
		if c := status.Details.Causes; len(c) != 1 || c[0].Type != metav1.CauseTypeFieldManagerConflict || c[0].Field != ".data.a" || c[0].Message != `conflict with "ours"` {
			t.Errorf("causes %+v", c)
		}
		// The same value is no conflict, and two managers own it then.
		must[*corev1.ConfigMap](t)(configMaps.Apply(ctx, data("a", "1"), theirs))
		// What its last owner does not name any more is gone; what another one
		// has, stays.
		cm := must[*corev1.ConfigMap](t)(configMaps.Apply(ctx, data("b", "1"), ours))
		if cm.Data["a"] != "1" || cm.Data["b"] != "1" || cm.Labels["x"] != "" {
			t.Errorf("%+v", cm)
		}
		forced := theirs
		forced.Force = true
		cm = must[*corev1.ConfigMap](t)(configMaps.Apply(ctx, data("b", "2"), forced))
		if cm.Data["a"] != "" || cm.Data["b"] != "2" {
			t.Errorf("%+v", cm)
		}
		if m := managers(cm.ManagedFields); m["ours"] != "" || m["theirs"] != "Apply" {
			t.Errorf("managers %v", m)
		}
	})

	t.Run("manager", func(t *testing.T) {
		a := w.send(t, "PATCH", "/api/v1/namespaces/"+ns+"/configmaps/unowned", "apiVersion: v1\nkind: ConfigMap\n", "Content-Type", "application/apply-patch+yaml")
		wantAnswer(t, a, 422, "PatchOptions.meta.k8s.io \\\"\\\" is invalid: fieldManager: Required value: is required for apply patch")
	})

	t.Run("status", func(t *testing.T) {
		node := "node-" + ns
		applied := corev1apply.Node(node).WithSpec(corev1apply.NodeSpec().WithUnschedulable(true)).
			WithStatus(corev1apply.NodeStatus().WithPhase(corev1.NodeRunning))
		nodes := client.CoreV1().Nodes()
		must[*corev1.Node](t)(nodes.Apply(ctx, applied, ours))
		n := must[*corev1.Node](t)(nodes.Apply(ctx, applied, ours))
		if !n.Spec.Unschedulable {
			t.Errorf("%+v", n)
		}
		for _, m := range n.ManagedFields {
			if m.Manager == "ours" && strings.Contains(m.FieldsV1.GetRawString(), "f:status") {
				t.Errorf("a write of the node itself owns its status: %s", m.FieldsV1.GetRawString())
			}
		}
		applied = corev1apply.Node(node).WithSpec(corev1apply.NodeSpec().WithUnschedulable(false)).
			WithStatus(corev1apply.NodeStatus().WithPhase(corev1.NodeTerminated))
		n = must[*corev1.Node](t)(nodes.ApplyStatus(ctx, applied, theirs))
		if !n.Spec.Unschedulable || n.Status.Phase != corev1.NodeTerminated {
			t.Errorf("%+v", n)
		}
		for _, m := range n.ManagedFields {
			if m.Manager == "theirs" && (m.Subresource != "status" || strings.Contains(m.FieldsV1.GetRawString(), "f:spec")) {
				t.Errorf("a write of the status owns %s of %q", m.FieldsV1.GetRawString(), m.Subresource)
			}
		}
	})

	t.Run("lists", func(t *testing.T) {
		// Rules are one value, and service account's secrets are a map by name.
		roles, accounts := client.RbacV1().Roles(ns), client.CoreV1().ServiceAccounts(ns)
		rule := func(verb string) *rbacv1apply.PolicyRuleApplyConfiguration {
			return rbacv1apply.PolicyRule().WithVerbs(verb).WithAPIGroups("").WithResources("pods")
		}
		if _, err := roles.Apply(ctx, rbacv1apply.Role("r", ns).WithRules(rule("get")), ours); err != nil {
			t.Fatal(err)
		}
		_, err := roles.Apply(ctx, rbacv1apply.Role("r", ns).WithRules(rule("list")), theirs)
		wantRefusal(t, err, refusal{409, metav1.StatusReasonConflict, ".rules"})

		if _, err := accounts.Apply(ctx, corev1apply.ServiceAccount("sa", ns).WithSecrets(corev1apply.ObjectReference().WithName("a")), ours); err != nil {
			t.Fatal(err)
		}
		sa := must[*corev1.ServiceAccount](t)(accounts.Apply(ctx, corev1apply.ServiceAccount("sa", ns).WithSecrets(corev1apply.ObjectReference().WithName("b")), theirs))
		if len(sa.Secrets) != 2 {
			t.Errorf("secrets %v, want both", sa.Secrets)
		}
	})

	t.Run("extract", func(t *testing.T) {
		// A controller that applies reads back what it applied before.
		cm := must[*corev1.ConfigMap](t)(configMaps.Apply(ctx, corev1apply.ConfigMap("mine", ns).WithData(map[string]string{"a": "1"}), ours))
		cm.Data["b"] = "2"
		cm = must[*corev1.ConfigMap](t)(configMaps.Update(ctx, cm, metav1.UpdateOptions{FieldManager: "theirs"}))
		mine, err := corev1apply.ExtractConfigMap(cm, "ours")
		if err != nil || len(mine.Data) != 1 || mine.Data["a"] != "1" {
			t.Errorf("%v, extracted %+v", err, mine)
		}
	})
}

// managers tells how each manager wrote last.
func managers(entries []metav1.ManagedFieldsEntry) map[string]string {
	out := map[string]string{}
	for _, e := range entries {
		out[e.Manager] = string(e.Operation)
	}
	return out
}
