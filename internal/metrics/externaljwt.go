package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.dev/gatehouse/internal/externaljwt"
)

// externalSigner counts what an external signer was asked, as Kubernetes does.
type externalSigner struct {
	fetched, data prometheus.Gauge
	fetches       *prometheus.CounterVec
	signs         *prometheus.CounterVec
	took          *prometheus.HistogramVec
}

// ExternalSigner shows Kubernetes' metrics of an external signer of tokens.
func (r *Registry) ExternalSigner() externaljwt.Watcher {
	const prefix = "apiserver_externaljwt_"
	e := &externalSigner{
		fetched: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "fetch_keys_success_timestamp", Help: "Unix Timestamp in seconds of the last successful FetchKeys request",
		}),
		data: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "fetch_keys_data_timestamp", Help: "Unix Timestamp in seconds of the last successful FetchKeys data_timestamp value returned by the external signer",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "fetch_keys_request_total", Help: "Total attempts at syncing supported JWKs",
		}, []string{"code"}),
		signs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "sign_request_total", Help: "Total attempts at signing JWT",
		}, []string{"code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "request_duration_seconds", Help: "Request duration and time for calls to external-jwt-signer",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method", "code"}),
	}
	r.own.MustRegister(e.fetched, e.data, e.fetches, e.signs, e.took)
	return e
}

// Called implements [externaljwt.Watcher].
func (e *externalSigner) Called(method, code string, took time.Duration) {
	e.took.WithLabelValues(method, code).Observe(took.Seconds())
}

// Fetched implements [externaljwt.Watcher].
func (e *externalSigner) Fetched(err error, data time.Time) {
	e.fetches.WithLabelValues(externaljwt.Code(err)).Inc()
	if err == nil {
		e.fetched.SetToCurrentTime()
		e.data.Set(float64(data.UnixNano()) / 1e9)
	}
}

// Signed implements [externaljwt.Watcher].
func (e *externalSigner) Signed(err error) { e.signs.WithLabelValues(externaljwt.Code(err)).Inc() }
