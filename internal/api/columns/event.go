package columns

import (
	"cmp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Event returns the Table of Events of the core group.
func Event() *Table {
	return New(eventColumns(), eventCells)
}

// EventsEvent returns the Table of Events of the group events.k8s.io. They are
// the same objects under other names, and have the same Table.
func EventsEvent() *Table {
	return New(eventColumns(), func(e *eventsv1.Event, now time.Time) []any {
		return eventCells(coreEvent(e), now)
	})
}

func eventColumns() []metav1.TableColumnDefinition {
	doc := corev1.Event{}.SwaggerDoc()
	name := nameColumn()
	name.Priority = 1
	return []metav1.TableColumnDefinition{
		column("Last Seen", doc["lastTimestamp"]),
		column("Type", doc["type"]),
		column("Reason", doc["reason"]),
		column("Object", doc["involvedObject"]),
		wideColumn("Subobject", corev1.ObjectReference{}.SwaggerDoc()["fieldPath"]),
		wideColumn("Source", doc["source"]),
		column("Message", doc["message"]),
		wideColumn("First Seen", doc["firstTimestamp"]),
		wideColumn("Count", doc["count"]),
		name,
	}
}

func eventCells(e *corev1.Event, now time.Time) []any {
	// An event is of the old way of counting (first and last timestamp, count)
	// or of the new one (event time, and a series if it came again).
	first := e.FirstTimestamp.Time
	if first.IsZero() {
		first = e.EventTime.Time
	}
	last := e.LastTimestamp.Time
	if last.IsZero() {
		last = first
	}
	count := cmp.Or(e.Count, 1)
	if e.Series != nil {
		last, count = e.Series.LastObservedTime.Time, e.Series.Count
	}
	return []any{
		age(last, now),
		e.Type,
		e.Reason,
		eventTarget(e.InvolvedObject),
		e.InvolvedObject.FieldPath,
		eventSource(e),
		strings.TrimSpace(e.Message),
		age(first, now),
		int64(count),
		e.Name,
	}
}

// eventTarget returns the object of an event, as in "pod/web-0".
func eventTarget(o corev1.ObjectReference) string {
	kind := strings.ToLower(o.Kind)
	if o.Name == "" {
		return kind
	}
	return kind + "/" + o.Name
}

// eventSource returns the component that told of e, and where it runs.
func eventSource(e *corev1.Event) string {
	component := or(e.Source.Component, e.ReportingController)
	host := or(e.Source.Host, e.ReportingInstance)
	if host == "" {
		return component
	}
	return component + ", " + host
}

// coreEvent returns those fields of e that a cell shows, under their core names
// (pkg/apis/events/v1/conversion.go).
func coreEvent(e *eventsv1.Event) *corev1.Event {
	core := &corev1.Event{
		ObjectMeta:          e.ObjectMeta,
		InvolvedObject:      e.Regarding,
		Reason:              e.Reason,
		Message:             e.Note,
		Source:              e.DeprecatedSource,
		FirstTimestamp:      e.DeprecatedFirstTimestamp,
		LastTimestamp:       e.DeprecatedLastTimestamp,
		Count:               e.DeprecatedCount,
		Type:                e.Type,
		EventTime:           e.EventTime,
		ReportingController: e.ReportingController,
		ReportingInstance:   e.ReportingInstance,
	}
	if s := e.Series; s != nil {
		core.Series = &corev1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
	return core
}
