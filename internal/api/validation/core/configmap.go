package core

import (
	"bytes"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateConfigMap returns what is wrong with a config map that is to be
// created. It may hold 1 MiB, as a secret may.
func ValidateConfigMap(config *corev1.ConfigMap) field.ErrorList {
	errs := validation.ValidateObjectMeta(&config.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	data, binary, size := field.NewPath("data"), field.NewPath("binaryData"), 0
	for key, value := range config.Data {
		errs = append(errs, dataKey(key, data)...)
		if _, ok := config.BinaryData[key]; ok {
			errs = append(errs, field.Invalid(data.Key(key), key, "duplicate of key present in binaryData"))
		}
		size += len(value)
	}
	for key, value := range config.BinaryData {
		errs = append(errs, dataKey(key, binary)...)
		size += len(value)
	}
	if size > corev1.MaxSecretSize {
		// The error is about the whole object; the empty path prints as [].
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
	return errs
}

// ValidateConfigMapUpdate returns what is wrong with putting updated in the
// place of old.
func ValidateConfigMapUpdate(updated, old *corev1.ConfigMap) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	if isTrue(old.Immutable) {
		if !isTrue(updated.Immutable) {
			errs = append(errs, field.Forbidden(field.NewPath("immutable"), frozen))
		}
		if !maps.Equal(updated.Data, old.Data) {
			errs = append(errs, field.Forbidden(field.NewPath("data"), frozen))
		}
		if !maps.EqualFunc(updated.BinaryData, old.BinaryData, bytes.Equal) {
			errs = append(errs, field.Forbidden(field.NewPath("binaryData"), frozen))
		}
	}
	return append(errs, ValidateConfigMap(updated)...)
}
