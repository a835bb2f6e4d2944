package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"

	ours "gatehouse.dev/gatehouse/internal/admission"
)

const tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// accounts are those of the namespace ns.
func accounts() ours.ServiceAccount {
	no := false
	all := map[string]*corev1.ServiceAccount{
		"default": {},
		"robot":   {ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull-a"}, {Name: "pull-b"}}},
		"quiet":   {AutomountServiceAccountToken: &no},
		"strict": {
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"}},
			Secrets:    []corev1.ObjectReference{{Name: "listed"}}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull-a"}},
		},
		"odd": {ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/enforce-mountable-secrets": "yes"}}},
	}
	return ours.ServiceAccount{Account: func(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
		account := all[name]
		if namespace != "ns" || account == nil {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, name)
		}
		account.Name, account.Namespace = name, namespace
		return account, nil
	}}
}

func podWrite(op admission.Operation, sub string, pod *corev1.Pod) write {
	return write{
		obj: pod, kind: corev1.SchemeGroupVersion.WithKind("Pod"), namespace: "ns", name: "p", resource: "pods", sub: sub, op: op,
		options: &metav1.CreateOptions{},
	}
}

// admit completes and judges a Pod, as the library does.
func admit(t *testing.T, p ours.Plugin, w write) error {
	t.Helper()
	chain, a := ours.Chain{p}, w.attributes()
	if err := chain.Admit(t.Context(), a, nil); err != nil {
		return err
	}
	return chain.Validate(t.Context(), a, nil)
}

func pod(account string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{
		ServiceAccountName: account, DeprecatedServiceAccount: account,
		InitContainers: []corev1.Container{{Name: "init"}}, Containers: []corev1.Container{{Name: "a"}, {Name: "b"}},
	}}
	for _, c := range change {
		c(p)
	}
	return p
}

// TestServiceAccountInjects compares what becomes of a Pod with what
// kube-apiserver makes of it.
func TestServiceAccountInjects(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		name    string
		pod     *corev1.Pod
		account string
		mounts  int // how many containers mount the volume
		volumes int
		pull    string
	}{
		{"nothing said", pod(""), "default", 3, 1, ""},
		{"account", pod("robot"), "robot", 3, 1, "pull-a pull-b"},
		{"own pull secrets", pod("robot", func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "mine"}} }), "robot", 3, 1, "mine"},
		{"account does not mount", pod("quiet"), "quiet", 0, 0, ""},
		{"pod mounts, account does not", pod("quiet", func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = &yes }), "quiet", 3, 1, ""},
		{"pod does not mount", pod("robot", func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = &no }), "robot", 0, 0, "pull-a pull-b"},
		{"one mounts something there", pod("default", func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: tokenDir}}
		}), "default", 2, 1, ""},
		{"all mount something there", pod("default", func(p *corev1.Pod) {
			for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
				for i := range list {
					list[i].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: tokenDir}}
				}
			}
		}), "default", 0, 0, ""},
		{"mount beside it", pod("default", func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: tokenDir + "/"}}
		}), "default", 3, 1, ""},
		{"volume is there", pod("default", func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "kube-api-access-mine"}}
		}), "default", 3, 1, ""},
	} {
		if err := admit(t, accounts(), podWrite(admission.Create, "", tt.pod)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		spec := tt.pod.Spec
		mounts := 0
		for _, c := range append(append([]corev1.Container{}, spec.InitContainers...), spec.Containers...) {
			for _, m := range c.VolumeMounts {
				if strings.HasPrefix(m.Name, "kube-api-access-") && m.MountPath == tokenDir && m.ReadOnly && m.Name == spec.Volumes[0].Name {
					mounts++
				}
			}
		}
		var pull []string
		for _, ref := range spec.ImagePullSecrets {
			pull = append(pull, ref.Name)
		}
		if spec.ServiceAccountName != tt.account || spec.DeprecatedServiceAccount != tt.account || mounts != tt.mounts ||
			len(spec.Volumes) != tt.volumes || strings.Join(pull, " ") != tt.pull {
			t.Errorf("%s: %s", tt.name, asJSON(t, spec))
		}
	}
}

// TestTokenVolume wants the volume byte for byte.
func TestTokenVolume(t *testing.T) {
	p := pod("")
	if err := admit(t, accounts(), podWrite(admission.Create, "", p)); err != nil {
		t.Fatal(err)
	}
	name := p.Spec.Volumes[0].Name
	if len(name) != len("kube-api-access-xxxxx") {
		t.Errorf("the volume is called %s", name)
	}
	want := `{"name":"` + name + `","projected":{"sources":[` +
		`{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},` +
		`{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},` +
		`{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}`
	if got := asJSON(t, p.Spec.Volumes[0]); got != want {
		t.Errorf("volume\n%s, want\n%s", got, want)
	}
	before := asJSON(t, p)
	if err := admit(t, accounts(), podWrite(admission.Create, "", p)); err != nil || asJSON(t, p) != before {
		t.Errorf("a second time changes it again: %v, %s", err, asJSON(t, p))
	}
}

func TestServiceAccountRefuses(t *testing.T) {
	env := func(name string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "V", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}}
	}
	from := func(name string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
	}
	volume := func(v corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: v}} }
	}
	mirror := func(p *corev1.Pod) { p.Annotations = map[string]string{"kubernetes.io/config.mirror": "x"} }
	ephemeral := func(c corev1.EphemeralContainerCommon) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: c}}
		}
	}
	const notListed = " is not allowed because service account strict does not reference that secret"
	for _, tt := range []struct {
		name string
		sub  string
		pod  *corev1.Pod
		want string // the refusal, if any
	}{
		{"no such account", "", pod("nobody"), `error looking up service account ns/nobody: serviceaccounts "nobody" not found`},

		{"mirror", "", pod("", mirror), ""},
		{"mirror of an account", "", pod("robot", mirror), "a mirror pod may not reference service accounts"},
		{"mirror with a secret", "", pod("", mirror, volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}})), "a mirror pod may not reference secrets"},
		{"mirror with a secret in its environment", "", pod("", mirror, func(p *corev1.Pod) { p.Spec.InitContainers[0].EnvFrom = from("s") }), "a mirror pod may not reference secrets"},
		{"mirror with a token", "", pod("", mirror, volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}}})), "a mirror pod may not use ServiceAccountToken volume projections"},
		{"mirror with a projected config map", "", pod("", mirror, volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{}}}}})), ""},

		{"strict", "", pod("strict"), ""},
		{"strict, listed volume", "", pod("strict", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "listed"}})), ""},
		{"strict, other volume", "", pod("strict", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other"}})), `volume with secret.secretName="other"` + notListed},
		{"strict, listed environment", "", pod("strict", func(p *corev1.Pod) { p.Spec.Containers[0].Env = env("listed") }), ""},
		{"strict, other environment", "", pod("strict", func(p *corev1.Pod) { p.Spec.Containers[1].Env = env("other") }), `container b with envVar V referencing secret.secretName="other"` + notListed},
		{"strict, other environment as a whole", "", pod("strict", func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = from("other") }), `container a with envFrom referencing secret.secretName="other"` + notListed},
		{"strict, other environment of init", "", pod("strict", func(p *corev1.Pod) { p.Spec.InitContainers[0].Env = env("other") }), `init container init with envVar V referencing secret.secretName="other"` + notListed},
		{"strict, other environment of init as a whole", "", pod("strict", func(p *corev1.Pod) { p.Spec.InitContainers[0].EnvFrom = from("other") }), `init container init with envFrom referencing secret.secretName="other"` + notListed},
		{"strict, listed pull secret", "", pod("strict", func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull-a"}} }), ""},
		{"strict, other pull secret", "", pod("strict", func(p *corev1.Pod) {
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull-a"}, {Name: "listed"}}
		}), `imagePullSecrets[1].name="listed" is not allowed because service account strict does not reference that imagePullSecret`},
		{"annotation that says neither", "", pod("odd", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other"}})), ""},
		{"not strict", "", pod("robot", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other"}})), ""},

		{"added container", "ephemeralcontainers", pod("strict", ephemeral(corev1.EphemeralContainerCommon{Name: "e", Env: env("listed")})), ""},
		{"added container, other secret", "ephemeralcontainers", pod("strict", ephemeral(corev1.EphemeralContainerCommon{Name: "e", Env: env("other")})), `ephemeral container e with envVar V referencing secret.secretName="other"` + notListed},
		{"added container, other secret as a whole", "ephemeralcontainers", pod("strict", ephemeral(corev1.EphemeralContainerCommon{Name: "e", EnvFrom: from("other")})), `ephemeral container e with envFrom referencing secret.secretName="other"` + notListed},
		{"added container, no account", "ephemeralcontainers", pod(""), "no service account specified for pod ns/p"},
		{"added container, account that is gone", "ephemeralcontainers", pod("nobody"), "error looking up service account ns/nobody"},
		{"added container, not strict", "ephemeralcontainers", pod("robot", ephemeral(corev1.EphemeralContainerCommon{Env: env("other")})), ""},
		{"status", "status", pod("nobody"), ""},
	} {
		op := admission.Create
		if tt.sub != "" {
			op = admission.Update
		}
		before := asJSON(t, tt.pod)
		err := admit(t, accounts(), podWrite(op, tt.sub, tt.pod))
		t.Run(tt.name, func(t *testing.T) { expect(t, err, 403, tt.want) })
		_, isMirror := tt.pod.Annotations["kubernetes.io/config.mirror"]
		if (isMirror || tt.sub != "") && asJSON(t, tt.pod) != before {
			t.Errorf("%s: was changed", tt.name)
		}
	}
	// Updates of a Pod are not looked at, nor anything that is none.
	if err := admit(t, accounts(), podWrite(admission.Update, "", pod("nobody"))); err != nil {
		t.Errorf("an update: %v", err)
	}
	other := podWrite(admission.Create, "", pod("nobody"))
	other.obj = &corev1.ConfigMap{}
	if err := admit(t, accounts(), other); err != nil {
		t.Errorf("what is no Pod: %v", err)
	}
}

// TestDefaultAccountComes says that the account of a new namespace is waited for,
// and no other.
func TestDefaultAccountComes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		fails error
		want  string
	}{
		{"", time.Second, nil, ""},
		{"", 10 * time.Second, nil, "error looking up service account ns/default"},
		{"", 0, errors.New("store is down"), "store is down"},
		{"robot", time.Second, nil, "error looking up service account ns/robot"},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			plugin := ours.ServiceAccount{Account: func(_ context.Context, _, name string) (*corev1.ServiceAccount, error) {
				if tt.fails != nil {
					return nil, tt.fails
				}
				if time.Since(start) < tt.after {
					return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, name)
				}
				return &corev1.ServiceAccount{}, nil
			}}
			expect(t, admit(t, plugin, podWrite(admission.Create, "", pod(tt.name))), 403, tt.want)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it was waited for %v", took)
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
