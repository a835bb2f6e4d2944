// Package defaults fills in what a client left out of an object, as
// kube-apiserver does when it reads one.
//
// The one idea: defaulting happens at each reading, from the wire and from
// storage alike, so a function here may only depend on the object itself and
// must change nothing the second time. What is chosen once, when an object is
// created, is for the resource's strategy: of a namespace spec.finalizers
// ["kubernetes"] and the phase Active whatever the client says, of a pod the
// phase Pending whatever the client says, of a CertificateSigningRequest who
// sent it.
//
// Because objects are the v1 types themselves, there are no conversions. What
// upstream's conversions do to the meaning of an object, and not to its form,
// is done here: stringData becomes data, the deprecated serviceAccount and
// podCIDR are reconciled with the fields that replaced them.
//
// A function refuses nothing and returns nothing. ServiceAccount,
// CertificateSigningRequest, Lease, Event, Role and the reviews have no
// defaults in v1.
//
// Source: pkg/apis/{core,rbac,authentication}/v1/defaults.go and conversion.go.
package defaults

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// tokenSeconds is how long a service account token lives if nobody says.
const tokenSeconds = 3600

// Register makes scheme apply the functions of this package to the objects that
// it decodes, and to the elements of their lists.
func Register(scheme *runtime.Scheme) {
	add(scheme, Namespace)
	add(scheme, Secret)
	add(scheme, ConfigMap)
	add(scheme, Node)
	add(scheme, Pod)
	add(scheme, RoleBinding)
	add(scheme, ClusterRoleBinding)
	add(scheme, TokenRequest)
	add(scheme, func(l *corev1.NamespaceList) { each(l.Items, Namespace) })
	add(scheme, func(l *corev1.SecretList) { each(l.Items, Secret) })
	add(scheme, func(l *corev1.ConfigMapList) { each(l.Items, ConfigMap) })
	add(scheme, func(l *corev1.NodeList) { each(l.Items, Node) })
	add(scheme, func(l *corev1.PodList) { each(l.Items, Pod) })
	add(scheme, func(l *rbacv1.RoleBindingList) { each(l.Items, RoleBinding) })
	add(scheme, func(l *rbacv1.ClusterRoleBindingList) { each(l.Items, ClusterRoleBinding) })
}

// An object is a pointer to a T that a scheme knows.
type object[T any] interface {
	*T
	runtime.Object
}

func add[T any, P object[T]](scheme *runtime.Scheme, f func(P)) {
	scheme.AddTypeDefaultingFunc(P(new(T)), func(o any) { f(o.(P)) })
}

func each[T any](items []T, f func(*T)) {
	for i := range items {
		f(&items[i])
	}
}

// Namespace labels a namespace with its own name, so that selectors of
// namespaces can name one, and makes the phase Active. A namespace whose name is
// yet to be generated gets no label: the strategy calls Namespace again when it
// has one.
func Namespace(namespace *corev1.Namespace) {
	if namespace.Name != "" {
		if namespace.Labels == nil {
			namespace.Labels = make(map[string]string)
		}
		namespace.Labels[corev1.LabelMetadataName] = namespace.Name
	}
	set(&namespace.Status.Phase, corev1.NamespaceActive)
}

// Secret makes the type Opaque and folds stringData, which is write-only and
// wins over data, into data.
func Secret(secret *corev1.Secret) {
	set(&secret.Type, corev1.SecretTypeOpaque)
	if len(secret.StringData) > 0 && secret.Data == nil {
		secret.Data = make(map[string][]byte)
	}
	for key, value := range secret.StringData {
		secret.Data[key] = []byte(value)
	}
	secret.StringData = nil
}

// ConfigMap makes data an empty map.
func ConfigMap(config *corev1.ConfigMap) {
	if config.Data == nil {
		config.Data = make(map[string]string)
	}
}

// Node makes what can be allocated all there is, and keeps podCIDR the first of
// podCIDRs. If a client sets the two to different things, podCIDR wins: it is
// from before podCIDRs.
func Node(node *corev1.Node) {
	status := &node.Status
	if status.Allocatable == nil && status.Capacity != nil {
		status.Allocatable = status.Capacity.DeepCopy()
	}
	spec := &node.Spec
	if spec.PodCIDR != "" && (len(spec.PodCIDRs) == 0 || spec.PodCIDRs[0] != spec.PodCIDR) {
		spec.PodCIDRs = []string{spec.PodCIDR}
	}
	if len(spec.PodCIDRs) > 0 {
		spec.PodCIDR = spec.PodCIDRs[0]
	}
}

// RoleBinding makes the group of the role, and that of users and groups among
// the subjects, rbac.authorization.k8s.io.
func RoleBinding(binding *rbacv1.RoleBinding) {
	set(&binding.RoleRef.APIGroup, rbacv1.GroupName)
	each(binding.Subjects, subject)
}

// ClusterRoleBinding does what [RoleBinding] does.
func ClusterRoleBinding(binding *rbacv1.ClusterRoleBinding) {
	set(&binding.RoleRef.APIGroup, rbacv1.GroupName)
	each(binding.Subjects, subject)
}

func subject(subject *rbacv1.Subject) {
	if subject.Kind == rbacv1.UserKind || subject.Kind == rbacv1.GroupKind {
		set(&subject.APIGroup, rbacv1.GroupName)
	}
}

// TokenRequest asks for a token of an hour.
func TokenRequest(request *authenticationv1.TokenRequest) {
	setPointer(&request.Spec.ExpirationSeconds, tokenSeconds)
}

// set gives f a value unless it has one.
func set[T comparable](f *T, value T) {
	var zero T
	if *f == zero {
		*f = value
	}
}

// setPointer points f to a value of its own unless it points to one.
func setPointer[T any](f **T, value T) {
	if *f == nil {
		*f = &value
	}
}
