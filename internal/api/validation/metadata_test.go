package validation_test

import (
	"testing"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/validation"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

func TestObjectMeta(t *testing.T) {
	for _, test := range []struct {
		name       string
		meta       metav1.ObjectMeta
		namespaced bool
		want       []string
	}{
		{name: "cluster", meta: metav1.ObjectMeta{Name: "a"}},
		{name: "namespaced", meta: metav1.ObjectMeta{Name: "a", Namespace: "b"}, namespaced: true},
		{name: "legacy finalizers", meta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"kubernetes", "orphan"}}},
		{name: "own finalizer", meta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"example.com/hold"}}},
		{name: "no name", want: []string{`metadata.name: Required value: name or generateName is required`}},
		{name: "no namespace", meta: metav1.ObjectMeta{Name: "a"}, namespaced: true,
			want: []string{`metadata.namespace: Required value`}},
		{name: "a namespace too many", meta: metav1.ObjectMeta{Name: "a", Namespace: "b"},
			want: []string{`metadata.namespace: Forbidden: not allowed on this type`}},
		{name: "short finalizer", meta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"hold"}},
			want: []string{`metadata.finalizers[0]: Invalid value: "hold": name is neither a standard finalizer name nor is it fully qualified`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			errs := validation.ValidateObjectMeta(&test.meta, test.namespaced, apivalidation.NameIsDNSLabel)
			validationtest.Check(t, errs, test.want...)
		})
	}
}

func TestObjectMetaUpdate(t *testing.T) {
	old := metav1.ObjectMeta{Name: "a", UID: "1", ResourceVersion: "5"}
	for _, test := range []struct {
		name   string
		change func(*metav1.ObjectMeta)
		want   []string
	}{
		{name: "label", change: func(m *metav1.ObjectMeta) { m.Labels = map[string]string{"a": "b"} }},
		{name: "no version", change: func(m *metav1.ObjectMeta) { m.ResourceVersion = "" },
			want: []string{`metadata.resourceVersion: Invalid value: "": must be specified for an update`}},
		{name: "other object", change: func(m *metav1.ObjectMeta) { m.UID = "2" },
			want: []string{`metadata.uid: Invalid value: "2": field is immutable`}},
		{name: "short finalizer", change: func(m *metav1.ObjectMeta) { m.Finalizers = []string{"hold"} },
			want: []string{`metadata.finalizers[0]: Invalid value: "hold": name is neither a standard finalizer name nor is it fully qualified`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			updated := old.DeepCopy()
			test.change(updated)
			validationtest.Check(t, validation.ValidateObjectMetaUpdate(updated, &old), test.want...)
		})
	}
}
