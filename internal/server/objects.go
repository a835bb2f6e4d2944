package server

import (
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/api"
)

// objects are the resources that the server itself reads and writes, and the
// informers that follow them.
type objects struct {
	namespaces   api.Objects[*corev1.Namespace]
	accounts     api.Objects[*corev1.ServiceAccount]
	secrets      api.Objects[*corev1.Secret]
	configMaps   api.Objects[*corev1.ConfigMap]
	pods         api.Objects[*corev1.Pod]
	nodes        api.Objects[*corev1.Node]
	leases       api.Objects[*coordinationv1.Lease]
	roles        api.Objects[*rbacv1.Role]
	clusterRoles api.Objects[*rbacv1.ClusterRole]
	bindings     api.Objects[*rbacv1.RoleBinding]
	cluster      api.Objects[*rbacv1.ClusterRoleBinding]
	revocations  api.Objects[*v1alpha1.Revocation]

	namespaceStatus   api.Objects[*corev1.Namespace]
	namespaceFinalize api.Objects[*corev1.Namespace]

	requests        api.Objects[*certificatesv1.CertificateSigningRequest]
	requestApproval api.Objects[*certificatesv1.CertificateSigningRequest]
	requestStatus   api.Objects[*certificatesv1.CertificateSigningRequest]
	trustBundles    api.Objects[*certificatesv1.ClusterTrustBundle]

	informers informers
}

// informers follow the resources that decisions and controllers rest on.
type informers struct {
	namespaces, accounts, secrets, configMaps, pods, nodes, leases cache.SharedIndexInformer
	roles, clusterRoles, bindings, cluster                         cache.SharedIndexInformer
	requests, trustBundles, revocations                            cache.SharedIndexInformer
}

func (i *informers) all() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{
		i.namespaces, i.accounts, i.secrets, i.configMaps, i.pods, i.nodes, i.leases,
		i.roles, i.clusterRoles, i.bindings, i.cluster,
		i.requests, i.trustBundles, i.revocations,
	}
}

// find opens one resource, unless an earlier one could not be opened.
func find[T api.Object](a *api.API, err *error, group, resource string) api.Objects[T] {
	if *err != nil {
		return api.Objects[T]{}
	}
	var o api.Objects[T]
	if o, *err = api.ObjectsOf[T](a, group, resource); *err != nil {
		*err = fmt.Errorf("opening %s: %w", resource, *err)
	}
	return o
}

func openObjects(a *api.API) (*objects, error) {
	var err error
	o := &objects{
		namespaces:        find[*corev1.Namespace](a, &err, "", "namespaces"),
		accounts:          find[*corev1.ServiceAccount](a, &err, "", "serviceaccounts"),
		secrets:           find[*corev1.Secret](a, &err, "", "secrets"),
		configMaps:        find[*corev1.ConfigMap](a, &err, "", "configmaps"),
		pods:              find[*corev1.Pod](a, &err, "", "pods"),
		nodes:             find[*corev1.Node](a, &err, "", "nodes"),
		leases:            find[*coordinationv1.Lease](a, &err, coordinationv1.GroupName, "leases"),
		roles:             find[*rbacv1.Role](a, &err, rbacv1.GroupName, "roles"),
		clusterRoles:      find[*rbacv1.ClusterRole](a, &err, rbacv1.GroupName, "clusterroles"),
		bindings:          find[*rbacv1.RoleBinding](a, &err, rbacv1.GroupName, "rolebindings"),
		namespaceStatus:   find[*corev1.Namespace](a, &err, "", "namespaces/status"),
		namespaceFinalize: find[*corev1.Namespace](a, &err, "", "namespaces/finalize"),
		cluster:           find[*rbacv1.ClusterRoleBinding](a, &err, rbacv1.GroupName, "clusterrolebindings"),
		requests:          find[*certificatesv1.CertificateSigningRequest](a, &err, certificatesv1.GroupName, "certificatesigningrequests"),
		requestApproval:   find[*certificatesv1.CertificateSigningRequest](a, &err, certificatesv1.GroupName, "certificatesigningrequests/approval"),
		requestStatus:     find[*certificatesv1.CertificateSigningRequest](a, &err, certificatesv1.GroupName, "certificatesigningrequests/status"),
		trustBundles:      find[*certificatesv1.ClusterTrustBundle](a, &err, certificatesv1.GroupName, "clustertrustbundles"),
		revocations:       find[*v1alpha1.Revocation](a, &err, v1alpha1.Group, "revocations"),
	}
	if err != nil {
		return nil, err
	}
	o.informers = informers{
		namespaces: o.namespaces.Informer(), accounts: o.accounts.Informer(), secrets: o.secrets.Informer(),
		configMaps: o.configMaps.Informer(), pods: o.pods.Informer(), nodes: o.nodes.Informer(), leases: o.leases.Informer(),
		roles: o.roles.Informer(), clusterRoles: o.clusterRoles.Informer(),
		bindings: o.bindings.Informer(), cluster: o.cluster.Informer(),
		requests: o.requests.Informer(), trustBundles: o.trustBundles.Informer(), revocations: o.revocations.Informer(),
	}
	return o, nil
}
