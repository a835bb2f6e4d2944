// Package workload says what a process is to the API that `gatehouse run` has
// started outside of any cluster: a Pod that stands for it, so that tokens can be
// bound to it, and a Lease that says that it lives.
//
// The one idea is that the Pod is the identity's end. The token of the process is
// bound to the Pod; the Pod goes when the process does, or when nobody has
// renewed its Lease for [Lifetime], and the token is dead in that moment.
//
// It refuses to be mistaken for a Pod that a kubelet runs: no scheduler knows the
// name in it, a gate keeps it off every node, and [IsPod] passes over a Pod that
// is on one.
package workload

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Label is on the Pods of processes and on their Leases, with Value.
	Label = "gatehouse.dev/workload"
	Value = "run"

	// HostAnnotation, ProcessAnnotation and CommandAnnotation tell people which
	// process it is: its machine, the ID of the `gatehouse run` that keeps it, and
	// the program, without its arguments, which may hold secrets.
	HostAnnotation    = "gatehouse.dev/host"
	ProcessAnnotation = "gatehouse.dev/pid"
	CommandAnnotation = "gatehouse.dev/command"

	// scheduler is nobody, and the gate is never opened.
	scheduler = "gatehouse-run"
	gate      = "gatehouse.dev/run"
	// container is the name of the only container, and image what it would be.
	container = "process"
	image     = "gatehouse.dev/run"
)

const (
	// Heartbeat is how often a Lease is renewed, and Lifetime how long one lasts
	// that is not.
	Heartbeat = 10 * time.Second
	Lifetime  = 30 * time.Second
)

// A Process is what is to be known of one.
type Process struct {
	Namespace, Name, ServiceAccount string
	// Host, ID and Command go into the annotations.
	Host, ID, Command string
}

// Pod returns the Pod of p, as it is created.
func (p Process) Pod() *corev1.Pod {
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: p.Name,
			Labels: map[string]string{Label: Value},
			Annotations: map[string]string{
				HostAnnotation: p.Host, ProcessAnnotation: p.ID, CommandAnnotation: p.Command,
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: p.ServiceAccount,
			// No kubelet mounts anything; the token is handed to the process.
			AutomountServiceAccountToken: &no,
			SchedulerName:                scheduler,
			SchedulingGates:              []corev1.PodSchedulingGate{{Name: gate}},
			RestartPolicy:                corev1.RestartPolicyNever,
			Containers:                   []corev1.Container{{Name: container, Image: image}},
		},
	}
}

// Running is the status of the Pod of a process that has begun.
func Running(since metav1.Time) corev1.PodStatus {
	yes := true
	return corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &since,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: since}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: container, Image: image, Ready: true, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}},
		}},
	}
}

// Lease returns the Lease of a Pod, as renewed now.
func Lease(pod *corev1.Pod, now time.Time) *coordinationv1.Lease {
	seconds := int32(Lifetime / time.Second)
	holder, renewed := string(pod.UID), metav1.NewMicroTime(now)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name,
			Labels: map[string]string{Label: Value},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
			}},
		},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: &seconds,
			AcquireTime: &renewed, RenewTime: &renewed,
		},
	}
}

// IsPod reports whether a Pod stands for such a process. One that is on a node
// is a kubelet's, whatever its labels say.
func IsPod(pod *corev1.Pod) bool {
	return pod.Labels[Label] == Value && pod.Spec.NodeName == ""
}

// IsLease reports whether a Lease is that of such a process.
func IsLease(lease *coordinationv1.Lease) bool { return lease.Labels[Label] == Value }

// Keeps reports whether the Lease is the one that keeps the Pod: that of a Pod of
// the same name before it does not.
func Keeps(lease *coordinationv1.Lease, pod *corev1.Pod) bool {
	for _, owner := range lease.OwnerReferences {
		if owner.Kind == "Pod" && owner.Name == pod.Name && owner.UID == pod.UID {
			return IsLease(lease)
		}
	}
	return false
}
