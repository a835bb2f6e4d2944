package podrefs_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/internal/podrefs"
)

// fill gives every field below v a value, and every text another one, which is
// written down with its path.
func fill(v reflect.Value, path string, texts map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path, texts)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(f, path+"."+v.Type().Field(i).Name, texts)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path, texts)
	case reflect.String:
		text := fmt.Sprintf("text-%d", len(texts))
		texts[text] = path
		v.SetString(text)
	}
}

// TestSecrets fills a whole Pod spec, and wants the name of each field that
// speaks of a Secret. A field that Kubernetes adds fails it.
func TestSecrets(t *testing.T) {
	pod := &corev1.Pod{}
	texts := map[string]string{}
	fill(reflect.ValueOf(&pod.Spec).Elem(), "spec", texts)
	got := map[string]bool{}
	for name := range podrefs.Secrets(pod) {
		got[texts[name]] = true
	}
	var want []string
	for _, path := range texts {
		if !strings.Contains(path, "Secret") || !strings.HasSuffix(path, "Name") {
			continue
		}
		want = append(want, path)
	}
	if len(want) < 18 {
		t.Fatalf("only %d fields of a Pod name a Secret, so it was not filled: %q", len(want), want)
	}
	slices.Sort(want)
	for _, path := range want {
		if !got[path] {
			t.Errorf("%s is not named", path)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d fields are named, want %d", len(got), len(want))
	}
}

func TestSecretsStops(t *testing.T) {
	pod := &corev1.Pod{}
	fill(reflect.ValueOf(&pod.Spec).Elem(), "spec", map[string]string{})
	n := 0
	for range podrefs.Secrets(pod) {
		n++
	}
	for stop := range n {
		seen := 0
		for range podrefs.Secrets(pod) {
			if seen++; seen == stop+1 {
				break
			}
		}
	}
	if empty := slices.Collect(podrefs.Secrets(&corev1.Pod{})); len(empty) > 0 {
		t.Errorf("an empty Pod refers to %q", empty)
	}
	blank := &corev1.Pod{Spec: corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{}}}}
	if got := slices.Collect(podrefs.Secrets(blank)); len(got) > 0 {
		t.Errorf("a reference without a name: %q", got)
	}
}
