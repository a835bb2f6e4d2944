package core_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"gatehouse.dev/gatehouse/internal/api/validation/core"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

const frozen = "field is immutable when `immutable` is set"

func TestSecret(t *testing.T) {
	keys := func(names ...string) map[string][]byte {
		data := make(map[string][]byte)
		for _, name := range names {
			data[name] = []byte("{}")
		}
		return data
	}
	for _, test := range []struct {
		name        string
		kind        corev1.SecretType
		data        map[string][]byte
		annotations map[string]string
		want        []string
	}{
		{name: "opaque", kind: "Opaque", data: keys("a", "B.c_d-e")},
		{name: "own type", kind: "example.com/x"},
		{name: "full", kind: "Opaque", data: map[string][]byte{"a": make([]byte, corev1.MaxSecretSize)}},
		{name: "token", kind: corev1.SecretTypeServiceAccountToken, annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}},
		{name: "bootstrap token", kind: corev1.SecretTypeBootstrapToken},
		{name: "dockercfg", kind: corev1.SecretTypeDockercfg, data: keys(".dockercfg")},
		{name: "dockerconfigjson", kind: corev1.SecretTypeDockerConfigJson, data: keys(".dockerconfigjson")},
		{name: "password alone", kind: corev1.SecretTypeBasicAuth, data: keys("password")},
		{name: "ssh", kind: corev1.SecretTypeSSHAuth, data: keys("ssh-privatekey")},
		{name: "tls", kind: corev1.SecretTypeTLS, data: keys("tls.crt", "tls.key")},
		{name: "bad key", kind: "Opaque", data: keys("a b"),
			want: []string{`data[a b]: Invalid value: "a b": ` + utilvalidation.IsConfigMapKey("a b")[0]}},
		{name: "too full", kind: "Opaque", data: map[string][]byte{"a": make([]byte, corev1.MaxSecretSize), "b": {1}},
			want: []string{`data: Too long: may not be more than 1048576 bytes`}},
		{name: "token of nobody", kind: corev1.SecretTypeServiceAccountToken,
			want: []string{`metadata.annotations[kubernetes.io/service-account.name]: Required value`}},
		{name: "no dockercfg", kind: corev1.SecretTypeDockercfg, want: []string{`data[.dockercfg]: Required value`}},
		{name: "dockercfg is no JSON", kind: corev1.SecretTypeDockercfg, data: map[string][]byte{".dockercfg": []byte("hunter2")},
			want: []string{`data[.dockercfg]: Invalid value: "<secret contents redacted>": must be a JSON object`}},
		{name: "dockerconfigjson is a number", kind: corev1.SecretTypeDockerConfigJson, data: map[string][]byte{".dockerconfigjson": []byte("1e999")},
			want: []string{`data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be a JSON object`}},
		{name: "no credentials", kind: corev1.SecretTypeBasicAuth,
			want: []string{`data[username]: Required value`, `data[password]: Required value`}},
		{name: "empty ssh key", kind: corev1.SecretTypeSSHAuth, data: map[string][]byte{"ssh-privatekey": {}},
			want: []string{`data[ssh-privatekey]: Required value`}},
		{name: "half of tls", kind: corev1.SecretTypeTLS, data: keys("tls.crt"), want: []string{`data[tls.key]: Required value`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "b", Annotations: test.annotations},
				Type:       test.kind, Data: test.data,
			}
			validationtest.Check(t, core.ValidateSecret(secret), test.want...)
		})
	}
}

func TestSecretUpdate(t *testing.T) {
	open := &corev1.Secret{ObjectMeta: namespaced, Type: "Opaque", Data: map[string][]byte{"a": []byte("1")}}
	closed := open.DeepCopy()
	closed.Immutable = new(true)
	for _, test := range []struct {
		name   string
		old    *corev1.Secret
		change func(*corev1.Secret)
		want   []string
	}{
		{name: "data", old: open, change: func(s *corev1.Secret) { s.Data["a"] = []byte("2") }},
		{name: "close", old: open, change: func(s *corev1.Secret) { s.Immutable = new(true) }},
		{name: "label of a closed one", old: closed, change: func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} }},
		{name: "type", old: open, change: func(s *corev1.Secret) { s.Type = "example.com/x" },
			want: []string{`type: Invalid value: "example.com/x": field is immutable`}},
		{name: "data of a closed one", old: closed, change: func(s *corev1.Secret) { s.Data["a"] = []byte("2") },
			want: []string{`data: Forbidden: ` + frozen}},
		{name: "open", old: closed, change: func(s *corev1.Secret) { s.Immutable = nil },
			want: []string{`immutable: Forbidden: ` + frozen}},
		{name: "open a little", old: closed, change: func(s *corev1.Secret) { s.Immutable = new(false) },
			want: []string{`immutable: Forbidden: ` + frozen}},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret := test.old.DeepCopy()
			test.change(secret)
			validationtest.Check(t, core.ValidateSecretUpdate(secret, test.old), test.want...)
		})
	}
}

func TestConfigMap(t *testing.T) {
	for _, test := range []struct {
		name   string
		data   map[string]string
		binary map[string][]byte
		want   []string
	}{
		{name: "empty"},
		{name: "both", data: map[string]string{"a": "1"}, binary: map[string][]byte{"b": {0}}},
		{name: "bad keys", data: map[string]string{"": ""}, binary: map[string][]byte{"..": {0}},
			want: []string{
				`data[]: Invalid value: "": ` + utilvalidation.IsConfigMapKey("")[0],
				`binaryData[..]: Invalid value: "..": ` + utilvalidation.IsConfigMapKey("..")[0]}},
		{name: "key twice", data: map[string]string{"a": "1"}, binary: map[string][]byte{"a": {0}},
			want: []string{`data[a]: Invalid value: "a": duplicate of key present in binaryData`}},
		{name: "too full", data: map[string]string{"a": strings.Repeat("x", corev1.MaxSecretSize)}, binary: map[string][]byte{"b": {0}},
			want: []string{`[]: Too long: may not be more than 1048576 bytes`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := &corev1.ConfigMap{ObjectMeta: namespaced, Data: test.data, BinaryData: test.binary}
			validationtest.Check(t, core.ValidateConfigMap(config), test.want...)
		})
	}

	old := &corev1.ConfigMap{ObjectMeta: namespaced, Data: map[string]string{"a": "1"}, Immutable: new(true)}
	validationtest.Check(t, core.ValidateConfigMapUpdate(old, old))
	updated := &corev1.ConfigMap{ObjectMeta: namespaced, BinaryData: map[string][]byte{"b": {0}}}
	validationtest.Check(t, core.ValidateConfigMapUpdate(updated, old),
		`immutable: Forbidden: `+frozen, `data: Forbidden: `+frozen, `binaryData: Forbidden: `+frozen)
}
