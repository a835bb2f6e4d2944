package clientgo_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"gatehouse.dev/gatehouse/test/env"
)

// An object is of one of the kinds that the server stores.
type object interface {
	runtime.Object
	metav1.Object
}

// A resource is a typed client of one kind of object.
type resource[T object, L runtime.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Get(context.Context, string, metav1.GetOptions) (T, error)
	List(context.Context, metav1.ListOptions) (L, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// testTyped takes an object of each kind through its life, in both encodings.
func testTyped(t *testing.T, w *world) {
	named := metav1.ObjectMeta{Name: "one", Labels: map[string]string{"test": "typed"}}
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}
	rule := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}
	who := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "nobody"}}
	for _, encoding := range []string{asJSON, asProtobuf} {
		t.Run(encoding, func(t *testing.T) {
			c := typed(t, w.admin, encoding)
			ns := w.namespace(t)
			core, rbac := c.CoreV1(), c.RbacV1()
			// What is not in a namespace has a name that is nobody else's.
			alone := named
			alone.Name = ns + "-one"

			live(t, core.Secrets(ns), &corev1.Secret{ObjectMeta: named, Data: map[string][]byte{"k": {0, 255}}})
			live(t, core.ConfigMaps(ns), &corev1.ConfigMap{ObjectMeta: named, BinaryData: map[string][]byte{"k": {0, 255}}})
			live(t, core.ServiceAccounts(ns), &corev1.ServiceAccount{ObjectMeta: named, Secrets: []corev1.ObjectReference{{Name: "s"}}})
			live(t, core.Pods(ns), &corev1.Pod{ObjectMeta: named, Spec: pod})
			live(t, core.Nodes(), &corev1.Node{ObjectMeta: alone, Spec: corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24"}}})
			live(t, core.Events(ns), &corev1.Event{
				ObjectMeta: named, Reason: "R", Message: "m", Type: "Normal", Count: 1,
				InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: "p"},
				FirstTimestamp: metav1.Now().Rfc3339Copy(), LastTimestamp: metav1.Now().Rfc3339Copy(),
			})
			live(t, rbac.Roles(ns), &rbacv1.Role{ObjectMeta: named, Rules: []rbacv1.PolicyRule{rule}})
			live(t, rbac.RoleBindings(ns), &rbacv1.RoleBinding{ObjectMeta: named, Subjects: who, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "r"}})
			live(t, rbac.ClusterRoles(), &rbacv1.ClusterRole{ObjectMeta: alone, Rules: []rbacv1.PolicyRule{rule}})
			live(t, rbac.ClusterRoleBindings(), &rbacv1.ClusterRoleBinding{ObjectMeta: alone, Subjects: who, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}})
			live(t, c.CertificatesV1().CertificateSigningRequests(), &certificatesv1.CertificateSigningRequest{ObjectMeta: alone, Spec: certificatesv1.CertificateSigningRequestSpec{
				Request: signingRequest(t, "somebody"), SignerName: "example.org/typed", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
				Username: "kubernetes-admin", // overwritten by whoever asks
			}})
			live(t, c.CoordinationV1().Leases(ns), &coordinationv1.Lease{ObjectMeta: named, Spec: coordinationv1.LeaseSpec{
				HolderIdentity: ptr("me"), LeaseDurationSeconds: ptr[int32](15), RenewTime: ptr(metav1.NewMicroTime(time.Now().Truncate(time.Microsecond))),
			}})
		})
	}
}

// live creates, reads, changes, lists, watches and deletes obj.
func live[T object, L runtime.Object](t *testing.T, client resource[T, L], obj T) {
	ctx := t.Context()
	created, err := client.Create(ctx, obj, metav1.CreateOptions{FieldManager: "tests"})
	if err != nil {
		t.Errorf("creating %T: %v", obj, err)
		return
	}
	name := obj.GetName()
	if created.GetUID() == "" || created.GetResourceVersion() == "" || created.GetCreationTimestamp().Time.IsZero() {
		t.Errorf("created %T lacks what a server gives it: %+v", obj, created)
	}
	if m := created.GetManagedFields(); len(m) != 1 || m[0].Manager != "tests" || m[0].Operation != metav1.ManagedFieldsOperationUpdate {
		t.Errorf("created %T is managed by %+v", obj, m)
	}
	_, err = client.Create(ctx, obj, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		t.Errorf("creating %T twice: %v", obj, err)
	}
	read, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Errorf("reading %T: %v", obj, err)
		return
	}
	if diff := cmp.Diff(created, read); diff != "" {
		t.Errorf("created and read %T differ (-created +read):\n%s", obj, diff)
	}
	read.SetAnnotations(map[string]string{"updated": "yes"})
	updated, err := client.Update(ctx, read, metav1.UpdateOptions{})
	if err != nil || updated.GetAnnotations()["updated"] != "yes" || updated.GetResourceVersion() == created.GetResourceVersion() {
		t.Errorf("updating %T: %v, %+v", obj, err, updated)
		return
	}
	if _, err := client.Update(ctx, created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("updating an old %T: %v, want a conflict", obj, err)
	}
	patch := []byte(`{"metadata":{"annotations":{"patched":"yes"}}}`)
	patched, err := client.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil || patched.GetAnnotations()["patched"] != "yes" {
		t.Errorf("patching %T: %v, %+v", obj, err, patched)
		return
	}
	wantListed(t, client, patched)
	wantWatched(t, client, patched)
	if _, err := client.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading deleted %T: %v", obj, err)
	}
}

// wantListed expects of the list of the test's objects that it is obj.
func wantListed[T object, L runtime.Object](t *testing.T, client resource[T, L], obj T) {
	list, err := client.List(t.Context(), metav1.ListOptions{
		LabelSelector: "test=typed", FieldSelector: "metadata.name=" + obj.GetName(),
	})
	if err != nil {
		t.Errorf("listing %T: %v", obj, err)
		return
	}
	items, err := meta.ExtractList(list)
	if err != nil || len(items) != 1 {
		t.Errorf("listing %T: %v, %d items", obj, err, len(items))
		return
	}
	if diff := cmp.Diff(runtime.Object(obj), items[0]); diff != "" {
		t.Errorf("patched and listed %T differ (-patched +listed):\n%s", obj, diff)
	}
}

// wantWatched deletes obj and expects its watchers to see that.
func wantWatched[T object, L runtime.Object](t *testing.T, client resource[T, L], obj T) {
	ctx, cancel := context.WithTimeout(t.Context(), env.Patience)
	defer cancel()
	events, err := client.Watch(ctx, metav1.ListOptions{
		LabelSelector: "test=typed", FieldSelector: "metadata.name=" + obj.GetName(), ResourceVersion: obj.GetResourceVersion(),
	})
	if err != nil {
		t.Errorf("watching %T: %v", obj, err)
		return
	}
	defer events.Stop()
	if err := client.Delete(ctx, obj.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Errorf("deleting %T: %v", obj, err)
		return
	}
	e, ok := <-events.ResultChan()
	gone, isObject := e.Object.(T)
	if !ok || !isObject || e.Type != watch.Deleted || gone.GetUID() != obj.GetUID() {
		t.Errorf("watching %T: got %v %+v, want its deletion", obj, e.Type, e.Object)
	}
}
