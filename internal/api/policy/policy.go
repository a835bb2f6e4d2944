// Package policy has the roles and bindings that every server begins with, and
// decides how those that exist are brought up to date.
//
// The roles are those of Kubernetes 1.37, rule for rule
// (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), because components, add-ons
// and people rely on them by name; manifests/gatehouse.yaml alone is ours. They
// are manifests as kubectl takes them, except that the label and the annotation
// which all of them carry are not written a hundred times but added by [Load].
//
// Bringing up to date adds what is missing and keeps what somebody added; only a
// binding to another role is made anew. An object whose annotation
// rbac.authorization.kubernetes.io/autoupdate is "false" is left alone. The
// package does no I/O: the caller reads what exists and writes what is decided.
package policy

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// The label that tells the default objects from those that people made.
const (
	bootstrapLabel = "kubernetes.io/bootstrapping"
	bootstrapValue = "rbac-defaults"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// A Policy is a set of roles and bindings, each list sorted by namespace and
// name. The namespaces are kube-system and kube-public.
type Policy struct {
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
}

// Load returns the default policy. Its objects are fresh, and the caller's to
// keep. It costs about ten milliseconds, so a server calls it once.
//
// An error means that the manifests in the binary are bad, which no
// configuration can mend.
func Load() (*Policy, error) {
	files, err := fs.Glob(manifests, "manifests/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the default policy: %w", err)
	}
	p := &Policy{}
	for _, name := range files {
		data, err := manifests.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the default policy: %w", err)
		}
		for i, doc := range bytes.Split(data, []byte("\n---\n")) {
			if err := p.add(doc); err != nil {
				return nil, fmt.Errorf("decoding the default policy: %s, document %d: %w", name, i+1, err)
			}
		}
	}
	sortByName(p.ClusterRoles)
	sortByName(p.ClusterRoleBindings)
	sortByName(p.Roles)
	sortByName(p.RoleBindings)
	return p, nil
}

// add decodes one document into the list of its kind.
func (p *Policy) add(doc []byte) error {
	data, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return err
	}
	var t metav1.TypeMeta
	if err := json.Unmarshal(data, &t); err != nil {
		return err
	}
	switch t.GroupVersionKind() {
	case rbacv1.SchemeGroupVersion.WithKind("ClusterRole"):
		return decode(data, &p.ClusterRoles)
	case rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"):
		return decode(data, &p.ClusterRoleBindings)
	case rbacv1.SchemeGroupVersion.WithKind("Role"):
		return decode(data, &p.Roles)
	case rbacv1.SchemeGroupVersion.WithKind("RoleBinding"):
		return decode(data, &p.RoleBindings)
	}
	return fmt.Errorf("%s is not a role or binding", t.GroupVersionKind())
}

type object interface {
	metav1.Object
	runtime.Object
}

// decode adds the object in data to the list, and refuses a field that its type
// does not have. The object's apiVersion and kind are dropped, as they are on
// every object inside a server.
func decode[T any, P interface {
	*T
	object
}](data []byte, list *[]T) error {
	var t T
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return err
	}
	obj := P(&t)
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	obj.SetLabels(with(obj.GetLabels(), bootstrapLabel, bootstrapValue))
	obj.SetAnnotations(with(obj.GetAnnotations(), rbacv1.AutoUpdateAnnotationKey, "true"))
	*list = append(*list, t)
	return nil
}

func with(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

func sortByName[T any, P interface {
	*T
	object
}](list []T) {
	slices.SortFunc(list, func(a, b T) int {
		return cmp.Or(
			cmp.Compare(P(&a).GetNamespace(), P(&b).GetNamespace()),
			cmp.Compare(P(&a).GetName(), P(&b).GetName()),
		)
	})
}
