package core

import (
	"bytes"
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// frozen is the detail of each change to an object that declared itself
// immutable.
const frozen = "field is immutable when `immutable` is set"

// ValidateSecret returns what is wrong with a secret that is to be created. Its
// data may hold 1 MiB ([corev1.MaxSecretSize]) in all. stringData must have
// been folded into data already, as internal/api/defaults does.
func ValidateSecret(secret *corev1.Secret) field.ErrorList {
	errs := validation.ValidateObjectMeta(&secret.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	at, size := field.NewPath("data"), 0
	for key, value := range secret.Data {
		errs = append(errs, dataKey(key, at)...)
		size += len(value)
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(at, "", corev1.MaxSecretSize))
	}
	return append(errs, secretOfType(secret, at)...)
}

// secretOfType checks what the type of the secret promises its readers. An
// unknown type promises nothing; nor does that of a bootstrap token: a token
// that lacks a part is refused where it is used.
func secretOfType(secret *corev1.Secret, at *field.Path) field.ErrorList {
	switch secret.Type {
	case corev1.SecretTypeServiceAccountToken:
		// Only the name: the controller adds the UID and the token later.
		if secret.Annotations[corev1.ServiceAccountNameKey] == "" {
			name := field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey)
			return field.ErrorList{field.Required(name, "")}
		}
	case corev1.SecretTypeDockercfg:
		return jsonObject(secret.Data, corev1.DockerConfigKey, at)
	case corev1.SecretTypeDockerConfigJson:
		return jsonObject(secret.Data, corev1.DockerConfigJsonKey, at)
	case corev1.SecretTypeBasicAuth:
		// Either may be missing or empty, as some services want only one.
		errs := requireKeys(secret.Data, at, corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
		if len(errs) == 2 {
			return errs
		}
	case corev1.SecretTypeSSHAuth:
		if len(secret.Data[corev1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(at.Key(corev1.SSHAuthPrivateKey), "")}
		}
	case corev1.SecretTypeTLS:
		return requireKeys(secret.Data, at, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return nil
}

func requireKeys(data map[string][]byte, at *field.Path, keys ...string) field.ErrorList {
	var errs field.ErrorList
	for _, key := range keys {
		if _, ok := data[key]; !ok {
			errs = append(errs, field.Required(at.Key(key), ""))
		}
	}
	return errs
}

// jsonObject differs from kube-apiserver in the detail: that quotes the error
// of the JSON parser, which quotes a character or a number out of the secret.
func jsonObject(data map[string][]byte, key string, at *field.Path) field.ErrorList {
	if errs := requireKeys(data, at, key); len(errs) > 0 {
		return errs
	}
	var object map[string]any
	if err := json.Unmarshal(data[key], &object); err != nil {
		return field.ErrorList{field.Invalid(at.Key(key), "<secret contents redacted>", "must be a JSON object")}
	}
	return nil
}

// ValidateSecretUpdate returns what is wrong with putting updated in the place
// of old. The type never changes; nothing does once the secret is immutable.
func ValidateSecretUpdate(updated, old *corev1.Secret) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)
	errs = append(errs, apivalidation.ValidateImmutableField(updated.Type, old.Type, field.NewPath("type"))...)
	if isTrue(old.Immutable) {
		if !isTrue(updated.Immutable) {
			errs = append(errs, field.Forbidden(field.NewPath("immutable"), frozen))
		}
		if !maps.EqualFunc(updated.Data, old.Data, bytes.Equal) {
			errs = append(errs, field.Forbidden(field.NewPath("data"), frozen))
		}
	}
	return append(errs, ValidateSecret(updated)...)
}

func dataKey(key string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range utilvalidation.IsConfigMapKey(key) {
		errs = append(errs, field.Invalid(at.Key(key), key, msg))
	}
	return errs
}

func isTrue(b *bool) bool { return b != nil && *b }
