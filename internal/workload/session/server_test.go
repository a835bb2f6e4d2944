package session_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// A server answers the calls of sessions without a network, so that time may be
// the test's.
type server struct {
	t  *testing.T
	mu sync.Mutex
	// before is asked about each call; an error is the answer, and one that is no
	// API error is that of a server that is away.
	before func(call string) error
	calls  []string
	pods   map[string]*corev1.Pod
	leases map[string]*coordinationv1.Lease
	tokens int
	uids   int
}

func newServer(t *testing.T) *server {
	return &server{t: t, pods: map[string]*corev1.Pod{}, leases: map[string]*coordinationv1.Lease{}}
}

func (s *server) config() *rest.Config {
	return &rest.Config{Host: "https://server", Transport: s}
}

// set changes the server while a session runs.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// count returns how many calls there were of a kind.
func (s *server) count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if c == call {
			n++
		}
	}
	return n
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	call := r.Method + " " + resource(path)
	s.calls = append(s.calls, call)
	if s.before != nil {
		if err := s.before(call); err != nil {
			status, ok := err.(apierrors.APIStatus)
			if !ok {
				return nil, err
			}
			return answer(status.Status(), int(status.Status().Code)), nil
		}
	}
	out, err := s.serve(call, path[len(path)-1], body)
	if err != nil {
		return answer(err.ErrStatus, int(err.ErrStatus.Code)), nil
	}
	return answer(out, http.StatusOK), nil
}

// resource is the last word of a path that is not a name.
func resource(path []string) string {
	for _, word := range []string{"token", "status", "leases", "pods"} {
		for _, p := range path {
			if p == word {
				return word
			}
		}
	}
	return strings.Join(path, "/")
}

func (s *server) serve(call, name string, body []byte) (any, *apierrors.StatusError) {
	pods, leases := schema.GroupResource{Resource: "pods"}, schema.GroupResource{Resource: "leases"}
	switch call {
	case "POST pods":
		pod := decode[corev1.Pod](s.t, body)
		s.uids++
		pod.UID, pod.ResourceVersion = types.UID(fmt.Sprint("uid-", s.uids)), "1"
		s.pods[pod.Name] = pod
		return pod, nil
	case "GET pods":
		if pod, ok := s.pods[name]; ok {
			return pod, nil
		}
		return nil, apierrors.NewNotFound(pods, name)
	case "PUT status":
		pod := decode[corev1.Pod](s.t, body)
		s.pods[pod.Name].Status = pod.Status
		return pod, nil
	case "DELETE pods":
		opts := decode[metav1.DeleteOptions](s.t, body)
		if opts.GracePeriodSeconds == nil || *opts.GracePeriodSeconds != 0 {
			s.t.Errorf("the Pod is deleted with %+v", opts)
		}
		pod, ok := s.pods[name]
		if !ok {
			return nil, apierrors.NewNotFound(pods, name)
		}
		if pod.UID != *opts.Preconditions.UID {
			return nil, apierrors.NewConflict(pods, name, fmt.Errorf("another UID"))
		}
		delete(s.pods, name)
		return pod, nil
	case "POST leases":
		lease := decode[coordinationv1.Lease](s.t, body)
		if s.leases[lease.Name] != nil {
			return nil, apierrors.NewAlreadyExists(leases, lease.Name)
		}
		s.leases[lease.Name] = lease
		return lease, nil
	case "PATCH leases":
		lease, ok := s.leases[name]
		if !ok {
			return nil, apierrors.NewNotFound(leases, name)
		}
		patch := decode[coordinationv1.Lease](s.t, body)
		lease.Labels, lease.OwnerReferences, lease.Spec = patch.Labels, patch.OwnerReferences, patch.Spec
		return lease, nil
	case "DELETE leases":
		delete(s.leases, name)
		return &metav1.Status{Status: metav1.StatusSuccess}, nil
	case "POST token":
		return s.token(decode[authenticationv1.TokenRequest](s.t, body))
	}
	s.t.Errorf("an unexpected call: %s", call)
	return nil, apierrors.NewBadRequest(call)
}

func (s *server) token(request *authenticationv1.TokenRequest) (any, *apierrors.StatusError) {
	ref := request.Spec.BoundObjectRef
	pod, ok := s.pods[ref.Name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, ref.Name)
	}
	if pod.UID != ref.UID {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, ref.Name, fmt.Errorf("another UID"))
	}
	if *request.Spec.ExpirationSeconds != 600 {
		s.t.Errorf("a token is asked for %d s", *request.Spec.ExpirationSeconds)
	}
	s.tokens++
	request.Status.Token = fmt.Sprint("token-", s.tokens)
	request.Status.ExpirationTimestamp = metav1.NewTime(time.Unix(0, 0)) // a clock of its own
	return request, nil
}

func decode[T any](t *testing.T, body []byte) *T {
	out := new(T)
	if err := json.Unmarshal(body, out); err != nil {
		t.Errorf("%s: %v", body, err)
	}
	return out
}

// answer is as the API writes it, with the kind that the client needs to read it.
func answer(v any, code int) *http.Response {
	switch o := v.(type) {
	case *corev1.Pod:
		o.APIVersion, o.Kind = "v1", "Pod"
	case *coordinationv1.Lease:
		o.APIVersion, o.Kind = "coordination.k8s.io/v1", "Lease"
	case *authenticationv1.TokenRequest:
		o.APIVersion, o.Kind = "authentication.k8s.io/v1", "TokenRequest"
	case metav1.Status:
		o.APIVersion, o.Kind = "v1", "Status"
		v = o
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)),
	}
}
