package node_test

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/authz/node"
)

// Every field of a pod that names a Secret or a ConfigMap is found: the types of
// Kubernetes are walked, so that a new field cannot be forgotten.
func TestEveryReferenceIsFound(t *testing.T) {
	places := map[node.Kind]int{}
	walk(reflect.TypeFor[corev1.PodSpec](), nil, func(path []int, kind node.Kind, text string) {
		pod := &corev1.Pod{}
		set(reflect.ValueOf(&pod.Spec).Elem(), path)
		places[kind]++
		for found, name := range node.References(pod) {
			if found == kind && name == "it" {
				return
			}
		}
		t.Errorf("%s is not found", text)
	}, "spec")
	if places[node.Secret] < 18 || places[node.ConfigMap] < 8 {
		t.Errorf("the types have %d places of Secrets and %d of ConfigMaps, so they were not walked", places[node.Secret], places[node.ConfigMap])
	}
}

// walk calls see with each path of fields to a name of a Secret or a ConfigMap.
// A -1 in a path is a pointer or the first element of a list.
func walk(typ reflect.Type, path []int, see func([]int, node.Kind, string), text string) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice:
		walk(typ.Elem(), append(path[:len(path):len(path)], -1), see, text)
		return
	case reflect.Struct:
	default:
		return
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		at, name := append(path[:len(path):len(path)], i), text+"."+f.Name
		if f.Type.Kind() == reflect.String {
			switch parts := strings.Split(strings.ToLower(name), "."); {
			case f.Name == "SecretName":
				see(at, node.Secret, name)
			case f.Name != "Name":
			case contains(parts[:len(parts)-1], "secret"):
				see(at, node.Secret, name)
			case contains(parts[:len(parts)-1], "configmap"):
				see(at, node.ConfigMap, name)
			}
			continue
		}
		if !strings.HasPrefix(f.Type.String(), "resource.") && !strings.HasPrefix(f.Type.String(), "v1.Time") {
			walk(f.Type, at, see, name)
		}
	}
}

// contains reports whether one of the last parts of a path says that what is
// below is a kind of object.
func contains(parts []string, word string) bool {
	for _, p := range parts[max(0, len(parts)-2):] {
		if strings.Contains(p, word) {
			return true
		}
	}
	return false
}

// set makes what the path leads through, and puts a name at its end.
func set(v reflect.Value, path []int) {
	for _, step := range path {
		switch {
		case step >= 0:
			v = v.Field(step)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			v = v.Index(0)
		default:
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
	}
	v.SetString("it")
}
