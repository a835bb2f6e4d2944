package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// callers counts what Kubernetes counts of those who call.
type callers struct {
	requests map[string]prometheus.Counter
	lifetime prometheus.Histogram
}

// Whom Kubernetes tells from all others (k8s.io/apiserver
// pkg/endpoints/filters/metrics.go).
const (
	somebodyWithMail = "email_id"
	somebody         = "other"
)

func newCallers(registry *prometheus.Registry) callers {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authenticated_user_requests", Help: "Requests of callers who were identified, by a few well-known names.",
	}, []string{"username"})
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	c := callers{
		requests: make(map[string]prometheus.Counter),
		lifetime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "apiserver_client_certificate_expiration_seconds",
			Help: "For how much longer the client certificates of requests last.",
			Buckets: []float64{
				0, 30 * minute, hour, 2 * hour, 6 * hour, 12 * hour,
				day, 2 * day, 4 * day, 7 * day, 30 * day, 90 * day, 180 * day, 360 * day,
			},
		}),
	}
	for _, name := range []string{"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default", somebodyWithMail, somebody} {
		c.requests[name] = requests.WithLabelValues(name)
	}
	registry.MustRegister(requests, c.lifetime)
	return c
}

// Identified counts one request of a caller of that name.
func (r *Registry) Identified(name string) {
	count, known := r.callers.requests[name]
	switch {
	case known:
	case strings.Contains(name, "@"):
		count = r.callers.requests[somebodyWithMail]
	default:
		count = r.callers.requests[somebody]
	}
	count.Inc()
}

// Presented counts one request with a client certificate, trusted or not, that
// lasts for so much longer.
func (r *Registry) Presented(lasts time.Duration) { r.callers.lifetime.Observe(lasts.Seconds()) }

// Tokens shows how often the token of a request was remembered, and how often it
// had to be verified.
func (r *Registry) Tokens(now func() (hits, misses uint64)) {
	count := func(status string, value func() uint64) {
		r.own.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "authentication_token_cache_request_total", ConstLabels: prometheus.Labels{"status": status},
			Help: "Tokens that were looked for among those verified before, by whether they were there: hit or miss.",
		}, func() float64 { return float64(value()) }))
	}
	count("hit", func() uint64 { hits, _ := now(); return hits })
	count("miss", func() uint64 { _, misses := now(); return misses })
}
