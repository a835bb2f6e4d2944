package columns_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/columns"
)

func TestEvent(t *testing.T) {
	micro := func(d time.Duration) metav1.MicroTime { return metav1.NewMicroTime(ago(d).Time) }
	testGolden(t, func() []golden {
		pod := corev1.ObjectReference{Kind: "Pod", Name: "web-0", FieldPath: "spec.containers{web}"}
		node := corev1.ObjectReference{Kind: "Node"}
		return []golden{{
			name: "Event", table: columns.Event(),
			obj: &corev1.EventList{Items: []corev1.Event{{
				ObjectMeta: named("counted"), Type: "Warning", Reason: "BackOff", InvolvedObject: pod, Message: " restarting\n",
				Source:         corev1.EventSource{Component: "kubelet", Host: "n1"},
				FirstTimestamp: ago(3 * time.Hour), LastTimestamp: ago(20 * time.Second), Count: 9,
			}, {
				ObjectMeta: named("new"), Type: "Normal", Reason: "Started", InvolvedObject: node, Message: "up",
				EventTime: micro(time.Minute), ReportingController: "kubelet", ReportingInstance: "n2",
			}, {
				ObjectMeta: named("series"), InvolvedObject: node, ReportingController: "kubelet", EventTime: micro(time.Hour),
				Series: &corev1.EventSeries{Count: 4, LastObservedTime: micro(7 * time.Second)},
			}, {
				ObjectMeta: named("empty"),
			}}},
			want: `
LAST SEEN | TYPE | REASON | OBJECT | [SUBOBJECT] | [SOURCE] | MESSAGE | [FIRST SEEN] | [COUNT] | [NAME]
20s | Warning | BackOff | pod/web-0 | [spec.containers{web}] | [kubelet, n1] | restarting | [3h] | [9] | [counted]
60s | Normal | Started | node | [] | [kubelet, n2] | up | [60s] | [1] | [new]
7s |  |  | node | [] | [kubelet] |  | [60m] | [4] | [series]
<unknown> |  |  |  | [] | [] |  | [<unknown>] | [1] | [empty]`,
		}, {
			name: "events.k8s.io Event", table: columns.EventsEvent(),
			obj: &eventsv1.EventList{Items: []eventsv1.Event{{
				ObjectMeta: named("counted"), Type: "Warning", Reason: "BackOff", Regarding: pod, Note: "restarting",
				DeprecatedSource:         corev1.EventSource{Component: "kubelet", Host: "n1"},
				DeprecatedFirstTimestamp: ago(3 * time.Hour), DeprecatedLastTimestamp: ago(20 * time.Second), DeprecatedCount: 9,
			}, {
				ObjectMeta: named("series"), Regarding: node, ReportingController: "kubelet", ReportingInstance: "n2", EventTime: micro(time.Hour),
				Series: &eventsv1.EventSeries{Count: 4, LastObservedTime: micro(7 * time.Second)},
			}}},
			want: `
LAST SEEN | TYPE | REASON | OBJECT | [SUBOBJECT] | [SOURCE] | MESSAGE | [FIRST SEEN] | [COUNT] | [NAME]
20s | Warning | BackOff | pod/web-0 | [spec.containers{web}] | [kubelet, n1] | restarting | [3h] | [9] | [counted]
7s |  |  | node | [] | [kubelet, n2] |  | [60m] | [4] | [series]`,
		}}
	})
}
