package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// NodeGraph returns what counts the changes of what nodes may read, under
// Kubernetes' name and operations (k8s.io/kubernetes
// plugin/pkg/auth/authorizer/node/metrics.go). It is called once.
func (r *Registry) NodeGraph() func(operation string, took time.Duration) {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "node_authorizer_graph_actions_duration_seconds", Help: "Time to take over a change of a pod into what its node may read, by operation: AddPod or DeletePod.",
		Buckets: prometheus.ExponentialBuckets(1e-6, 4, 11),
	}, []string{"operation"})
	r.own.MustRegister(took)
	return func(operation string, d time.Duration) { took.WithLabelValues(operation).Observe(d.Seconds()) }
}
