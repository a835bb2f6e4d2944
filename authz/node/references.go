package node

import (
	"iter"

	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/internal/podrefs"
)

// References yields the objects in the namespace of a pod that the pod refers to,
// some of them more than once (k8s.io/kubernetes
// plugin/pkg/auth/authorizer/node/graph.go).
func References(pod *corev1.Pod) iter.Seq2[Kind, string] {
	return func(yield func(Kind, string) bool) {
		v := visitor{yield: yield}
		v.see(ServiceAccount, pod.Spec.ServiceAccountName)
		for name := range podrefs.Secrets(pod) {
			v.see(Secret, name)
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

// environment sees the ConfigMaps that variables are of.
func (v *visitor) environment(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range from {
		if ref := from[i].ConfigMapRef; ref != nil {
			v.see(ConfigMap, ref.Name)
		}
	}
	for i := range env {
		if source := env[i].ValueFrom; source != nil && source.ConfigMapKeyRef != nil {
			v.see(ConfigMap, source.ConfigMapKeyRef.Name)
		}
	}
}

// volume sees what a volume is of, but for Secrets.
func (v *visitor) volume(pod *corev1.Pod, volume *corev1.Volume) {
	switch s := &volume.VolumeSource; {
	case s.ConfigMap != nil:
		v.see(ConfigMap, s.ConfigMap.Name)
	case s.Projected != nil:
		for i := range s.Projected.Sources {
			if ref := s.Projected.Sources[i].ConfigMap; ref != nil {
				v.see(ConfigMap, ref.Name)
			}
		}
	case s.PersistentVolumeClaim != nil:
		v.see(Claim, s.PersistentVolumeClaim.ClaimName)
	case s.Ephemeral != nil:
		v.see(Claim, pod.Name+"-"+volume.Name)
	}
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
