package columns_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/columns"
)

// A change is something that happened to a container.
type change func(*corev1.ContainerStatus)

func container(name string, changes ...change) corev1.ContainerStatus {
	c := corev1.ContainerStatus{Name: name}
	for _, f := range changes {
		f(&c)
	}
	return c
}

func running(c *corev1.ContainerStatus) { c.State.Running = &corev1.ContainerStateRunning{} }
func ready(c *corev1.ContainerStatus)   { c.Ready = true }
func started(c *corev1.ContainerStatus) { c.Started = new(bool); *c.Started = true }

func waiting(reason string) change {
	return func(c *corev1.ContainerStatus) { c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason} }
}

func ended(reason string, exit, signal int32) change {
	return func(c *corev1.ContainerStatus) {
		c.State.Terminated = &corev1.ContainerStateTerminated{Reason: reason, ExitCode: exit, Signal: signal}
	}
}

func restarted(count int32, d time.Duration) change {
	return func(c *corev1.ContainerStatus) {
		c.RestartCount = count
		c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: ago(d)}
	}
}

// pod returns a running Pod with the init containers and containers that these
// are the states of. Those called "sidecar" are sidecars.
func pod(inits, containers []corev1.ContainerStatus, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: named("p")}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, InitContainerStatuses: inits, ContainerStatuses: containers}
	p.Spec.Containers = make([]corev1.Container, len(containers))
	for _, c := range inits {
		always := corev1.ContainerRestartPolicyAlways
		spec := corev1.Container{Name: c.Name}
		if c.Name == "sidecar" {
			spec.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, spec)
	}
	for _, f := range changes {
		f(p)
	}
	return p
}

func with(t corev1.PodConditionType, s corev1.ConditionStatus, reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: t, Status: s, Reason: reason})
	}
}

func phase(ph corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = ph }
}

func reason(r string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Reason = r }
}

func deleted(p *corev1.Pod) { t := ago(time.Second); p.DeletionTimestamp = &t }

// A podCase is a pod, and what its columns READY, STATUS and RESTARTS show.
type podCase struct {
	name string
	pod  *corev1.Pod
	want string
}

type statuses = []corev1.ContainerStatus

func testPods(t *testing.T, cases func() []podCase) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range cases() {
			got, err := columns.Pod().ConvertToTable(t.Context(), c.pod, nil)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			cells := got.Rows[0].Cells
			if have := fmt.Sprint(cells[1], " ", cells[2], " ", cells[3]); have != c.want {
				t.Errorf("%s: prints %q, want %q", c.name, have, c.want)
			}
		}
	})
}

func TestPodContainers(t *testing.T) {
	testPods(t, func() []podCase {
		up := container("up", running, ready)
		done := container("done", ended("Completed", 0, 0))
		uncounted := func(c *corev1.ContainerStatus) { c.RestartCount = 6 }
		return []podCase{
			{"all run", pod(nil, statuses{up, up}), "2/2 Running 0"},
			{"none yet", pod(nil, nil, phase(corev1.PodPending)), "0/0 Pending 0"},
			{"ready without running is not ready", pod(nil, statuses{container("a", running, ready, uncounted), container("b", ready)}), "1/2 Running 6"},
			{"last of two restarts", pod(nil, statuses{container("a", running, ready, restarted(6, 480*time.Hour)), container("b", running, ready, restarted(3, 120*time.Hour))}), "2/2 Running 9 (5d ago)"},
			{"one waits", pod(nil, statuses{up, container("b", waiting("CrashLoopBackOff"))}), "1/2 CrashLoopBackOff 0"},
			{"the first speaks", pod(nil, statuses{container("a", waiting("First")), container("b", ended("Second", 1, 0))}), "0/2 First 0"},
			{"ended without reason", pod(nil, statuses{container("a", ended("", 3, 0))}), "0/1 ExitCode:3 0"},
			{"ended by a signal", pod(nil, statuses{container("a", ended("", 137, 9))}), "0/1 Signal:9 0"},
			{"one done, not ready", pod(nil, statuses{done, up}), "1/2 NotReady 0"},
			{"one done, ready", pod(nil, statuses{done, up}, with(corev1.PodReady, corev1.ConditionTrue, "")), "1/2 Running 0"},
			{"one done, one failed", pod(nil, statuses{done, up, container("c", ended("Error", 1, 0))}), "1/3 Error 0"},
			{"all done", pod(nil, statuses{done, done}, phase(corev1.PodSucceeded)), "0/2 Completed 0"},
		}
	})
}

func TestPodReason(t *testing.T) {
	testPods(t, func() []podCase {
		up, a := statuses{container("up", running, ready)}, statuses{container("a")}
		return []podCase{
			{"of the status", pod(nil, a, phase(corev1.PodFailed), reason("Evicted")), "0/1 Evicted 0"},
			{"gated", pod(nil, a, phase(corev1.PodPending), reason("Other"), with(corev1.PodScheduled, corev1.ConditionFalse, corev1.PodReasonSchedulingGated)), "0/1 SchedulingGated 0"},
			{"node lost", pod(nil, up, reason("NodeLost")), "1/1 NodeLost 0"},
			{"node lost, deleted", pod(nil, up, reason("NodeLost"), deleted), "1/1 Unknown 0"},
			{"deleted", pod(nil, up, deleted), "1/1 Terminating 0"},
			{"failed, deleted", pod(nil, a, phase(corev1.PodFailed), deleted), "0/1 Failed 0"},
			{"succeeded, deleted", pod(nil, a, phase(corev1.PodSucceeded), deleted), "0/1 Succeeded 0"},
		}
	})
}

func TestPodInitContainers(t *testing.T) {
	testPods(t, func() []podCase {
		up, a := statuses{container("up", running, ready)}, statuses{container("a")}
		slow := container("i", running, restarted(1, time.Minute))
		sidecar := container("sidecar", running, ready, started, restarted(5, 30*time.Second))
		return []podCase{
			{"first of two runs", pod(statuses{container("i", running, restarted(3, 10*time.Second)), container("j", waiting(""))}, a), "0/1 Init:0/2 3 (10s ago)"},
			{"second of two runs", pod(statuses{container("i", ended("", 0, 0), restarted(2, 2*time.Minute)), container("j", running, restarted(3, 10*time.Second))}, a), "0/1 Init:1/2 5 (10s ago)"},
			{"failed", pod(statuses{container("i", ended("Error", 1, 0))}, a), "0/1 Init:Error 0"},
			{"failed without reason", pod(statuses{container("i", ended("", 2, 0))}, a), "0/1 Init:ExitCode:2 0"},
			{"failed by a signal", pod(statuses{container("i", ended("", 143, 15))}, a), "0/1 Init:Signal:15 0"},
			{"waits", pod(statuses{container("i", waiting("CrashLoopBackOff"))}, a), "0/1 Init:CrashLoopBackOff 0"},
			{"waits for the pod", pod(statuses{container("i", waiting("PodInitializing"))}, a), "0/1 Init:0/1 0"},
			{"done, its restarts forgotten", pod(statuses{container("i", ended("", 0, 0), restarted(2, time.Second))}, statuses{container("a", running, restarted(4, 20*time.Second))}), "0/1 Running 4 (20s ago)"},
			{"not done, containers unseen", pod(statuses{slow}, up, with(corev1.PodInitialized, corev1.ConditionFalse, "")), "0/1 Init:0/1 1 (60s ago)"},
			{"runs again, containers seen", pod(statuses{slow}, up, with(corev1.PodInitialized, corev1.ConditionTrue, "")), "1/1 Init:0/1 0"},
			{"sidecar counts", pod(statuses{sidecar}, up), "2/2 Running 5 (30s ago)"},
			{"sidecar lets others begin", pod(statuses{sidecar, container("i", running)}, a), "1/2 Init:1/2 5 (30s ago)"},
			{"sidecar has not started", pod(statuses{container("sidecar", running)}, a), "0/2 Init:0/1 0"},
			{"sidecar is not ready", pod(statuses{container("sidecar", running, started)}, up), "1/2 Running 0"},
		}
	})
}

func TestPodWide(t *testing.T) {
	testGolden(t, func() []golden {
		p := pod(nil, statuses{container("up", running, ready)}, with("a", corev1.ConditionTrue, ""), with("b", corev1.ConditionFalse, ""))
		p.Spec.NodeName, p.Status.NominatedNodeName = "n1", "n2"
		p.Status.PodIPs = []corev1.PodIP{{IP: "10.1.1.1"}, {IP: "fd00::1"}}
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "a"}, {ConditionType: "b"}, {ConditionType: "c"}}
		return []golden{{
			name: "Pod", table: columns.Pod(),
			obj: &corev1.PodList{Items: []corev1.Pod{*p, *pod(nil, nil, phase(corev1.PodPending))}},
			want: `
NAME | READY | STATUS | RESTARTS | AGE | [IP] | [NODE] | [NOMINATED NODE] | [READINESS GATES]
p | 1/1 | Running | 0 | 5m | [10.1.1.1] | [n1] | [n2] | [1/3]
p | 0/0 | Pending | 0 | 5m | [<none>] | [<none>] | [<none>] | [<none>]`,
		}}
	})
}

func TestPodConditions(t *testing.T) {
	done := func(reason, message string) []metav1.TableRowCondition {
		return []metav1.TableRowCondition{{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
	}
	tests := map[corev1.PodPhase][]metav1.TableRowCondition{
		corev1.PodSucceeded: done("Succeeded", "The pod has completed successfully."),
		corev1.PodFailed:    done("Failed", "The pod failed."),
		corev1.PodRunning:   nil,
		corev1.PodPending:   nil,
		corev1.PodUnknown:   nil,
	}
	for ph, want := range tests {
		got, err := columns.Pod().ConvertToTable(t.Context(), pod(nil, nil, phase(ph)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Rows[0].Conditions); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", ph, diff)
		}
	}
}
