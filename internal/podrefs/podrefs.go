// Package podrefs names the objects that a Pod refers to.
//
// The one idea: every place of a Pod that can name a Secret is looked at, those
// of init and ephemeral containers and of old volume types too. A place that is
// forgotten is a Secret that somebody reads unseen, or that is deleted while it
// is in use. The places are Kubernetes' (pkg/api/v1/pod/util.go,
// VisitPodSecretNames).
package podrefs

import (
	"iter"

	corev1 "k8s.io/api/core/v1"
)

// Secrets returns the names of the Secrets that a Pod refers to, in its
// namespace. One may come many times.
func Secrets(pod *corev1.Pod) iter.Seq[string] {
	return func(yield func(string) bool) {
		named := func(name string) bool { return name == "" || yield(name) }
		spec := &pod.Spec
		for i := range spec.ImagePullSecrets {
			if !named(spec.ImagePullSecrets[i].Name) {
				return
			}
		}
		for _, name := range environment(spec) {
			if !named(name) {
				return
			}
		}
		for i := range spec.Volumes {
			for _, name := range ofVolume(&spec.Volumes[i].VolumeSource) {
				if !named(name) {
					return
				}
			}
		}
	}
}

// environment returns the Secrets in the environments of all containers.
func environment(spec *corev1.PodSpec) []string {
	var names []string
	add := func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for i := range from {
			if ref := from[i].SecretRef; ref != nil {
				names = append(names, ref.Name)
			}
		}
		for i := range env {
			if source := env[i].ValueFrom; source != nil && source.SecretKeyRef != nil {
				names = append(names, source.SecretKeyRef.Name)
			}
		}
	}
	for i := range spec.InitContainers {
		add(spec.InitContainers[i].Env, spec.InitContainers[i].EnvFrom)
	}
	for i := range spec.Containers {
		add(spec.Containers[i].Env, spec.Containers[i].EnvFrom)
	}
	for i := range spec.EphemeralContainers {
		add(spec.EphemeralContainers[i].Env, spec.EphemeralContainers[i].EnvFrom)
	}
	return names
}

// ofVolume returns the Secrets of a volume.
func ofVolume(v *corev1.VolumeSource) []string {
	var names []string
	if v.Secret != nil {
		names = append(names, v.Secret.SecretName)
	}
	if v.AzureFile != nil {
		names = append(names, v.AzureFile.SecretName)
	}
	if v.Projected != nil {
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil {
				names = append(names, s.Name)
			}
		}
	}
	for _, ref := range references(v) {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// references returns the fields of a volume that refer to a Secret in the same
// way; those that are not there are nil.
func references(v *corev1.VolumeSource) []*corev1.LocalObjectReference {
	var refs []*corev1.LocalObjectReference
	if v.CephFS != nil {
		refs = append(refs, v.CephFS.SecretRef)
	}
	if v.Cinder != nil {
		refs = append(refs, v.Cinder.SecretRef)
	}
	if v.FlexVolume != nil {
		refs = append(refs, v.FlexVolume.SecretRef)
	}
	if v.RBD != nil {
		refs = append(refs, v.RBD.SecretRef)
	}
	if v.ScaleIO != nil {
		refs = append(refs, v.ScaleIO.SecretRef)
	}
	if v.ISCSI != nil {
		refs = append(refs, v.ISCSI.SecretRef)
	}
	if v.StorageOS != nil {
		refs = append(refs, v.StorageOS.SecretRef)
	}
	if v.CSI != nil {
		refs = append(refs, v.CSI.NodePublishSecretRef)
	}
	return refs
}
