package clientgo_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// testPods asks for what only a kubelet has.
func testPods(t *testing.T, w *world) {
	ctx, ns := t.Context(), w.namespace(t)
	pods := w.client(t).CoreV1().Pods(ns)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}

	_, err := pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: "kubectl-run"})
	wantRefusal(t, err, refusal{403, metav1.StatusReasonForbidden, `pods "p" is forbidden: this is Gatehouse, an identity server: it keeps Pod objects and runs no containers`})
	must[*corev1.Pod](t)(pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: "kubectl-run", DryRun: []string{metav1.DryRunAll}}))
	must[*corev1.Pod](t)(pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: "kubectl-create"}))

	path := "/api/v1/namespaces/" + ns + "/pods/p"
	http1 := rest.CopyConfig(w.admin)
	http1.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrades
	for _, sub := range []string{"log", "exec", "attach", "portforward"} {
		t.Run(sub, func(t *testing.T) {
			const why = ": Gatehouse is an identity server: it keeps Pod objects, so that tokens can be bound to them, and runs no containers"
			// kubectl shows the Status of an upgrade that is refused.
			for method, protocol := range map[string]string{"GET": "websocket", "POST": "SPDY/3.1"} {
				if sub == "log" && method == "POST" {
					continue
				}
				a := w.sendAs(t, http1, method, path+"/"+sub+"?command=ls", "", "Connection", "Upgrade", "Upgrade", protocol)
				wantAnswer(t, a, 501, `"kind":"Status"`, "there is no "+sub+" of pod p"+why)
			}
		})
	}
	wantAnswer(t, w.send(t, "PUT", path+"/proxy/metrics", ""), 501, "there is no proxy of pod p")
	_, err = pods.GetLogs("p", &corev1.PodLogOptions{}).Stream(ctx)
	wantRefusal(t, err, refusal{501, metav1.StatusReasonMethodNotAllowed, "runs no containers"})

	t.Run("defaults", func(t *testing.T) {
		p := must[*corev1.Pod](t)(pods.Get(ctx, "p", metav1.GetOptions{}))
		if p.Status.Phase != corev1.PodPending || p.Spec.RestartPolicy != corev1.RestartPolicyAlways || p.Spec.SchedulerName != "default-scheduler" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("printed", func(t *testing.T) {
		table := decode[metav1.Table](t, w.send(t, "GET", "/api/v1/namespaces/"+ns+"/pods", "", "Accept", asTable))
		var columns []string
		for _, c := range table.ColumnDefinitions {
			columns = append(columns, c.Name)
		}
		if want := []string{"Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"}; !slices.Equal(columns, want) {
			t.Errorf("columns %q, want %q", columns, want)
		}
	})
}
