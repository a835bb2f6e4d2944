package core

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// required wants one of known.
func required[T ~string](value T, at *field.Path, known ...T) field.ErrorList {
	switch {
	case value == "":
		return field.ErrorList{field.Required(at, "")}
	case !slices.Contains(known, value):
		return field.ErrorList{field.NotSupported(at, value, known)}
	}
	return nil
}
