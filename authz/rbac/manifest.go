package rbac

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Parse reads roles and bindings as kubectl takes them: YAML or JSON, with
// "---" between objects, in version rbac.authorization.k8s.io/v1. It is for
// servers that have their rules in a file.
//
// It refuses what would not mean what it seems to: another kind of object, an
// unknown field, an object that is there twice, one with a namespace or without
// as its kind does not have it, a rule without verbs, a subject or role that
// nothing can match, and an aggregated role, as nobody fills it. A binding may
// be to a role of another file.
func Parse(text []byte) (Objects, error) {
	var o Objects
	seen := map[string]bool{}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for i := 1; ; i++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return o, nil
		}
		if err == nil {
			err = o.add(doc, seen)
		}
		if err != nil {
			return Objects{}, fmt.Errorf("object %d: %w", i, err)
		}
	}
}

// Load returns an index of the objects in a file, which is read once: see [Parse].
func Load(path string) (*Index, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	objects, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading rules: %s: %w", path, err)
	}
	x := New()
	x.Replace(objects)
	return x, nil
}

// add adds the object in a document, unless there is none in it.
func (o *Objects) add(doc []byte, seen map[string]bool) error {
	data, err := yaml.YAMLToJSONStrict(doc)
	if err != nil || string(data) == "null" {
		return err
	}
	var t metav1.TypeMeta
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &t); err != nil {
		return err
	}
	if t.APIVersion != rbacv1.SchemeGroupVersion.String() {
		return fmt.Errorf("apiVersion is %q, want %q", t.APIVersion, rbacv1.SchemeGroupVersion)
	}
	var meta *metav1.ObjectMeta
	switch t.Kind {
	case kindClusterRole:
		var r rbacv1.ClusterRole
		if err = decode(data, &r); err == nil && r.AggregationRule != nil {
			err = errors.New("aggregationRule: nothing here fills an aggregated role; write its rules")
		}
		o.ClusterRoles, meta, err = append(o.ClusterRoles, &r), &r.ObjectMeta, errors.Join(err, checkRules(r.Rules, true))
	case kindRole:
		var r rbacv1.Role
		err = decode(data, &r)
		o.Roles, meta, err = append(o.Roles, &r), &r.ObjectMeta, errors.Join(err, checkRules(r.Rules, false))
	case "ClusterRoleBinding":
		var b rbacv1.ClusterRoleBinding
		err = decode(data, &b)
		o.ClusterRoleBindings, meta, err = append(o.ClusterRoleBindings, &b), &b.ObjectMeta, errors.Join(err, checkBinding(b.RoleRef, b.Subjects, false))
	case "RoleBinding":
		var b rbacv1.RoleBinding
		err = decode(data, &b)
		o.RoleBindings, meta, err = append(o.RoleBindings, &b), &b.ObjectMeta, errors.Join(err, checkBinding(b.RoleRef, b.Subjects, true))
	default:
		return fmt.Errorf("kind is %q, want a role or a binding", t.Kind)
	}
	if err == nil {
		err = checkMeta(t.Kind, meta, seen)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", t.Kind, meta.Name, err)
	}
	return nil
}

func decode(data []byte, into any) error {
	strict, err := json.UnmarshalStrict(data, into)
	return errors.Join(append(strict, err)...)
}

func checkMeta(kind string, meta *metav1.ObjectMeta, seen map[string]bool) error {
	local := kind == kindRole || kind == "RoleBinding"
	switch {
	case meta.Name == "":
		return errors.New("metadata.name is missing")
	case local && meta.Namespace == "":
		return errors.New("metadata.namespace is missing")
	case !local && meta.Namespace != "":
		return errors.New("metadata.namespace: the kind is of the whole cluster")
	}
	key := kind + "/" + meta.Namespace + "/" + meta.Name
	if seen[key] {
		return errors.New("is there twice")
	}
	seen[key] = true
	return nil
}

func checkRules(rules []rbacv1.PolicyRule, paths bool) error {
	for i, r := range rules {
		resources := len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0
		switch {
		case len(r.Verbs) == 0:
			return fmt.Errorf("rules[%d].verbs is empty", i)
		case len(r.NonResourceURLs) > 0 && !paths:
			return fmt.Errorf("rules[%d].nonResourceURLs: a path is in no namespace; use a ClusterRole", i)
		case len(r.NonResourceURLs) > 0 && resources:
			return fmt.Errorf("rules[%d] is for resources and for paths; write two", i)
		case len(r.NonResourceURLs) == 0 && (len(r.APIGroups) == 0 || len(r.Resources) == 0):
			return fmt.Errorf("rules[%d] needs apiGroups and resources, or nonResourceURLs", i)
		}
	}
	return nil
}

func checkBinding(ref rbacv1.RoleRef, subjects []rbacv1.Subject, local bool) error {
	switch {
	case ref.APIGroup != rbacv1.GroupName:
		return fmt.Errorf("roleRef.apiGroup is %q, want %q", ref.APIGroup, rbacv1.GroupName)
	case ref.Kind != kindClusterRole && !(local && ref.Kind == kindRole):
		return fmt.Errorf("roleRef.kind %q cannot be bound here", ref.Kind)
	case ref.Name == "":
		return errors.New("roleRef.name is missing")
	}
	for i, s := range subjects {
		group := rbacv1.GroupName
		switch s.Kind {
		case rbacv1.UserKind, rbacv1.GroupKind:
			if s.Namespace != "" {
				return fmt.Errorf("subjects[%d].namespace: a %s has none", i, s.Kind)
			}
		case rbacv1.ServiceAccountKind:
			group = ""
			if s.Namespace == "" {
				return fmt.Errorf("subjects[%d].namespace is missing", i)
			}
		default:
			return fmt.Errorf("subjects[%d].kind is %q, want User, Group or ServiceAccount", i, s.Kind)
		}
		if s.APIGroup != "" && s.APIGroup != group {
			return fmt.Errorf("subjects[%d].apiGroup is %q, want %q", i, s.APIGroup, group)
		}
		if s.Name == "" {
			return fmt.Errorf("subjects[%d].name is missing", i)
		}
	}
	return nil
}
