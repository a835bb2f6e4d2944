package api

import (
	"context"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"

	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/validation/core"
)

// noContainers is what this server is, for who asks it for more.
const noContainers = "Gatehouse is an identity server: it keeps Pod objects, so that tokens can be bound to them, and runs no containers"

func pods() entry {
	k := &kind[*corev1.Pod]{
		gv: corev1.SchemeGroupVersion, name: "Pod", resource: "pods", singular: "pod",
		short: []string{"po"}, categories: []string{"all"}, namespaced: true, keepDeleted: true, table: columns.Pod(),
		new:           func() *corev1.Pod { return &corev1.Pod{} },
		newList:       func() runtime.Object { return &corev1.PodList{} },
		fields:        podFields,
		ownedByStatus: []string{"status"},
		keptByStatus:  []string{"spec", "metadata.deletionTimestamp", "metadata.ownerReferences"},
		rules: rules[*corev1.Pod]{
			prepareCreate: func(_ context.Context, p *corev1.Pod) {
				p.Status = corev1.PodStatus{Phase: corev1.PodPending}
			},
			prepareUpdate: func(_ context.Context, p, old *corev1.Pod) { p.Status = old.Status },
			validate:      core.ValidatePod, validateUpdate: core.ValidatePodUpdate,
			warnings: func(*corev1.Pod) []string { return []string{noContainers} },
		},
		status: &rules[*corev1.Pod]{
			prepareUpdate: func(_ context.Context, p, old *corev1.Pod) {
				p.Spec, p.DeletionTimestamp, p.OwnerReferences = old.Spec, old.DeletionTimestamp, old.OwnerReferences
			},
			validateUpdate: core.ValidatePodStatusUpdate,
		},
	}
	k.extend = func(_ *installer, _ *registry.Store, group map[string]rest.Storage) {
		stream := []string{http.MethodGet, http.MethodPost}
		for _, a := range []absent{
			{name: "attach", new: func() runtime.Object { return &corev1.PodAttachOptions{} }, methods: stream},
			{name: "exec", new: func() runtime.Object { return &corev1.PodExecOptions{} }, methods: stream},
			{name: "log", new: func() runtime.Object { return &corev1.Pod{} }, methods: []string{http.MethodGet}},
			{name: "portforward", new: func() runtime.Object { return &corev1.PodPortForwardOptions{} }, methods: stream},
			{name: "proxy", new: func() runtime.Object { return &corev1.PodProxyOptions{} }, subpath: true, methods: []string{
				http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions,
			}},
		} {
			group["pods/"+a.name] = a
		}
	}
	return k
}

func podFields(p *corev1.Pod) fields.Set {
	return fields.Set{
		"spec.nodeName":            p.Spec.NodeName,
		"spec.restartPolicy":       string(p.Spec.RestartPolicy),
		"spec.schedulerName":       p.Spec.SchedulerName,
		"spec.serviceAccountName":  p.Spec.ServiceAccountName,
		"spec.hostNetwork":         boolean(p.Spec.HostNetwork),
		"status.phase":             string(p.Status.Phase),
		"status.podIP":             p.Status.PodIP,
		"status.podIPs":            "", // taken and never true, as upstream
		"status.nominatedNodeName": p.Status.NominatedNodeName,
	}
}

// absent is a subresource that needs a kubelet. It answers with what this
// server is, where "not found" would send its caller looking for a typing
// error. Discovery shows it as upstream's does.
type absent struct {
	name    string
	new     func() runtime.Object
	methods []string
	// subpath adds the paths below it.
	subpath bool
}

var _ rest.Connecter = absent{}

func (a absent) New() runtime.Object      { return a.new() }
func (a absent) Destroy()                 {}
func (a absent) ConnectMethods() []string { return a.methods }

func (a absent) NewConnectOptions() (runtime.Object, bool, string) { return nil, a.subpath, "path" }

func (a absent) Connect(_ context.Context, name string, _ runtime.Object, _ rest.Responder) (http.Handler, error) {
	return nil, notImplemented("there is no " + a.name + " of pod " + name + ": " + noContainers)
}

// notImplemented is the Status of what this kind of server does not do.
func notImplemented(message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotImplemented,
		Reason: metav1.StatusReasonMethodNotAllowed, Message: message,
	}}
}
