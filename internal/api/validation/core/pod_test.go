package core_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"gatehouse.dev/gatehouse/internal/api/defaults"
	"gatehouse.dev/gatehouse/internal/api/validation/core"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

// pod returns the smallest good pod, with defaults, after change.
func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: namespaced, Spec: corev1.PodSpec{
		ServiceAccountName: "robot",
		Containers:         []corev1.Container{{Name: "c", Image: "i"}},
	}}
	defaults.Pod(p)
	change(p)
	return p
}

func projected(token corev1.ServiceAccountTokenProjection) []corev1.Volume {
	return []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &token}}}}}}
}

func TestPod(t *testing.T) {
	secret := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}
	for _, test := range []struct {
		name   string
		change func(*corev1.Pod)
		want   []string
	}{
		{name: "good", change: func(*corev1.Pod) {}},
		{name: "token", change: func(p *corev1.Pod) {
			p.Spec.Volumes = projected(corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(600))})
		}},
		{name: "mirror", change: func(p *corev1.Pod) {
			p.Spec.NodeName, p.Annotations = "n", map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		}},
		{name: "mirror of no node", change: func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		}, want: []string{`metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set`}},
		{name: "no containers", change: func(p *corev1.Pod) { p.Spec.Containers = nil },
			want: []string{`spec.containers: Required value`}},
		{name: "container without defaults", change: func(p *corev1.Pod) { p.Spec.Containers[0] = corev1.Container{} },
			want: []string{`spec.containers[0].name: Required value`, `spec.containers[0].image: Required value`,
				`spec.containers[0].terminationMessagePolicy: Required value`, `spec.containers[0].imagePullPolicy: Required value`}},
		{name: "name of a container twice", change: func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.Containers },
			want: []string{`spec.initContainers[0].name: Duplicate value: "c"`}},
		{name: "image with a space", change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = " i" },
			want: []string{`spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace`}},
		{name: "policies", change: func(p *corev1.Pod) { p.Spec.RestartPolicy, p.Spec.DNSPolicy = "Maybe", "" },
			want: []string{`spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"`, `spec.dnsPolicy: Required value`}},
		{name: "names", change: func(p *corev1.Pod) { p.Spec.ServiceAccountName, p.Spec.NodeName, p.Spec.Hostname = "A", "n_", "h.h" },
			want: []string{
				`spec.serviceAccountName: Invalid value: "A": ` + utilvalidation.IsDNS1123Subdomain("A")[0],
				`spec.nodeName: Invalid value: "n_": ` + utilvalidation.IsDNS1123Subdomain("n_")[0],
				`spec.hostname: Invalid value: "h.h": ` + utilvalidation.IsDNS1123Label("h.h")[0]}},
		{name: "deadline", change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(0)) },
			want: []string{`spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive`}},
		{name: "volume twice", change: func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: secret}, {Name: "v", VolumeSource: secret}}
		}, want: []string{`spec.volumes[1].name: Duplicate value: "v"`}},
		{name: "volume of nothing", change: func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v"}} },
			want: []string{`spec.volumes[0]: Required value: must specify a volume type`}},
		{name: "volume of two things", change: func(p *corev1.Pod) {
			v := corev1.Volume{Name: "v", VolumeSource: secret}
			v.ConfigMap = &corev1.ConfigMapVolumeSource{}
			p.Spec.Volumes = []corev1.Volume{v}
		}, want: []string{`spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type`}},
		{name: "short token", change: func(p *corev1.Pod) {
			p.Spec.Volumes = projected(corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(599))})
		}, want: []string{`spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes`}},
		{name: "eternal token", change: func(p *corev1.Pod) {
			p.Spec.Volumes = projected(corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(1<<32 + 1))})
		}, want: []string{`spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds`}},
		{name: "token outside", change: func(p *corev1.Pod) {
			p.Spec.Volumes = projected(corev1.ServiceAccountTokenProjection{Path: "a/../../etc", ExpirationSeconds: new(int64(600))})
		}, want: []string{`spec.volumes[0].projected.path: Invalid value: "a/../../etc": must not contain '..'`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			validationtest.Check(t, core.ValidatePod(pod(test.change)), test.want...)
		})
	}
}

func TestPodUpdate(t *testing.T) {
	const others = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
		"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
		"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\nchanged: "
	old := func(p *corev1.Pod) {
		p.Spec.ActiveDeadlineSeconds = new(int64(10))
		p.Spec.Tolerations = []corev1.Toleration{{Key: "k", Operator: "Exists"}}
	}
	gated := func(p *corev1.Pod) {
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}}
		p.Spec.NodeSelector = map[string]string{"a": "b"}
	}
	for _, test := range []struct {
		name        string
		old, change func(*corev1.Pod)
		want        []string
	}{
		{name: "image", old: old, change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" }},
		{name: "earlier", old: old, change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(5)) }},
		{name: "tolerate more, and longer", old: old, change: func(p *corev1.Pod) {
			p.Spec.Tolerations[0].TolerationSeconds = new(int64(5))
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: "Exists"})
		}},
		{name: "open the gate", old: gated, change: func(p *corev1.Pod) { p.Spec.SchedulingGates = nil }},
		{name: "narrow at the gate", old: gated, change: func(p *corev1.Pod) { p.Spec.NodeSelector["c"] = "d" }},
		{name: "negative grace", old: func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(-1)) },
			change: func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(1)) }},
		{name: "become another", old: old, change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "admin" },
			want: []string{others + "spec.serviceAccountName"}},
		{name: "move and mount", old: old, change: func(p *corev1.Pod) {
			p.Spec.NodeName = "n"
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}}}
		}, want: []string{others + "spec.volumes, spec.nodeName"}},
		{name: "environment", old: old, change: func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}
		}, want: []string{others + "spec.containers"}},
		{name: "grow", old: old, change: func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, p.Spec.Containers[0])
			p.Spec.InitContainers[0].Name = "d"
		}, want: []string{`spec.initContainers: Forbidden: pod updates may not add or remove containers`}},
		{name: "later", old: old, change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(11)) },
			want: []string{`spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value`}},
		{name: "never", old: old, change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = nil },
			want: []string{`spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value`}},
		{name: "tolerate less", old: old, change: func(p *corev1.Pod) { p.Spec.Tolerations = nil },
			want: []string{`spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds`}},
		{name: "build a gate", old: old, change: gated, want: []string{
			`spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'`, others + "spec.nodeSelector"}},
		{name: "turn at the gate", old: gated, change: func(p *corev1.Pod) { p.Spec.NodeSelector["a"] = "c" },
			want: []string{`spec.nodeSelector: Invalid value: {"a":"c"}: field is immutable`}},
		{name: "mirror", old: func(p *corev1.Pod) { p.Spec.NodeName = "n" },
			change: func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} },
			want:   []string{`metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := pod(test.old)
			after := before.DeepCopy()
			test.change(after)
			validationtest.Check(t, core.ValidatePodUpdate(after, before), test.want...)
		})
	}
}

func TestPodStatusUpdate(t *testing.T) {
	ended := func(code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	}
	always := corev1.ContainerRestartPolicyAlways
	const alive = `status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state`
	for _, test := range []struct {
		name   string
		policy corev1.RestartPolicy
		code   int32
		change func(*corev1.Pod)
		want   []string
	}{
		{name: "restart", policy: "Always", change: func(*corev1.Pod) {}},
		{name: "restart after failure", policy: "OnFailure", code: 1, change: func(*corev1.Pod) {}},
		{name: "restart after success", policy: "OnFailure", change: func(*corev1.Pod) {}, want: []string{alive}},
		{name: "restart never", policy: "Never", code: 1, change: func(*corev1.Pod) {}, want: []string{alive}},
		{name: "move", policy: "Always", change: func(p *corev1.Pod) { p.Spec.NodeName = "n" },
			want: []string{`status.nodeName: Forbidden: may not be changed directly`}},
		{name: "nominate", policy: "Always", change: func(p *corev1.Pod) { p.Status.NominatedNodeName = "N" },
			want: []string{`status.nominatedNodeName: Invalid value: "N": ` + utilvalidation.IsDNS1123Subdomain("N")[0]}},
		{name: "condition", policy: "Always", change: func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: "Ready"}, {Type: "a b"}}
		}, want: []string{`metadata.conditions[1].Condition: Invalid value: "a b": ` + utilvalidation.IsQualifiedName("a b")[0]}},
		{name: "no version", policy: "Always", change: func(p *corev1.Pod) { p.ObjectMeta = metav1.ObjectMeta{Name: "a", Namespace: "b"} },
			want: []string{`metadata.resourceVersion: Invalid value: "": must be specified for an update`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := pod(func(p *corev1.Pod) {
				p.Spec.RestartPolicy = test.policy
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: ended(test.code)}}
			})
			updated := old.DeepCopy()
			updated.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
			test.change(updated)
			validationtest.Check(t, core.ValidatePodStatusUpdate(updated, old), test.want...)

			// A policy of the container's own goes before that of the pod.
			if len(test.want) == 1 && test.want[0] == alive {
				old.Spec.Containers[0].RestartPolicy = &always
				validationtest.Check(t, core.ValidatePodStatusUpdate(updated, old))
			}
		})
	}
}
