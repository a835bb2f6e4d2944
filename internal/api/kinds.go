package api

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/validation/coordination"
	"gatehouse.dev/gatehouse/internal/api/validation/core"
	"gatehouse.dev/gatehouse/internal/api/validation/rbac"
)

// eventTTL is how long an event is kept, in seconds (kube-apiserver's default
// of --event-ttl).
const eventTTL = 3600

// kinds is the table of the stored resources. A new one is one more entry.
func kinds() []entry {
	return []entry{
		namespaces(), secrets(), serviceAccounts(), configMaps(), pods(), nodes(), events(),
		roles(), clusterRoles(), roleBindings(), clusterRoleBindings(),
		signingRequests(), trustBundles(), leases(),
		revocations(),
	}
}

func secrets() entry {
	return &kind[*corev1.Secret]{
		gv: corev1.SchemeGroupVersion, name: "Secret", resource: "secrets", singular: "secret",
		namespaced: true, table: columns.Secret(),
		new:     func() *corev1.Secret { return &corev1.Secret{} },
		newList: func() runtime.Object { return &corev1.SecretList{} },
		fields:  func(s *corev1.Secret) fields.Set { return fields.Set{"type": string(s.Type)} },
		rules: rules[*corev1.Secret]{
			prepareUpdate: func(_ context.Context, s, old *corev1.Secret) {
				if s.Type == "" {
					s.Type = old.Type
				}
			},
			validate: core.ValidateSecret, validateUpdate: core.ValidateSecretUpdate,
		},
	}
}

func serviceAccounts() entry {
	return &kind[*corev1.ServiceAccount]{
		gv: corev1.SchemeGroupVersion, name: "ServiceAccount", resource: "serviceaccounts", singular: "serviceaccount",
		short: []string{"sa"}, namespaced: true, keepDeleted: true, table: columns.ServiceAccount(),
		new:     func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
		newList: func() runtime.Object { return &corev1.ServiceAccountList{} },
		rules: rules[*corev1.ServiceAccount]{
			prepareCreate: func(_ context.Context, sa *corev1.ServiceAccount) { nameSecretsOnly(sa) },
			prepareUpdate: func(_ context.Context, sa, _ *corev1.ServiceAccount) { nameSecretsOnly(sa) },
			validate:      core.ValidateServiceAccount, validateUpdate: core.ValidateServiceAccountUpdate,
		},
		extend: serviceAccountTokens,
	}
}

// nameSecretsOnly keeps of the references to Secrets what they are looked up by:
// a Secret of another namespace is never meant, whatever the reference says.
func nameSecretsOnly(sa *corev1.ServiceAccount) {
	for i, ref := range sa.Secrets {
		sa.Secrets[i] = corev1.ObjectReference{Name: ref.Name}
	}
}

func configMaps() entry {
	return &kind[*corev1.ConfigMap]{
		gv: corev1.SchemeGroupVersion, name: "ConfigMap", resource: "configmaps", singular: "configmap",
		short: []string{"cm"}, namespaced: true, table: columns.ConfigMap(),
		new:     func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		newList: func() runtime.Object { return &corev1.ConfigMapList{} },
		rules:   rules[*corev1.ConfigMap]{validate: core.ValidateConfigMap, validateUpdate: core.ValidateConfigMapUpdate},
	}
}

func nodes() entry {
	return &kind[*corev1.Node]{
		gv: corev1.SchemeGroupVersion, name: "Node", resource: "nodes", singular: "node",
		short: []string{"no"}, table: columns.Node(),
		new:     func() *corev1.Node { return &corev1.Node{} },
		newList: func() runtime.Object { return &corev1.NodeList{} },
		fields: func(n *corev1.Node) fields.Set {
			return fields.Set{"spec.unschedulable": boolean(n.Spec.Unschedulable)}
		},
		ownedByStatus: []string{"status"}, keptByStatus: []string{"spec"},
		rules: rules[*corev1.Node]{
			prepareUpdate: func(_ context.Context, n, old *corev1.Node) { n.Status = old.Status },
			validate:      core.ValidateNode, validateUpdate: core.ValidateNodeUpdate,
		},
		status: &rules[*corev1.Node]{
			prepareUpdate:  func(_ context.Context, n, old *corev1.Node) { n.Spec = old.Spec },
			validateUpdate: core.ValidateNodeUpdate,
		},
	}
}

func events() entry {
	return &kind[*corev1.Event]{
		gv: corev1.SchemeGroupVersion, name: "Event", resource: "events", singular: "event",
		short: []string{"ev"}, namespaced: true, createOnUpdate: true, ttl: eventTTL, table: columns.Event(),
		new:     func() *corev1.Event { return &corev1.Event{} },
		newList: func() runtime.Object { return &corev1.EventList{} },
		fields:  eventFields,
		rules: rules[*corev1.Event]{
			validate: func(e *corev1.Event) field.ErrorList {
				return core.ValidateEventCreate(e, corev1.SchemeGroupVersion)
			},
			validateUpdate: func(e, old *corev1.Event) field.ErrorList {
				return core.ValidateEventUpdate(e, old, corev1.SchemeGroupVersion)
			},
		},
	}
}

func eventFields(e *corev1.Event) fields.Set {
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	return fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             e.ReportingController,
		"source":                         source,
		"type":                           e.Type,
	}
}

func roles() entry {
	return &kind[*rbacv1.Role]{
		gv: rbacv1.SchemeGroupVersion, name: "Role", resource: "roles", singular: "role",
		namespaced: true, createOnUpdate: true, table: columns.Role(),
		new:     func() *rbacv1.Role { return &rbacv1.Role{} },
		newList: func() runtime.Object { return &rbacv1.RoleList{} },
		rules:   rules[*rbacv1.Role]{validate: rbac.ValidateRole, validateUpdate: rbac.ValidateRoleUpdate},
	}
}

func clusterRoles() entry {
	return &kind[*rbacv1.ClusterRole]{
		gv: rbacv1.SchemeGroupVersion, name: "ClusterRole", resource: "clusterroles", singular: "clusterrole",
		createOnUpdate: true, table: columns.ClusterRole(),
		new:     func() *rbacv1.ClusterRole { return &rbacv1.ClusterRole{} },
		newList: func() runtime.Object { return &rbacv1.ClusterRoleList{} },
		rules:   rules[*rbacv1.ClusterRole]{validate: rbac.ValidateClusterRole, validateUpdate: rbac.ValidateClusterRoleUpdate},
	}
}

func roleBindings() entry {
	return &kind[*rbacv1.RoleBinding]{
		gv: rbacv1.SchemeGroupVersion, name: "RoleBinding", resource: "rolebindings", singular: "rolebinding",
		namespaced: true, createOnUpdate: true, table: columns.RoleBinding(),
		new:     func() *rbacv1.RoleBinding { return &rbacv1.RoleBinding{} },
		newList: func() runtime.Object { return &rbacv1.RoleBindingList{} },
		rules:   rules[*rbacv1.RoleBinding]{validate: rbac.ValidateRoleBinding, validateUpdate: rbac.ValidateRoleBindingUpdate},
	}
}

func clusterRoleBindings() entry {
	return &kind[*rbacv1.ClusterRoleBinding]{
		gv: rbacv1.SchemeGroupVersion, name: "ClusterRoleBinding", resource: "clusterrolebindings", singular: "clusterrolebinding",
		createOnUpdate: true, table: columns.ClusterRoleBinding(),
		new:     func() *rbacv1.ClusterRoleBinding { return &rbacv1.ClusterRoleBinding{} },
		newList: func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} },
		rules: rules[*rbacv1.ClusterRoleBinding]{
			validate: rbac.ValidateClusterRoleBinding, validateUpdate: rbac.ValidateClusterRoleBindingUpdate,
		},
	}
}

func leases() entry {
	return &kind[*coordinationv1.Lease]{
		gv: coordinationv1.SchemeGroupVersion, name: "Lease", resource: "leases", singular: "lease",
		namespaced: true, createOnUpdate: true, versioned: true, table: columns.Lease(),
		new:     func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
		newList: func() runtime.Object { return &coordinationv1.LeaseList{} },
		rules:   rules[*coordinationv1.Lease]{validate: coordination.ValidateLease, validateUpdate: coordination.ValidateLeaseUpdate},
	}
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
