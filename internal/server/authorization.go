package server

import (
	"errors"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/internal/authorizers"
	"gatehouse.dev/gatehouse/internal/outcall"
)

// openAuthorizers makes the chain of authorizers that is configured, behind the
// group that may do everything.
func (s *Server) openAuthorizers() error {
	name := func(webhook string) string { return "authorization/" + webhook }
	calls := authorizers.Calls{
		Life: s.calling, Peer: authn.PeerFrom,
		Show:   func(webhook string, client *outcall.Client) { s.showWebhook(name(webhook), client) },
		Gone:   func(webhook string) { s.webhooks.Gone(name(webhook)) },
		Called: func(webhook string) func(string, time.Duration) { return s.webhooks.Called(name(webhook)) },
	}
	var err error
	s.authorizer, err = authorizers.Open(s.cfg.Authorizers(), authorizers.Own{Node: s.nodes, RBAC: s.index}, calls, s.metrics.Authorizers(), s.log)
	return err
}

// followRoles keeps the index as the store is.
func followRoles(i *informers, x *rbac.Index, synced *[]cache.InformerSynced) error {
	return errors.Join(
		follow(synced, i.clusterRoles, x.SetClusterRole, func(r *rbacv1.ClusterRole) { x.DeleteClusterRole(r.Name) }),
		follow(synced, i.cluster, x.SetClusterRoleBinding, func(b *rbacv1.ClusterRoleBinding) { x.DeleteClusterRoleBinding(b.Name) }),
		follow(synced, i.roles, x.SetRole, func(r *rbacv1.Role) { x.DeleteRole(r.Namespace, r.Name) }),
		follow(synced, i.bindings, x.SetRoleBinding, func(b *rbacv1.RoleBinding) { x.DeleteRoleBinding(b.Namespace, b.Name) }),
	)
}

// followPods keeps the index of what nodes may read as the store is, if anybody
// asks it.
func (s *Server) followPods(i *informers, synced *[]cache.InformerSynced) error {
	if !s.authorizer.Uses(authorizers.Node) {
		return nil
	}
	took := s.metrics.NodeGraph()
	return follow(synced, i.pods, func(p *corev1.Pod) {
		start := time.Now()
		s.nodes.SetPod(p)
		took("AddPod", time.Since(start))
	}, func(p *corev1.Pod) {
		start := time.Now()
		s.nodes.DeletePod(p.Namespace, p.Name)
		took("DeletePod", time.Since(start))
	})
}

// follow calls set for what is new or changed, and unset for what is gone. It adds
// what tells that all that there was has been set.
func follow[T metav1.Object](synced *[]cache.InformerSynced, informer cache.SharedIndexInformer, set, unset func(T)) error {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { with(obj, set) },
		UpdateFunc: func(_, obj any) { with(obj, set) },
		DeleteFunc: func(obj any) { with(obj, unset) },
	})
	if err != nil {
		return err
	}
	*synced = append(*synced, registration.HasSynced)
	return nil
}

// with calls do with the object, also if all that is known of it is what it was
// before its deletion was missed.
func with[T any](obj any, do func(T)) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	if typed, ok := obj.(T); ok {
		do(typed)
	}
}

// stripesOf tells the stripes of every change to an object that tokens rest on:
// those of this process at once, and those of other processes when the watch
// brings them.
type stripesOf struct {
	stripes *authn.Stripes
	log     *slog.Logger
}

func (s stripesOf) changed(resource string, obj metav1.Object) {
	switch resource {
	case serviceaccount.ServiceAccounts, serviceaccount.Secrets, serviceaccount.Pods, serviceaccount.Nodes:
		s.stripes.Of(resource, obj.GetNamespace(), obj.GetName()).Bump()
	}
}

func (s stripesOf) follow(i *informers, synced *[]cache.InformerSynced) error {
	var errs []error
	for resource, informer := range map[string]cache.SharedIndexInformer{
		serviceaccount.ServiceAccounts: i.accounts, serviceaccount.Secrets: i.secrets,
		serviceaccount.Pods: i.pods, serviceaccount.Nodes: i.nodes,
	} {
		bump := func(obj metav1.Object) { s.changed(resource, obj) }
		errs = append(errs, follow(synced, informer, bump, bump))
	}
	return errors.Join(errs...)
}
