package clientgo_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestLoad reads, writes and follows all at once. Built with the race detector
// (GATEHOUSE_TEST_RACE=1), the server says if two of its parts meet.
func TestLoad(t *testing.T) {
	t.Parallel()
	const (
		writers = 4
		rounds  = 15
	)
	w, _ := newAuditedWorld(t)
	ns := w.namespace(t)
	config := rest.CopyConfig(w.admin)
	config.ContentType = asProtobuf
	informers := follow(t, config)
	client := w.client(t)

	work, ctx := errgroup.WithContext(t.Context())
	for i := range writers {
		name := fmt.Sprintf("writer-%d", i)
		work.Go(func() error {
			for range rounds {
				if err := once(ctx, w, client, ns, name); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		})
	}
	for i := range writers {
		encoding := []string{asJSON, asProtobuf}[i%2]
		reader := typed(t, w.admin, encoding)
		work.Go(func() error {
			for range rounds * 5 {
				if err := look(ctx, reader, ns); err != nil {
					return fmt.Errorf("reading in %s: %w", encoding, err)
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
	stage := "last"
	objects := must[*dynamic.DynamicClient](t)(dynamic.NewForConfig(w.admin))
	write(t, objects, ns, stage)
	informers.wantSame(t, objects, stage+"-"+ns)
	w.Stop()
	if strings.Contains(w.Log(), "DATA RACE") {
		t.Error("two parts of the server race; its log says which")
	}
}

// once makes a service account that may read, lets it, and takes it back.
func once(ctx context.Context, w *world, client kubernetes.Interface, ns, name string) error {
	core, rbac := client.CoreV1(), client.RbacV1()
	meta := metav1.ObjectMeta{Name: name}
	if _, err := core.ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		return err
	}
	token, err := core.ServiceAccounts(ns).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if _, err := rbac.Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}},
	}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := rbac.RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: name}},
	}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := core.Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"k": []byte(name)}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(w.admin)
	config.BearerToken = token.Status.Token
	account, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// It may still be refused: its role is on its way to who decides.
	_, err = account.CoreV1().Secrets(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		return err
	}
	if err := core.ServiceAccounts(ns).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	// But its token must be dead at once.
	_, err = account.CoreV1().Secrets(ns).Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsUnauthorized(err) {
		return fmt.Errorf("after its account was deleted, a token got: %v", err)
	}
	if err := core.Secrets(ns).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := rbac.RoleBindings(ns).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return rbac.Roles(ns).Delete(ctx, name, metav1.DeleteOptions{})
}

// look reads in every way that has a cache or a shortcut behind it.
func look(ctx context.Context, client kubernetes.Interface, ns string) error {
	for _, options := range []metav1.ListOptions{{}, {ResourceVersion: "0"}, {Limit: 2}} {
		if _, err := client.CoreV1().Secrets(ns).List(ctx, options); err != nil {
			return err
		}
	}
	if _, err := client.RbacV1().ClusterRoles().Get(ctx, "admin", metav1.GetOptions{ResourceVersion: "0"}); err != nil {
		return err
	}
	_, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:" + ns + ":writer-0", ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: ns, Verb: "get", Resource: "secrets",
		}},
	}, metav1.CreateOptions{})
	return err
}
