package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Streams are the requests that stay open.
type Streams struct {
	// Open is how many there are.
	Open int
	// Ended is how many were ended because of their credential, by the reason.
	Ended map[string]uint64
	// Asked is how many times a credential was looked at again, by the result.
	Asked map[string]uint64
}

// streams collects them.
type streams struct {
	now                func() Streams
	open, ended, asked *prometheus.Desc
}

// Streams shows the requests that stay open.
func (r *Registry) Streams(now func() Streams) {
	r.own.MustRegister(&streams{
		now: now,
		open: prometheus.NewDesc("gatehouse_streams_open",
			"Open streams: requests that outlast the moment in which their caller was let in.", nil, nil),
		ended: prometheus.NewDesc("gatehouse_streams_ended_total",
			"Streams that were ended because what let their caller in does not count any more.", []string{"reason"}, nil),
		asked: prometheus.NewDesc("gatehouse_streams_reauthentications_total",
			"Credentials of open streams that were looked at again, each once for all its streams.", []string{"result"}, nil),
	})
}

// Describe implements [prometheus.Collector].
func (s *streams) Describe(out chan<- *prometheus.Desc) {
	out <- s.open
	out <- s.ended
	out <- s.asked
}

// Collect implements [prometheus.Collector].
func (s *streams) Collect(out chan<- prometheus.Metric) {
	now := s.now()
	out <- prometheus.MustNewConstMetric(s.open, prometheus.GaugeValue, float64(now.Open))
	for reason, n := range now.Ended {
		out <- prometheus.MustNewConstMetric(s.ended, prometheus.CounterValue, float64(n), reason)
	}
	for result, n := range now.Asked {
		out <- prometheus.MustNewConstMetric(s.asked, prometheus.CounterValue, float64(n), result)
	}
}

// Staleness shows how old the last proof is that what the process knows of the
// store is true.
func (r *Registry) Staleness(now func() time.Duration) {
	r.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_store_staleness_seconds",
		Help: "How long ago it was last proved that what the process knows of the store is what the store holds.",
	}, func() float64 { return now().Seconds() }))
}

// RefusedStale counts one request that was refused because the process could not
// show that it knows who has been revoked.
func (r *Registry) RefusedStale() { r.stale.Inc() }
