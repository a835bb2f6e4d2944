package columns

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Reasons with a meaning of their own in the STATUS column.
const (
	reasonCompleted    = "Completed"
	reasonInitializing = "PodInitializing"
	// reasonNodeLost is set on the pods of a node that answers no more
	// (pkg/util/node, NodeUnreachablePodReason).
	reasonNodeLost = "NodeLost"
)

// Pod returns the Table of Pods. A row says by a condition that its pod is
// done, so that a client can leave it out.
func Pod() *Table {
	spec, status := corev1.PodSpec{}.SwaggerDoc(), corev1.PodStatus{}.SwaggerDoc()
	t := New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
		column("Status", "The aggregate status of the containers in this pod."),
		column("Restarts", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		ageColumn(),
		wideColumn("IP", status["podIP"]),
		wideColumn("Node", spec["nodeName"]),
		wideColumn("Nominated Node", status["nominatedNodeName"]),
		wideColumn("Readiness Gates", spec["readinessGates"]),
	}, podCells)
	t.conditions = podDone
	return t
}

func podCells(p *corev1.Pod, now time.Time) []any {
	s := summarize(p)
	ip := ""
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	}
	return []any{
		p.Name,
		fmt.Sprintf("%d/%d", s.ready, s.total),
		s.reason,
		s.restarts.text(now),
		age(p.CreationTimestamp.Time, now),
		or(ip, none),
		or(p.Spec.NodeName, none),
		or(p.Status.NominatedNodeName, none),
		readinessGates(p),
	}
}

func podDone(obj runtime.Object) []metav1.TableRowCondition {
	message := ""
	p, ok := obj.(*corev1.Pod)
	switch {
	case ok && p.Status.Phase == corev1.PodSucceeded:
		message = "The pod has completed successfully."
	case ok && p.Status.Phase == corev1.PodFailed:
		message = "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{{
		Type:    metav1.RowCompleted,
		Status:  metav1.ConditionTrue,
		Reason:  string(p.Status.Phase),
		Message: message,
	}}
}

// restarts counts how often containers were started again, and remembers when
// the last of them had ended.
type restarts struct {
	count int
	last  time.Time
}

func (r *restarts) add(c corev1.ContainerStatus) {
	r.count += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && t.FinishedAt.After(r.last) {
		r.last = t.FinishedAt.Time
	}
}

func (r *restarts) text(now time.Time) string {
	if r.count == 0 || r.last.IsZero() {
		return strconv.Itoa(r.count)
	}
	return fmt.Sprintf("%d (%s ago)", r.count, age(r.last, now))
}

// A summary is what the containers of a pod amount to.
type summary struct {
	ready, total int
	reason       string
	restarts     restarts
}

// summarize goes through the life of p: its phase, then its init containers,
// then, if those let it, its containers, then its end. What comes later knows
// better.
func summarize(p *corev1.Pod) summary {
	s := summary{reason: phaseReason(p), total: len(p.Spec.Containers)}
	sidecars := sidecarNames(p)
	for _, c := range p.Spec.InitContainers {
		if isSidecar(c) {
			s.total++
		}
	}
	blocked, ofSidecars := s.initContainers(p, sidecars)
	if !blocked || hasCondition(p, corev1.PodInitialized) {
		// Init containers are done with: only sidecars still count.
		s.restarts = ofSidecars
		s.containers(p)
	}
	if p.DeletionTimestamp != nil {
		switch {
		case p.Status.Reason == reasonNodeLost:
			s.reason = "Unknown"
		case p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded:
			s.reason = "Terminating"
		}
	}
	return s
}

// phaseReason returns what the pod as a whole has to say.
func phaseReason(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			return c.Reason
		}
	}
	return or(p.Status.Reason, string(p.Status.Phase))
}

// initContainers adds the init containers up to the first one that holds up the
// others, and says whether there is one. It counts the restarts of sidecars a
// second time, by themselves.
func (s *summary) initContainers(p *corev1.Pod, sidecars map[string]bool) (blocked bool, ofSidecars restarts) {
	for i, c := range p.Status.InitContainerStatuses {
		s.restarts.add(c)
		if sidecars[c.Name] {
			ofSidecars.add(c)
		}
		if t := c.State.Terminated; t != nil && t.ExitCode == 0 {
			continue
		}
		if sidecars[c.Name] && c.Started != nil && *c.Started {
			if c.Ready {
				s.ready++
			}
			continue
		}
		s.reason = "Init:" + initReason(c.State, i, len(p.Spec.InitContainers))
		return true, ofSidecars
	}
	return false, ofSidecars
}

// initReason says why the i-th of n init containers is not done.
func initReason(state corev1.ContainerState, i, n int) string {
	switch w := state.Waiting; {
	case state.Terminated != nil:
		return endReason(state.Terminated)
	case w != nil && w.Reason != "" && w.Reason != reasonInitializing:
		return w.Reason
	}
	return fmt.Sprintf("%d/%d", i, n)
}

// containers adds the containers. The first of them that waits or has ended
// gives the reason.
func (s *summary) containers(p *corev1.Pod) {
	running, found, failure := false, "", ""
	for _, c := range p.Status.ContainerStatuses {
		s.restarts.add(c)
		reason := ""
		switch w, t := c.State.Waiting, c.State.Terminated; {
		case w != nil && w.Reason != "":
			reason = w.Reason
		case t != nil:
			reason = endReason(t)
			if t.ExitCode != 0 {
				failure = or(failure, reason)
			}
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
		found = or(found, reason)
	}
	s.reason = or(found, s.reason)
	if s.reason != reasonCompleted {
		return
	}
	// One container is done, but that is not yet true of the pod.
	switch {
	case running && hasCondition(p, corev1.PodReady):
		s.reason = "Running"
	case failure != "":
		s.reason = failure
	case running:
		s.reason = "NotReady"
	}
}

// endReason says why a container ended.
func endReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

// isSidecar says whether an init container goes on running beside the
// containers, and so counts as one of them (KEP-753).
func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func sidecarNames(p *corev1.Pod) map[string]bool {
	names := map[string]bool{}
	for _, c := range p.Spec.InitContainers {
		names[c.Name] = isSidecar(c)
	}
	return names
}

// hasCondition says whether the first condition of the type is true.
func hasCondition(p *corev1.Pod, of corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == of {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// readinessGates returns how many of the gates of p are open.
func readinessGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return none
	}
	open := 0
	for _, g := range p.Spec.ReadinessGates {
		if hasCondition(p, g.ConditionType) {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(p.Spec.ReadinessGates))
}
