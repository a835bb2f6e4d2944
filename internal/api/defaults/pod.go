package defaults

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Pod fills in what decides how a pod is run, its containers and its volumes,
// and the phase Pending.
//
// Left alone is what only a scheduler or a kubelet would read, and neither reads
// from here: resources, probes and host ports.
func Pod(pod *corev1.Pod) {
	set(&pod.Status.Phase, corev1.PodPending)
	spec := &pod.Spec
	account(spec)
	setPointer(&spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	set(&spec.DNSPolicy, corev1.DNSClusterFirst)
	set(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	setPointer(&spec.SecurityContext, corev1.PodSecurityContext{})
	setPointer(&spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	set(&spec.SchedulerName, corev1.DefaultSchedulerName)
	each(spec.Containers, container)
	each(spec.InitContainers, container)
	for i := range spec.EphemeralContainers {
		container((*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	each(spec.Volumes, volume)
}

// account keeps the two names of the service account equal. It matters who a
// pod runs as, and there must be one answer: serviceAccountName, if it is there.
func account(spec *corev1.PodSpec) {
	set(&spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
}

func container(c *corev1.Container) {
	set(&c.ImagePullPolicy, pullPolicy(c.Image))
	set(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	set(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
}

// pullPolicy is Always for an image that can change under its name: one with
// the tag latest, or with neither tag nor digest.
func pullPolicy(image string) corev1.PullPolicy {
	name, _, digested := strings.Cut(image, "@")
	// A colon before the last slash belongs to the port of the registry.
	_, tag, tagged := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	if tag == "latest" || (!tagged && !digested) {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func volume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.Secret != nil {
		setPointer(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if v.ConfigMap != nil {
		setPointer(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if v.DownwardAPI != nil {
		setPointer(&v.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		each(v.DownwardAPI.Items, downwardFile)
	}
	if v.HostPath != nil {
		setPointer(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Image != nil {
		set(&v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	}
	if v.Projected != nil {
		setPointer(&v.Projected.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
		each(v.Projected.Sources, projection)
	}
}

func projection(p *corev1.VolumeProjection) {
	if p.ServiceAccountToken != nil {
		setPointer(&p.ServiceAccountToken.ExpirationSeconds, tokenSeconds)
	}
	if p.DownwardAPI != nil {
		each(p.DownwardAPI.Items, downwardFile)
	}
}

func downwardFile(f *corev1.DownwardAPIVolumeFile) {
	if f.FieldRef != nil {
		set(&f.FieldRef.APIVersion, "v1")
	}
}
