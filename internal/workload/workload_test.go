package workload_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/defaults"
	"gatehouse.dev/gatehouse/internal/api/validation/coordination"
	"gatehouse.dev/gatehouse/internal/api/validation/core"
	"gatehouse.dev/gatehouse/internal/workload"
)

func process() *corev1.Pod {
	pod := workload.Process{
		Namespace: "ns", Name: "job-x", ServiceAccount: "app", Host: "h", ID: "1", Command: "job",
	}.Pod()
	pod.UID = "u"
	return pod
}

// The server takes what is made here: the Pod, its status, and the Lease.
func TestValid(t *testing.T) {
	pod := process()
	defaults.Pod(pod)
	for _, err := range core.ValidatePod(pod) {
		t.Errorf("Pod: %v", err)
	}
	running := pod.DeepCopy()
	running.ResourceVersion, pod.ResourceVersion = "1", "1"
	running.Status = workload.Running(metav1.Now())
	for _, err := range core.ValidatePodStatusUpdate(running, pod) {
		t.Errorf("status: %v", err)
	}
	for _, err := range coordination.ValidateLease(workload.Lease(pod, time.Now())) {
		t.Errorf("Lease: %v", err)
	}
}

func TestKeeps(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*coordinationv1.Lease)
		want   bool
	}{
		{"its own", func(*coordinationv1.Lease) {}, true},
		{"without a label", func(l *coordinationv1.Lease) { l.Labels = nil }, false},
		{"without an owner", func(l *coordinationv1.Lease) { l.OwnerReferences = nil }, false},
		{"of the Pod before", func(l *coordinationv1.Lease) { l.OwnerReferences[0].UID = "v" }, false},
		{"of another Pod", func(l *coordinationv1.Lease) { l.OwnerReferences[0].Name = "job-y" }, false},
		{"of another kind", func(l *coordinationv1.Lease) { l.OwnerReferences[0].Kind = "Node" }, false},
	} {
		pod := process()
		lease := workload.Lease(pod, time.Now())
		tt.change(lease)
		if got := workload.Keeps(lease, pod); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestIsPod(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*corev1.Pod)
		want   bool
	}{
		{"its own", func(*corev1.Pod) {}, true},
		{"without a label", func(p *corev1.Pod) { p.Labels = nil }, false},
		{"of another value", func(p *corev1.Pod) { p.Labels[workload.Label] = "x" }, false},
		{"on a node", func(p *corev1.Pod) { p.Spec.NodeName = "n" }, false},
	} {
		pod := process()
		tt.change(pod)
		if got := workload.IsPod(pod); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
