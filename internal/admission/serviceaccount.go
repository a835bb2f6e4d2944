package admission

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/internal/podrefs"
)

const (
	defaultAccount = "default"
	// tokenVolume begins the name of the volume that is added to a Pod.
	tokenVolume = "kube-api-access-"
	// tokenPath is where programs in a Pod look for their token.
	tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is an hour and a mark: the issuer of tokens knows by it that
	// nobody asked for a token that ends.
	tokenSeconds = 60*60 + 7
	// enforceMountable is the annotation of an account whose Pods may refer to no
	// other Secrets than it lists.
	enforceMountable = "kubernetes.io/enforce-mountable-secrets"

	// defaultTries is how often the account "default" is looked for, which comes a
	// moment after its namespace, and defaultPause is how long is waited between.
	defaultTries = 10
	defaultPause = 150 * time.Millisecond
)

// ServiceAccount is the plugin of that name: each Pod runs as a service account
// that is there, and gets what a program needs to be it: a volume with a token
// that is renewed, the CA of the server, and the namespace. A Pod that only
// mirrors what a node runs has none of that.
type ServiceAccount struct {
	// Account returns a service account as the store has it now, or an API error.
	Account func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
}

// Handles is true for a Pod that is created, and for containers that are added to
// one.
func (ServiceAccount) Handles(a admission.Attributes) bool {
	if a.GetResource().Group != "" || a.GetResource().Resource != "pods" {
		return false
	}
	if _, ok := a.GetObject().(*corev1.Pod); !ok {
		return false
	}
	switch a.GetSubresource() {
	case "":
		return a.GetOperation() == admission.Create
	case "ephemeralcontainers":
		return a.GetOperation() == admission.Update
	}
	return false
}

// Admit gives a Pod what it lacks.
func (s ServiceAccount) Admit(ctx context.Context, a admission.Attributes) error {
	pod := a.GetObject().(*corev1.Pod)
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror || a.GetOperation() != admission.Create {
		return nil // Judge has the rest
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
		pod.Spec.DeprecatedServiceAccount = defaultAccount
	}
	account, err := s.account(ctx, a, pod)
	if err != nil {
		return err
	}
	if automounts(account, pod) {
		mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		for _, ref := range account.ImagePullSecrets {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: ref.Name})
		}
	}
	return nil
}

// Judge refuses a Pod without an account that is there, and references that the
// account does not allow.
func (s ServiceAccount) Judge(ctx context.Context, a admission.Attributes) error {
	pod := a.GetObject().(*corev1.Pod)
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror && a.GetOperation() == admission.Create {
		return judgeMirror(a, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		return admission.NewForbidden(a, fmt.Errorf("no service account specified for pod %s/%s", a.GetNamespace(), pod.Name))
	}
	account, err := s.account(ctx, a, pod)
	if err != nil {
		return err
	}
	// A value that is neither true nor false is false, as upstream.
	if enforced, _ := strconv.ParseBool(account.Annotations[enforceMountable]); !enforced {
		return nil
	}
	if a.GetOperation() == admission.Create {
		err = mountable(account, pod)
	} else {
		err = mountableEphemeral(account, pod)
	}
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	return nil
}

// account returns the account of a Pod, or why there is none.
func (s ServiceAccount) account(ctx context.Context, a admission.Attributes, pod *corev1.Pod) (*corev1.ServiceAccount, error) {
	name := pod.Spec.ServiceAccountName
	tries := 1
	if name == defaultAccount {
		tries = defaultTries
	}
	for {
		account, err := s.Account(ctx, a.GetNamespace(), name)
		if err == nil {
			return account, nil
		}
		if tries--; tries == 0 || !apierrors.IsNotFound(err) {
			return nil, admission.NewForbidden(a, fmt.Errorf("error looking up service account %s/%s: %w", a.GetNamespace(), name, err))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(defaultPause):
		}
	}
}

// judgeMirror keeps a Pod that mirrors what a node runs from having what only the
// server gives.
func judgeMirror(a admission.Attributes, pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return admission.NewForbidden(a, fmt.Errorf("a mirror pod may not reference service accounts"))
	}
	for range podrefs.Secrets(pod) {
		return admission.NewForbidden(a, fmt.Errorf("a mirror pod may not reference secrets"))
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ServiceAccountToken != nil {
				return admission.NewForbidden(a, fmt.Errorf("a mirror pod may not use ServiceAccountToken volume projections"))
			}
		}
	}
	return nil
}

// automounts reports whether a Pod is to have a token: as it says, or else as its
// account does, or else yes.
func automounts(account *corev1.ServiceAccount, pod *corev1.Pod) bool {
	switch {
	case pod.Spec.AutomountServiceAccountToken != nil:
		return *pod.Spec.AutomountServiceAccountToken
	case account.AutomountServiceAccountToken != nil:
		return *account.AutomountServiceAccountToken
	}
	return true
}

// mountToken has every container mount the volume with the token that does not
// mount something else there, and adds the volume if one does.
func mountToken(pod *corev1.Pod) {
	name := ""
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, tokenVolume) {
			name = v.Name
			break
		}
	}
	there := name != ""
	if !there {
		name = tokenVolume + utilrand.String(5)
	}
	mounted := false
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if !mounts(&containers[i]) {
				containers[i].VolumeMounts = append(containers[i].VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenPath})
				mounted = true
			}
		}
	}
	if mounted && !there {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: tokenSource()}})
	}
}

func mounts(c *corev1.Container) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == tokenPath {
			return true
		}
	}
	return false
}

// tokenSource is what is in the volume.
func tokenSource() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{
		DefaultMode: new(corev1.ProjectedVolumeSourceDefaultMode),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(tokenSeconds))}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}
}
