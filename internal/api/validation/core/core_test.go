package core_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"gatehouse.dev/gatehouse/internal/api/validation/core"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

var (
	global     = metav1.ObjectMeta{Name: "a", ResourceVersion: "1"}
	namespaced = metav1.ObjectMeta{Name: "a", Namespace: "b", ResourceVersion: "1"}
)

func TestNamespace(t *testing.T) {
	const short = `: Invalid value: "hold": name is neither a standard finalizer name nor is it fully qualified`
	good := &corev1.Namespace{ObjectMeta: global, Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes", "example.com/x"}}}
	validationtest.Check(t, core.ValidateNamespace(good))
	validationtest.Check(t, core.ValidateNamespaceUpdate(good, good))
	validationtest.Check(t, core.ValidateNamespaceFinalizeUpdate(good, good))

	bad := good.DeepCopy()
	bad.Spec.Finalizers[1] = "hold"
	validationtest.Check(t, core.ValidateNamespace(bad), "spec.finalizers"+short)
	validationtest.Check(t, core.ValidateNamespaceFinalizeUpdate(bad, good), "spec.finalizers[1]"+short)

	bad = good.DeepCopy()
	bad.Name = "a.b"
	dots := utilvalidation.IsDNS1123Label("a.b")[0]
	validationtest.Check(t, core.ValidateNamespace(bad), `metadata.name: Invalid value: "a.b": `+dots)
}

func TestNamespaceStatus(t *testing.T) {
	const active = "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
	const terminating = "status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty"
	for _, test := range []struct {
		deleted bool
		phase   corev1.NamespacePhase
		want    []string
	}{
		{false, "Active", nil},
		{true, "Terminating", nil},
		{false, "Terminating", []string{active}},
		{true, "Active", []string{terminating}},
	} {
		namespace := &corev1.Namespace{ObjectMeta: global, Status: corev1.NamespaceStatus{Phase: test.phase}}
		if test.deleted {
			namespace.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
		validationtest.Check(t, core.ValidateNamespaceStatusUpdate(namespace, namespace), test.want...)
	}
}

func TestServiceAccount(t *testing.T) {
	good := &corev1.ServiceAccount{ObjectMeta: namespaced}
	validationtest.Check(t, core.ValidateServiceAccount(good))
	validationtest.Check(t, core.ValidateServiceAccountUpdate(good, good))

	bad := good.DeepCopy()
	bad.Name = "A"
	rule := `metadata.name: Invalid value: "A": ` + utilvalidation.IsDNS1123Subdomain("A")[0]
	validationtest.Check(t, core.ValidateServiceAccount(bad), rule)
	validationtest.Check(t, core.ValidateServiceAccountUpdate(bad, good), rule, `metadata.name: Invalid value: "A": field is immutable`)
}

func TestNode(t *testing.T) {
	taint := corev1.Taint{Key: "k", Value: "v", Effect: corev1.TaintEffectNoExecute}
	for _, test := range []struct {
		name   string
		spec   corev1.NodeSpec
		status corev1.NodeStatus
		want   []string
	}{
		{name: "empty"},
		{name: "dual stack", spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24", "fd00::/64"}}},
		{name: "taint", spec: corev1.NodeSpec{Taints: []corev1.Taint{taint}}},
		{name: "no CIDR", spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0"}},
			want: []string{`spec.podCIDRs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`}},
		{name: "one family", spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24", "10.0.1.0/24"}},
			want: []string{`spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one CIDR for each IP family`}},
		{name: "taint without effect", spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "k"}}},
			want: []string{`metadata.taints[0].effect: Required value`}},
		{name: "unknown effect", spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "k", Effect: "Smell"}}},
			want: []string{`metadata.taints[0].effect: Unsupported value: "Smell": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`}},
		{name: "taint twice", spec: corev1.NodeSpec{Taints: []corev1.Taint{taint, {Key: "k", Effect: taint.Effect}}},
			want: []string{`metadata.taints[1]: Duplicate value: {"key":"k","effect":"NoExecute"}: taints must be unique by key and effect pair`}},
		{name: "owing memory", status: corev1.NodeStatus{Capacity: corev1.ResourceList{"memory": resource.MustParse("-1")}},
			want: []string{`status.capacity.memory: Invalid value: "-1": must be greater than or equal to 0`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: global, Spec: test.spec, Status: test.status}
			validationtest.Check(t, core.ValidateNode(node), test.want...)
		})
	}
}

func TestNodeUpdate(t *testing.T) {
	fresh := &corev1.Node{ObjectMeta: global}
	settled := &corev1.Node{ObjectMeta: global, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}, ProviderID: "aws://1"}}
	address := corev1.NodeAddress{Type: "InternalIP", Address: "10.0.0.1"}
	for _, test := range []struct {
		name   string
		old    *corev1.Node
		change func(*corev1.Node)
		want   []string
	}{
		{name: "settle", old: fresh, change: func(n *corev1.Node) { n.Spec = settled.Spec }},
		{name: "cordon", old: settled, change: func(n *corev1.Node) { n.Spec.Unschedulable = true }},
		{name: "move", old: settled, change: func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.0.1.0/24"} },
			want: []string{`spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`}},
		{name: "forget", old: settled, change: func(n *corev1.Node) { n.Spec.ProviderID = "" },
			want: []string{`spec.providerID: Forbidden: node updates may not change providerID except from "" to valid`}},
		{name: "external ID", old: fresh, change: func(n *corev1.Node) { n.Spec.DoNotUseExternalID = "x" },
			want: []string{`spec.externalID: Forbidden: may not be updated`}},
		{name: "address twice", old: fresh, change: func(n *corev1.Node) { n.Status.Addresses = []corev1.NodeAddress{address, address} },
			want: []string{`status.addresses[1]: Duplicate value: {"type":"InternalIP","address":"10.0.0.1"}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := test.old.DeepCopy()
			test.change(node)
			validationtest.Check(t, core.ValidateNodeUpdate(node, test.old), test.want...)
		})
	}
}

// strictEvent is right for both groups.
func strictEvent() *corev1.Event {
	return &corev1.Event{
		ObjectMeta:          namespaced,
		InvolvedObject:      corev1.ObjectReference{Kind: "Pod", Namespace: "b", Name: "p"},
		EventTime:           metav1.MicroTime{Time: time.Unix(1, 1500)},
		ReportingController: "example.com/c", ReportingInstance: "c-1",
		Action: "Kill", Reason: "Tired", Type: corev1.EventTypeNormal,
	}
}

func TestEventCreate(t *testing.T) {
	legacy := &corev1.Event{ObjectMeta: namespaced, InvolvedObject: corev1.ObjectReference{Namespace: "b"}}
	const strange = `involvedObject.namespace: Invalid value: "b": does not match event.namespace`
	const homeless = `involvedObject.namespace: Invalid value: "": does not match event.namespace`
	for _, test := range []struct {
		name         string
		event        *corev1.Event
		change       func(*corev1.Event)
		core, events []string
	}{
		{name: "strict", event: strictEvent(), change: func(*corev1.Event) {}},
		{name: "legacy", event: legacy, change: func(*corev1.Event) {}, events: []string{
			`eventTime: Required value`, `type: Invalid value: "": has invalid value: `}},
		{name: "about a node", event: legacy, change: func(e *corev1.Event) {
			e.Namespace, e.InvolvedObject.Namespace, e.EventTime, e.Type = "default", "", metav1.MicroTime{}, "Normal"
		}, events: []string{`eventTime: Required value`}},
		{name: "about another namespace", event: legacy, change: func(e *corev1.Event) { e.Namespace, e.Type = "c", "Normal" },
			core: []string{strange}, events: []string{strange, `eventTime: Required value`}},
		{name: "homeless", event: strictEvent(), change: func(e *corev1.Event) { e.InvolvedObject.Namespace = "" },
			core: []string{homeless}, events: []string{homeless}},
		{name: "nobody reports", event: strictEvent(), change: func(e *corev1.Event) { e.ReportingInstance, e.Action = "", strings.Repeat("a", 129) },
			core:   []string{`reportingInstance: Required value`, `action: Invalid value: "": can have at most 128 characters`},
			events: []string{`reportingInstance: Required value`, `action: Invalid value: "": can have at most 128 characters`}},
		{name: "long note", event: strictEvent(), change: func(e *corev1.Event) { e.Message = strings.Repeat("a", 1025) },
			core:   []string{`message: Invalid value: "": can have at most 1024 characters`},
			events: []string{`message: Invalid value: "": can have at most 1024 characters`}},
		{name: "counted", event: strictEvent(), change: func(e *corev1.Event) { e.Count = 2 },
			events: []string{`count: Invalid value: "": needs to be unset`}},
		{name: "series of one", event: strictEvent(), change: func(e *corev1.Event) { e.Series = &corev1.EventSeries{Count: 1} },
			events: []string{`series.count: Invalid value: "": should be at least 2`, `series.lastObservedTime: Required value`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := test.event.DeepCopy()
			test.change(event)
			validationtest.Check(t, core.ValidateEventCreate(event, corev1.SchemeGroupVersion), test.core...)
			validationtest.Check(t, core.ValidateEventCreate(event, eventsv1.SchemeGroupVersion), test.events...)
		})
	}

	// The two groups have different names for one field.
	event := strictEvent()
	event.ReportingController = ""
	for version, name := range map[schema.GroupVersion]string{
		corev1.SchemeGroupVersion: "reportingComponent", eventsv1.SchemeGroupVersion: "reportingController",
	} {
		errs := core.ValidateEventCreate(event, version)
		if len(errs) == 0 || errs[0].Field != name {
			t.Errorf("%v: %v, want an error at %s", version, errs, name)
		}
	}
}

func TestEventUpdate(t *testing.T) {
	old := strictEvent()
	for _, test := range []struct {
		name   string
		change func(*corev1.Event)
		events []string
	}{
		{name: "same", change: func(*corev1.Event) {}},
		{name: "series", change: func(e *corev1.Event) {
			e.Series = &corev1.EventSeries{Count: 2, LastObservedTime: e.EventTime}
		}},
		{name: "microseconds", change: func(e *corev1.Event) { e.EventTime.Time = time.Unix(1, 1000) }},
		{name: "message", change: func(e *corev1.Event) { e.Message = "x" },
			events: []string{`message: Invalid value: "x": field is immutable`}},
		{name: "count", change: func(e *corev1.Event) { e.Count = 2 },
			events: []string{`count: Invalid value: 2: field is immutable`}},
		{name: "time", change: func(e *corev1.Event) { e.EventTime.Time = time.Unix(2, 0).UTC() },
			events: []string{`eventTime: Invalid value: "1970-01-01T00:00:02.000000Z": field is immutable`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := old.DeepCopy()
			test.change(event)
			validationtest.Check(t, core.ValidateEventUpdate(event, old, corev1.SchemeGroupVersion))
			validationtest.Check(t, core.ValidateEventUpdate(event, old, eventsv1.SchemeGroupVersion), test.events...)
		})
	}
}
