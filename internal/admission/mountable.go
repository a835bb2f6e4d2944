package admission

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// mountable refuses the first Secret that a Pod refers to and its account does
// not list. The places and the texts are Kubernetes'
// (plugin/pkg/admission/serviceaccount/admission.go, limitSecretReferences).
func mountable(account *corev1.ServiceAccount, pod *corev1.Pod) error {
	listed := listedBy(account)
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && !listed[v.Secret.SecretName] {
			return fmt.Errorf("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, account.Name)
		}
	}
	for _, kind := range []struct {
		name       string
		containers []corev1.Container
	}{{"init container", pod.Spec.InitContainers}, {"container", pod.Spec.Containers}} {
		for _, c := range kind.containers {
			if err := environment(kind.name+" "+c.Name, c.Env, c.EnvFrom, listed, account.Name); err != nil {
				return err
			}
		}
	}
	pulled := map[string]bool{}
	for _, ref := range account.ImagePullSecrets {
		pulled[ref.Name] = true
	}
	for i, ref := range pod.Spec.ImagePullSecrets {
		if !pulled[ref.Name] {
			return fmt.Errorf("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, ref.Name, account.Name)
		}
	}
	return nil
}

// mountableEphemeral is mountable for the containers that are added to a Pod.
func mountableEphemeral(account *corev1.ServiceAccount, pod *corev1.Pod) error {
	listed := listedBy(account)
	for _, c := range pod.Spec.EphemeralContainers {
		if err := environment("ephemeral container "+c.Name, c.Env, c.EnvFrom, listed, account.Name); err != nil {
			return err
		}
	}
	return nil
}

func listedBy(account *corev1.ServiceAccount) map[string]bool {
	listed := map[string]bool{}
	for _, ref := range account.Secrets {
		listed[ref.Name] = true
	}
	return listed
}

// environment refuses the first Secret in the environment of a container that is
// not listed.
func environment(container string, env []corev1.EnvVar, from []corev1.EnvFromSource, listed map[string]bool, account string) error {
	for _, v := range env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil && !listed[v.ValueFrom.SecretKeyRef.Name] {
			return fmt.Errorf("%s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
				container, v.Name, v.ValueFrom.SecretKeyRef.Name, account)
		}
	}
	for _, f := range from {
		if f.SecretRef != nil && !listed[f.SecretRef.Name] {
			return fmt.Errorf("%s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
				container, f.SecretRef.Name, account)
		}
	}
	return nil
}
