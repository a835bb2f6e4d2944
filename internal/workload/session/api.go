package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/internal/secret"
	"gatehouse.dev/gatehouse/internal/workload"
)

// timeout bounds one call. It is short, as the Lease has to be renewed while the
// server is away.
const timeout = 10 * time.Second

// userAgent is in the audit events of the calls.
const userAgent = "gatehouse-run"

// An api is the few calls that a session makes. The typed clients would link
// every group there is.
type api struct{ client *rest.RESTClient }

func newAPI(config *rest.Config) (*api, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, coordinationv1.AddToScheme, authenticationv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.Timeout, config.UserAgent = timeout, userAgent
	// That a Pod runs no containers here is no news to who runs a process as one.
	config.WarningHandler = rest.NoWarnings{}
	// A heartbeat must not wait for the allowance of other calls.
	config.QPS = -1
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, err
	}
	return &api{client}, nil
}

func pods(namespace string) []string { return []string{"/api/v1/namespaces", namespace, "pods"} }

func leases(namespace string) []string {
	return []string{"/apis/coordination.k8s.io/v1/namespaces", namespace, "leases"}
}

func (a *api) createPod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	made := &corev1.Pod{}
	return made, a.client.Post().AbsPath(pods(pod.Namespace)...).Body(pod).Do(ctx).Into(made)
}

func (a *api) getPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	return pod, a.client.Get().AbsPath(append(pods(namespace), name)...).Do(ctx).Into(pod)
}

// markRunning sets the status of a Pod that was just made.
func (a *api) markRunning(ctx context.Context, pod *corev1.Pod) error {
	pod = pod.DeepCopy()
	pod.Status = workload.Running(metav1.Now())
	return a.client.Put().AbsPath(append(pods(pod.Namespace), pod.Name, "status")...).Body(pod).Do(ctx).Error()
}

// deletePod deletes this Pod, at once, and no other of its name.
func (a *api) deletePod(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	return a.client.Delete().AbsPath(append(pods(pod.Namespace), pod.Name)...).Body(&metav1.DeleteOptions{
		TypeMeta:           metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID},
	}).Do(ctx).Error()
}

func (a *api) createLease(ctx context.Context, lease *coordinationv1.Lease) error {
	return a.client.Post().AbsPath(leases(lease.Namespace)...).Body(lease).Do(ctx).Error()
}

// renew makes the Lease of that name this one.
func (a *api) renew(ctx context.Context, lease *coordinationv1.Lease) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": lease.Labels, "ownerReferences": lease.OwnerReferences},
		"spec": map[string]any{
			"holderIdentity": lease.Spec.HolderIdentity, "leaseDurationSeconds": lease.Spec.LeaseDurationSeconds,
			"renewTime": lease.Spec.RenewTime,
		},
	})
	if err != nil {
		return err
	}
	return a.client.Patch(types.MergePatchType).AbsPath(append(leases(lease.Namespace), lease.Name)...).Body(patch).Do(ctx).Error()
}

func (a *api) deleteLease(ctx context.Context, namespace, name string) error {
	return a.client.Delete().AbsPath(append(leases(namespace), name)...).Body(&metav1.DeleteOptions{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
	}).Do(ctx).Error()
}

// A token lives for so long from when it was asked for.
type token struct {
	text  secret.Bytes
	life  time.Duration
	began time.Time
}

// requestToken asks for a token that is bound to the Pod.
func (a *api) requestToken(ctx context.Context, pod *corev1.Pod) (token, error) {
	seconds := int64(tokenLife / time.Second)
	answer := &authenticationv1.TokenRequest{}
	err := a.client.Post().
		AbsPath("/api/v1/namespaces", pod.Namespace, "serviceaccounts", pod.Spec.ServiceAccountName, "token").
		Body(&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}).Do(ctx).Into(answer)
	if err != nil {
		return token{}, err
	}
	life := tokenLife
	if n := answer.Spec.ExpirationSeconds; n != nil && time.Duration(*n)*time.Second < life {
		life = time.Duration(*n) * time.Second
	}
	if answer.Status.Token == "" || life <= 0 {
		return token{}, errors.New("the server answers with a token that is empty or has ended")
	}
	return token{text: secret.New([]byte(answer.Status.Token)), life: life}, nil
}
