package core

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// Limits in bytes of the texts of an event that has an eventTime.
const (
	maxEventWord = 128 // reportingInstance, action, reason
	maxEventNote = 1024
)

// ValidateEventCreate returns what is wrong with an event that is to be
// created. An event is one object in two groups: request is the group and
// version of the request it came with, and v1 of the core group accepts what
// clients have always sent, while events.k8s.io/v1 is strict.
func ValidateEventCreate(event *corev1.Event, request schema.GroupVersion) field.ErrorList {
	errs := anyEvent(event, request)
	if request == corev1.SchemeGroupVersion {
		return errs
	}
	errs = append(errs, validation.ValidateObjectMeta(&event.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)...)
	errs = append(errs, eventSeries(event.Series)...)
	if event.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if event.Type != corev1.EventTypeNormal && event.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", fmt.Sprintf("has invalid value: %v", event.Type)))
	}
	return append(errs, deprecatedEventFields(event)...)
}

func deprecatedEventFields(event *corev1.Event) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !event.FirstTimestamp.IsZero()},
		{"lastTimestamp", !event.LastTimestamp.IsZero()},
		{"count", event.Count != 0},
		{"source", event.Source != corev1.EventSource{}},
	} {
		if f.set {
			errs = append(errs, field.Invalid(field.NewPath(f.name), "", "needs to be unset"))
		}
	}
	return errs
}

// ValidateEventUpdate returns what is wrong with putting updated in the place
// of old; request is as for [ValidateEventCreate]. Through events.k8s.io/v1 the
// series is all that can change.
func ValidateEventUpdate(updated, old *corev1.Event, request schema.GroupVersion) field.ErrorList {
	errs := anyEvent(updated, request)
	if request == corev1.SchemeGroupVersion {
		return errs
	}
	errs = append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
	if !equality.Semantic.DeepEqual(updated.Series, old.Series) {
		errs = append(errs, eventSeries(updated.Series)...)
	}
	for _, f := range []struct {
		name         string
		updated, old any
	}{
		{"involvedObject", updated.InvolvedObject, old.InvolvedObject},
		{"reason", updated.Reason, old.Reason},
		{"message", updated.Message, old.Message},
		{"source", updated.Source, old.Source},
		{"firstTimestamp", updated.FirstTimestamp, old.FirstTimestamp},
		{"lastTimestamp", updated.LastTimestamp, old.LastTimestamp},
		{"count", updated.Count, old.Count},
		{"type", updated.Type, old.Type},
		{"action", updated.Action, old.Action},
		{"related", updated.Related, old.Related},
		{"reportingController", updated.ReportingController, old.ReportingController},
		{"reportingInstance", updated.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, apivalidation.ValidateImmutableField(f.updated, f.old, field.NewPath(f.name))...)
	}
	// JSON keeps microseconds, protobuf nanoseconds: a client that only
	// changed from one to the other has not changed the time.
	if !updated.EventTime.Truncate(time.Microsecond).Equal(old.EventTime.Truncate(time.Microsecond)) {
		errs = append(errs, apivalidation.ValidateImmutableField(updated.EventTime, old.EventTime, field.NewPath("eventTime"))...)
	}
	return errs
}

func eventSeries(series *corev1.EventSeries) field.ErrorList {
	if series == nil {
		return nil
	}
	var errs field.ErrorList
	if series.Count < 2 {
		errs = append(errs, field.Invalid(field.NewPath("series", "count"), "", "should be at least 2"))
	}
	if series.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("series", "lastObservedTime"), ""))
	}
	return errs
}

// anyEvent holds the rules for both groups. An event without an eventTime is of
// the old kind, and only has to be in the namespace of what it is about.
func anyEvent(event *corev1.Event, request schema.GroupVersion) field.ErrorList {
	var errs field.ErrorList
	about, in := event.InvolvedObject.Namespace, event.Namespace
	strange := field.Invalid(field.NewPath("involvedObject", "namespace"), about, "does not match event.namespace")
	if event.EventTime.IsZero() {
		// What has no namespace is written about in default, by old clients.
		homeless := about == "" && (in == metav1.NamespaceNone || in == metav1.NamespaceDefault)
		if about != in && !homeless {
			errs = append(errs, strange)
		}
	} else {
		if about == "" && in != metav1.NamespaceDefault && in != metav1.NamespaceSystem {
			errs = append(errs, strange)
		}
		errs = append(errs, eventReporter(event, request)...)
	}
	for _, msg := range utilvalidation.IsDNS1123Subdomain(in) {
		errs = append(errs, field.Invalid(field.NewPath("namespace"), in, msg))
	}
	return errs
}

func eventReporter(event *corev1.Event, request schema.GroupVersion) field.ErrorList {
	controller := field.NewPath("reportingController")
	if request == corev1.SchemeGroupVersion {
		controller = field.NewPath("reportingComponent")
	}
	var errs field.ErrorList
	if event.ReportingController == "" {
		errs = append(errs, field.Required(controller, ""))
	}
	for _, msg := range utilvalidation.IsQualifiedName(event.ReportingController) {
		errs = append(errs, field.Invalid(controller, event.ReportingController, msg))
	}
	for _, f := range []struct{ name, value string }{
		{"reportingInstance", event.ReportingInstance},
		{"action", event.Action},
		{"reason", event.Reason},
	} {
		if f.value == "" {
			errs = append(errs, field.Required(field.NewPath(f.name), ""))
		}
		errs = append(errs, atMost(maxEventWord, f.value, field.NewPath(f.name))...)
	}
	return append(errs, atMost(maxEventNote, event.Message, field.NewPath("message"))...)
}

func atMost(limit int, text string, at *field.Path) field.ErrorList {
	if len(text) <= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(at, "", fmt.Sprintf("can have at most %v characters", limit))}
}
