// Package metrics counts what the server does, for Prometheus.
//
// Names and labels are Kubernetes' where Kubernetes counts the same, and begin
// with gatehouse_ where it does not. Every counter that a request touches is
// looked up once, at the start: no label is ever resolved on the way of a
// request, and none holds what a caller chose. Of what the libraries count by
// themselves, which is half a megabyte, only what somebody watches is shown.
package metrics

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
)

// A Registry holds the metrics of one server. Use [New].
type Registry struct {
	own            *prometheus.Registry
	authentication map[string]outcome
	authorization  map[string]outcome
	impersonation  map[attempt]outcome
	permission     map[attempt]outcome
	methods        *methods
	callers        callers
	shedReading    prometheus.Counter
	shedMutating   prometheus.Counter
	stale          prometheus.Counter
}

// An attempt to act as somebody else, by its mode and how it ended.
type attempt struct {
	mode    string
	allowed bool
}

type outcome struct {
	count prometheus.Counter
	took  prometheus.Observer
}

// New returns a registry of a server of the given release.
func New(release string) *Registry {
	r := &Registry{own: prometheus.NewRegistry()}
	r.own.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatehouse_build_info", Help: "Always 1; the label is the release."}, []string{"version"})
	build.WithLabelValues(release).Set(1)
	r.own.MustRegister(build)

	r.authentication = r.outcomes(
		prometheus.CounterOpts{Name: "authentication_attempts", Help: "Authenticated requests, by result: success, failure or error."},
		prometheus.HistogramOpts{Name: "authentication_duration_seconds", Help: "Time to authenticate a request.", Buckets: prometheus.ExponentialBuckets(1e-6, 4, 11)},
		"success", "failure", "error")
	r.authorization = r.outcomes(
		prometheus.CounterOpts{Name: "authorization_attempts_total", Help: "Authorization decisions, by result: allowed, denied, no-opinion or error."},
		prometheus.HistogramOpts{Name: "authorization_duration_seconds", Help: "Time to decide about a request.", Buckets: prometheus.ExponentialBuckets(1e-7, 4, 11)},
		"allowed", "denied", "no-opinion", "error")

	r.callers = newCallers(r.own)
	r.methods = newMethods()
	r.own.MustRegister(r.methods.all)
	r.impersonation = r.attempts("attempts", "Attempts to act as somebody else, by mode and decision.")
	r.permission = r.attempts("authorization_attempts", "Permissions asked for by attempts to act as somebody else, by mode and decision.")

	shed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apiserver_dropped_requests_total", Help: "Requests answered with 429, by kind: readOnly or mutating.",
	}, []string{"request_kind"})
	r.own.MustRegister(shed)
	r.stale = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_stale_requests_refused_total", Help: "Requests answered with 503 because what the process knows of the store was older than --max-staleness.",
	})
	r.own.MustRegister(r.stale)
	r.shedReading, r.shedMutating = shed.WithLabelValues("readOnly"), shed.WithLabelValues("mutating")
	return r
}

func (r *Registry) outcomes(c prometheus.CounterOpts, h prometheus.HistogramOpts, results ...string) map[string]outcome {
	count := prometheus.NewCounterVec(c, []string{"result"})
	took := prometheus.NewHistogramVec(h, []string{"result"})
	r.own.MustRegister(count, took)
	out := make(map[string]outcome, len(results))
	for _, result := range results {
		out[result] = outcome{count.WithLabelValues(result), took.WithLabelValues(result)}
	}
	return out
}

// attempts are counted by mode and decision. The mode is empty where every one
// was denied.
func (r *Registry) attempts(name, help string) map[attempt]outcome {
	labels := []string{"mode", "decision"}
	count := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_impersonation_" + name + "_total", Help: help}, labels)
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "apiserver_impersonation_" + name + "_duration_seconds", Help: "Time they took.", Buckets: prometheus.ExponentialBuckets(1e-6, 4, 11),
	}, labels)
	r.own.MustRegister(count, took)
	out := make(map[attempt]outcome)
	for _, mode := range []string{"", "associated-node", "arbitrary-node", "serviceaccount", "user-info", "legacy"} {
		for decision, allowed := range map[string]bool{"allowed": true, "denied": false} {
			out[attempt{mode, allowed}] = outcome{count.WithLabelValues(mode, decision), took.WithLabelValues(mode, decision)}
		}
	}
	return out
}

// Impersonated counts one attempt to act as somebody else.
func (r *Registry) Impersonated(mode string, allowed bool, took time.Duration) {
	r.impersonation[attempt{mode, allowed}].add(took)
}

// ImpersonationChecked counts one permission that such an attempt asked for.
func (r *Registry) ImpersonationChecked(mode string, allowed bool, took time.Duration) {
	r.permission[attempt{mode, allowed}].add(took)
}

// Authenticated counts one authentication with one of the results above.
func (r *Registry) Authenticated(result string, took time.Duration) {
	r.authentication[result].add(took)
}

// Authorized counts one decision with one of the results above.
func (r *Registry) Authorized(result string, took time.Duration) {
	r.authorization[result].add(took)
}

func (o outcome) add(took time.Duration) {
	o.count.Inc()
	o.took.Observe(took.Seconds())
}

// Shed counts one request refused for overload.
func (r *Registry) Shed(mutating bool) {
	if mutating {
		r.shedMutating.Inc()
		return
	}
	r.shedReading.Inc()
}

// File shows how the reading of a configuration file goes: successes and
// failures so far, and whether what is in force is not what the file says.
func (r *Registry) File(name string, status func() (successes, failures uint64, stale bool)) {
	labels := prometheus.Labels{"file": name}
	count := func(result string, value func() uint64) {
		r.own.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_file_reloads_total", Help: "Readings of a changed configuration file, by result.",
			ConstLabels: prometheus.Labels{"file": name, "status": result},
		}, func() float64 { return float64(value()) }))
	}
	count("success", func() uint64 { n, _, _ := status(); return n })
	count("failure", func() uint64 { _, n, _ := status(); return n })
	r.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_file_stale", Help: "1 while a configuration file is bad and its last good version is in force.", ConstLabels: labels,
	}, func() float64 {
		if _, _, stale := status(); stale {
			return 1
		}
		return 0
	}))
}

// ServingCertificate shows when a certificate of the server ends.
func (r *Registry) ServingCertificate(name string, expires func() time.Time) {
	r.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_serving_certificate_expiration_timestamp_seconds", Help: "When a certificate that the server shows ends, in seconds since 1970.",
		ConstLabels: prometheus.Labels{"certificate": name},
	}, func() float64 { return float64(expires().Unix()) }))
}

// shown returns the beginnings of the names of the libraries' metrics that are
// shown: those that Kubernetes' own dashboards and alerts ask for.
func shown() []string {
	return []string{
		"apiserver_audit_", "apiserver_request_total", "apiserver_request_duration_seconds",
		"apiserver_storage_transformation", "apiserver_watch_cache_events", "apiserver_longrunning_requests",
		"etcd_request", "etcd_server_has_leader", "etcd_mvcc_db_total_size", "etcd_disk_wal_fsync",
	}
}

// Handler serves the metrics.
func (r *Registry) Handler() http.Handler {
	all := prometheus.Gatherers{r.own, chosen{legacyregistry.DefaultGatherer}, chosen{prometheus.DefaultGatherer}}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}

// chosen is a gatherer of what is shown of another one's.
type chosen struct{ from prometheus.Gatherer }

func (c chosen) Gather() ([]*dto.MetricFamily, error) {
	families, err := c.from.Gather()
	out := families[:0]
	for _, f := range families {
		for _, prefix := range shown() {
			if strings.HasPrefix(f.GetName(), prefix) {
				out = append(out, f)
				break
			}
		}
	}
	return out, err
}
