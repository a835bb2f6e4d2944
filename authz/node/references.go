package node

import (
	"iter"

	corev1 "k8s.io/api/core/v1"
)

// References yields the objects in the namespace of a pod that the pod refers to,
// some of them more than once (k8s.io/kubernetes pkg/api/v1/pod/util.go and
// plugin/pkg/auth/authorizer/node/graph.go).
func References(pod *corev1.Pod) iter.Seq2[Kind, string] {
	return func(yield func(Kind, string) bool) {
		v := visitor{yield: yield}
		v.see(ServiceAccount, pod.Spec.ServiceAccountName)
		for _, ref := range pod.Spec.ImagePullSecrets {
			v.see(Secret, ref.Name)
		}
		for i := range pod.Spec.InitContainers {
			v.environment(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom)
		}
		for i := range pod.Spec.Containers {
			v.environment(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom)
		}
		for i := range pod.Spec.EphemeralContainers {
			v.environment(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom)
		}
		for i := range pod.Spec.Volumes {
			v.volume(pod, &pod.Spec.Volumes[i])
		}
		v.resourceClaims(pod)
	}
}

// A visitor yields references until it is told to stop.
type visitor struct {
	yield   func(Kind, string) bool
	stopped bool
}

func (v *visitor) see(kind Kind, name string) {
	if name != "" && !v.stopped {
		v.stopped = !v.yield(kind, name)
	}
}

func (v *visitor) environment(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range from {
		if ref := from[i].SecretRef; ref != nil {
			v.see(Secret, ref.Name)
		}
		if ref := from[i].ConfigMapRef; ref != nil {
			v.see(ConfigMap, ref.Name)
		}
	}
	for i := range env {
		source := env[i].ValueFrom
		if source == nil {
			continue
		}
		if ref := source.SecretKeyRef; ref != nil {
			v.see(Secret, ref.Name)
		}
		if ref := source.ConfigMapKeyRef; ref != nil {
			v.see(ConfigMap, ref.Name)
		}
	}
}

func (v *visitor) volume(pod *corev1.Pod, volume *corev1.Volume) {
	switch s := &volume.VolumeSource; {
	case s.Secret != nil:
		v.see(Secret, s.Secret.SecretName)
	case s.ConfigMap != nil:
		v.see(ConfigMap, s.ConfigMap.Name)
	case s.Projected != nil:
		for i := range s.Projected.Sources {
			if ref := s.Projected.Sources[i].Secret; ref != nil {
				v.see(Secret, ref.Name)
			}
			if ref := s.Projected.Sources[i].ConfigMap; ref != nil {
				v.see(ConfigMap, ref.Name)
			}
		}
	case s.PersistentVolumeClaim != nil:
		v.see(Claim, s.PersistentVolumeClaim.ClaimName)
	case s.Ephemeral != nil:
		v.see(Claim, pod.Name+"-"+volume.Name)
	case s.AzureFile != nil:
		v.see(Secret, s.AzureFile.SecretName)
	default:
		if ref := driverSecret(s); ref != nil {
			v.see(Secret, ref.Name)
		}
	}
}

// driverSecret returns what the driver of a volume logs in with, or nil.
func driverSecret(s *corev1.VolumeSource) *corev1.LocalObjectReference {
	switch {
	case s.CephFS != nil:
		return s.CephFS.SecretRef
	case s.Cinder != nil:
		return s.Cinder.SecretRef
	case s.FlexVolume != nil:
		return s.FlexVolume.SecretRef
	case s.RBD != nil:
		return s.RBD.SecretRef
	case s.ScaleIO != nil:
		return s.ScaleIO.SecretRef
	case s.ISCSI != nil:
		return s.ISCSI.SecretRef
	case s.StorageOS != nil:
		return s.StorageOS.SecretRef
	case s.CSI != nil:
		return s.CSI.NodePublishSecretRef
	}
	return nil
}

// resourceClaims sees the claims that the specification names, and those that
// were made for the pod, which the status names.
func (v *visitor) resourceClaims(pod *corev1.Pod) {
	for i := range pod.Spec.ResourceClaims {
		claim := &pod.Spec.ResourceClaims[i]
		switch {
		case claim.ResourceClaimName != nil:
			v.see(ResourceClaim, *claim.ResourceClaimName)
		case claim.ResourceClaimTemplateName != nil:
			for _, made := range pod.Status.ResourceClaimStatuses {
				if made.Name == claim.Name && made.ResourceClaimName != nil {
					v.see(ResourceClaim, *made.ResourceClaimName)
				}
			}
		}
	}
	if extended := pod.Status.ExtendedResourceClaimStatus; extended != nil {
		v.see(ResourceClaim, extended.ResourceClaimName)
	}
}
