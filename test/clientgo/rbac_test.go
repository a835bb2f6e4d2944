package clientgo_test

import (
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/test/env"
)

// testRBAC gives out permissions: those that one has, and others.
func testRBAC(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	on := func(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: resources}
	}
	admin := w.client(t).RbacV1()
	// Dave may write roles and bindings, and read pods.
	w.allow(t, "dave", on(rbacv1.GroupName, []string{"roles", "rolebindings"}, "create", "update", "patch"), on("", []string{"pods"}, "get"))
	dave := typed(t, w.as("dave"), asProtobuf).RbacV1()
	role := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	}
	binding := func(name, kind, of, to string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: of},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: to}},
		}
	}
	pods, secrets := on("", []string{"pods"}, "get"), on("", []string{"secrets"}, "get")

	made := must[*rbacv1.Role](t)(dave.Roles(ns).Create(ctx, role("pods", pods), metav1.CreateOptions{}))
	// The binding may follow its role at once, on whatever way the role takes
	// to those who decide.
	must[*rbacv1.RoleBinding](t)(dave.RoleBindings(ns).Create(ctx, binding("pods", "Role", "pods", "erin"), metav1.CreateOptions{}))
	erin := typed(t, w.as("erin"), asProtobuf).CoreV1().Pods(ns)
	env.Eventually(t, "erin to read pods", func() bool {
		_, err := erin.Get(ctx, "none", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	_, err := erin.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{})
	status := wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, `pods is forbidden: User "erin" cannot create resource "pods" in API group "" in the namespace "` + ns + `"`})
	if d := status.Details; d == nil || d.Kind != "pods" {
		t.Errorf("details %+v", d)
	}

	const extra = `is attempting to grant RBAC permissions not currently held:
{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`
	for name, write := range map[string]func() error{
		"a new role": func() error {
			_, err := dave.Roles(ns).Create(ctx, role("secrets", secrets), metav1.CreateOptions{})
			return err
		},
		"a changed role": func() error {
			changed := made.DeepCopy()
			changed.Rules = append(changed.Rules, secrets)
			_, err := dave.Roles(ns).Update(ctx, changed, metav1.UpdateOptions{})
			return err
		},
		"a patched role": func() error {
			_, err := dave.Roles(ns).Patch(ctx, "pods", types.JSONPatchType, []byte(`[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}}]`), metav1.PatchOptions{})
			return err
		},
		"an applied role": func() error {
			_, err := dave.Roles(ns).Patch(ctx, "secrets", types.ApplyPatchType, []byte(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"secrets"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`), metav1.PatchOptions{FieldManager: "m"})
			return err
		},
		"a dry run": func() error {
			_, err := dave.Roles(ns).Create(ctx, role("secrets", secrets), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, write(), refusal{403, metav1.StatusReasonForbidden, extra})
		})
	}
	t.Run("fewer rules", func(t *testing.T) {
		less := made.DeepCopy()
		less.Rules = nil
		must[*rbacv1.Role](t)(dave.Roles(ns).Update(ctx, less, metav1.UpdateOptions{}))
	})
	t.Run("escalate", func(t *testing.T) {
		w.allow(t, "frank", on(rbacv1.GroupName, []string{"roles"}, "create", "escalate"))
		must[*rbacv1.Role](t)(typed(t, w.as("frank"), asProtobuf).RbacV1().Roles(ns).Create(ctx, role("secrets", secrets), metav1.CreateOptions{}))
	})
	t.Run("bind", func(t *testing.T) {
		_, err := dave.RoleBindings(ns).Create(ctx, binding("admin", "ClusterRole", "admin", "dave"), metav1.CreateOptions{})
		wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, "is attempting to grant RBAC permissions not currently held"})
		_, err = dave.RoleBindings(ns).Create(ctx, binding("none", "Role", "none", "dave"), metav1.CreateOptions{})
		wantRefusal(t, err, refusal{404, metav1.StatusReasonNotFound, `roles.rbac.authorization.k8s.io "none" not found`})
		w.allow(t, "dave", rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{"admin"}})
		must[*rbacv1.RoleBinding](t)(dave.RoleBindings(ns).Create(ctx, binding("admin", "ClusterRole", "admin", "dave"), metav1.CreateOptions{}))
		_, err = dave.RoleBindings(ns).Create(ctx, binding("cluster-admin", "ClusterRole", "cluster-admin", "dave"), metav1.CreateOptions{})
		wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, "is attempting to grant RBAC permissions not currently held"})
	})
	t.Run("create by update", func(t *testing.T) {
		// Who may update but not create, does not create by a PUT or an apply.
		w.allow(t, "frank", on(rbacv1.GroupName, []string{"roles"}, "update", "patch"), on("coordination.k8s.io", []string{"leases"}, "update", "patch"))
		path := "/apis/coordination.k8s.io/v1/namespaces/" + ns + "/leases/new"
		frank := w.as("frank")
		const denied = `leases.coordination.k8s.io \"new\" is forbidden: User \"frank\" cannot create resource \"leases\" in API group \"coordination.k8s.io\" in the namespace`
		const lease = `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"new"}}`
		wantAnswer(t, w.sendAs(t, frank, "PUT", path, lease, "Content-Type", asJSON), 403, denied)
		wantAnswer(t, w.sendAs(t, frank, "PATCH", path+"?fieldManager=m", lease, "Content-Type", string(types.ApplyPatchType)), 403, denied)
		wantAnswer(t, w.send(t, "PUT", path, lease, "Content-Type", asJSON), 201)
		wantAnswer(t, w.sendAs(t, frank, "PUT", path, lease, "Content-Type", asJSON), 422, "metadata.resourceVersion")
		wantAnswer(t, w.sendAs(t, frank, "PATCH", path+"?fieldManager=m", lease, "Content-Type", string(types.ApplyPatchType)), 200)
	})
	t.Run("aggregation", func(t *testing.T) {
		name := "aggregate-" + ns
		must[*rbacv1.ClusterRole](t)(admin.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
			ObjectMeta:      metav1.ObjectMeta{Name: name},
			AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"part-of": name}}}},
		}, metav1.CreateOptions{}))
		must[*rbacv1.ClusterRole](t)(admin.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-part", Labels: map[string]string{"part-of": name}}, Rules: []rbacv1.PolicyRule{secrets},
		}, metav1.CreateOptions{}))
		env.Eventually(t, "the aggregated role to have its part's rules", func() bool {
			return len(must[*rbacv1.ClusterRole](t)(admin.ClusterRoles().Get(ctx, name, metav1.GetOptions{})).Rules) == 1
		})
	})
}

// allow lets one of people do more, everywhere, and waits until that is in
// force.
func (w *world) allow(t *testing.T, name string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	rbac := w.client(t).RbacV1()
	role := must[*rbacv1.ClusterRole](t)(rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "tests-"}, Rules: rules,
	}, metav1.CreateOptions{}))
	must[*rbacv1.ClusterRoleBinding](t)(rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "tests-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	}, metav1.CreateOptions{}))
	for _, r := range rules {
		resource, subresource, _ := strings.Cut(r.Resources[0], "/")
		asked := &authorizationv1.ResourceAttributes{Verb: r.Verbs[0], Group: r.APIGroups[0], Resource: resource, Subresource: subresource}
		if len(r.ResourceNames) > 0 {
			asked.Name = r.ResourceNames[0]
		}
		env.Eventually(t, name+" to be allowed", func() bool {
			review := must[*authorizationv1.SubjectAccessReview](t)(w.client(t).AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: name, ResourceAttributes: asked},
			}, metav1.CreateOptions{}))
			return review.Status.Allowed
		})
	}
}
