package core

import (
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits of the lifetime of a projected service account token, in seconds. They
// are those of a TokenRequest, which is what the kubelet will make of it.
const (
	minTokenSeconds = 600
	maxTokenSeconds = 1 << 32
)

const manySources = "may not specify more than 1 volume type"

// volumes checks names, that each volume has exactly one source, and the
// service account tokens: a node may read the secrets, and have tokens for the
// audiences, that the volumes of its pods name.
func volumes(list []corev1.Volume, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := make(map[string]bool)
	for i := range list {
		volume, at := &list[i], at.Index(i)
		errs = append(errs, uniqueName(volume.Name, seen, at.Child("name"))...)
		switch set := setPointers(volume.VolumeSource); {
		case len(set) == 0:
			errs = append(errs, field.Required(at, "must specify a volume type"))
		default:
			for _, name := range set[1:] {
				errs = append(errs, field.Forbidden(at.Child(name), manySources))
			}
		}
		if volume.Projected != nil {
			errs = append(errs, projections(volume.Projected.Sources, at.Child("projected"))...)
		}
	}
	return errs
}

func projections(sources []corev1.VolumeProjection, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, source := range sources {
		sourceAt := at.Child("sources").Index(i)
		if token := source.ServiceAccountToken; token != nil {
			errs = append(errs, tokenSeconds(token.ExpirationSeconds, sourceAt.Child("serviceAccountToken", "expirationSeconds"))...)
			// Not under sources, in kube-apiserver either.
			errs = append(errs, tokenPath(token.Path, at.Child("path"))...)
		}
		if len(setPointers(source)) > 1 {
			errs = append(errs, field.Forbidden(sourceAt, manySources))
		}
	}
	return errs
}

func tokenSeconds(seconds *int64, at *field.Path) field.ErrorList {
	var n int64 // Nothing at all is too short: defaulting has put 3600 there.
	if seconds != nil {
		n = *seconds
	}
	switch {
	case n < minTokenSeconds:
		return field.ErrorList{field.Invalid(at, n, "may not specify a duration less than 10 minutes")}
	case n > maxTokenSeconds:
		return field.ErrorList{field.Invalid(at, n, "may not specify a duration larger than 2^32 seconds")}
	}
	return nil
}

// tokenPath wants a path that stays inside the volume, and whose first element
// is not one of the names that the kubelet keeps for itself.
func tokenPath(name string, at *field.Path) field.ErrorList {
	switch {
	case name == "":
		return field.ErrorList{field.Required(at, "")}
	case path.IsAbs(name):
		return field.ErrorList{field.Invalid(at, name, "must be a relative path")}
	case slices.Contains(strings.Split(name, "/"), ".."):
		return field.ErrorList{field.Invalid(at, name, "must not contain '..'")}
	case strings.HasPrefix(name, ".."):
		return field.ErrorList{field.Invalid(at, name, "must not start with '..'")}
	}
	return nil
}

// setPointers returns the JSON names of the fields of a struct of pointers that
// are set. Reading them off the type keeps the rule right when a new kind of
// volume comes with a new version of the API.
func setPointers(union any) []string {
	var names []string
	v := reflect.ValueOf(union)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
