package durability_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/internal/workload"
)

// killedWorkload makes what gatehouse run makes, as of a process that is killed
// now. It returns what waits until the token of that process is refused, and
// fails the test if that is more than 40 s after.
func killedWorkload(t *testing.T, b *replica, kubeconfig string) func() {
	t.Helper()
	const core = "/api/v1/namespaces/default"
	pod := &corev1.Pod{}
	b.must(t, "POST", core+"/pods", workload.Process{Namespace: "default", Name: "killed", ServiceAccount: "default"}.Pod(), pod)
	b.must(t, "POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", workload.Lease(pod, time.Now()), nil)
	killed := time.Now()
	asked := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	b.must(t, "POST", core+"/serviceaccounts/default/token", asked, asked)
	process := withToken(t, kubeconfig, b.base, asked.Status.Token)
	if err := process.do(t.Context(), "GET", "/version", nil, nil); err != nil {
		t.Fatalf("while the process lives: %v", err)
	}
	return func() {
		t.Helper()
		const limit = 40 * time.Second
		eventually(t, time.Until(killed.Add(limit)), "a refusal of the token of a process that was killed", func() error {
			if err := process.do(t.Context(), "GET", "/version", nil, nil); !isRefused(err, http.StatusUnauthorized) {
				return fmt.Errorf("answered with %v", err)
			}
			return nil
		})
		t.Logf("refused %v after the last heartbeat of its process", time.Since(killed).Round(time.Millisecond))
	}
}
