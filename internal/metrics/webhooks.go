package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Webhooks count the calls of services that are asked. Each is known by what it
// is asked for, and its name if it has one.
type Webhooks struct {
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	inFlight *prometheus.Desc
	waiting  *prometheus.Desc
	down     *prometheus.Desc

	mu  sync.Mutex
	now map[string]func() Webhook
}

// A Webhook is how a service is doing.
type Webhook struct {
	// Calls are under way, and Waiting are those that wait for their turn.
	Calls, Waiting int
	// Down tells that it is taken to be down.
	Down bool
}

// Webhooks returns the metrics of webhooks. It is called once.
func (r *Registry) Webhooks() *Webhooks {
	label := []string{"webhook"}
	w := &Webhooks{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_webhook_calls_total", Help: "Calls of a webhook, each try by itself, by result: success, timeout, error or canceled.",
		}, []string{"webhook", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_webhook_call_duration_seconds", Help: "Time that a call of a webhook took.", Buckets: prometheus.DefBuckets,
		}, label),
		inFlight: prometheus.NewDesc("gatehouse_webhook_calls_in_flight", "Calls of a webhook that are under way.", label, nil),
		waiting:  prometheus.NewDesc("gatehouse_webhook_calls_waiting", "Calls of a webhook that wait for their turn.", label, nil),
		down:     prometheus.NewDesc("gatehouse_webhook_down", "1 while a webhook does not answer, and is asked only now and then.", label, nil),
		now:      map[string]func() Webhook{},
	}
	r.own.MustRegister(w.calls, w.took, w)
	return w
}

// Called returns what counts the calls of a webhook.
func (w *Webhooks) Called(name string) func(result string, took time.Duration) {
	duration := w.took.WithLabelValues(name)
	return func(result string, took time.Duration) {
		w.calls.WithLabelValues(name, result).Inc()
		duration.Observe(took.Seconds())
	}
}

// Show shows how a webhook is doing, in place of what was shown of that name
// before.
func (w *Webhooks) Show(name string, now func() Webhook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now[name] = now
}

// Gone forgets a webhook.
func (w *Webhooks) Gone(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.now, name)
	is := prometheus.Labels{"webhook": name}
	w.calls.DeletePartialMatch(is)
	w.took.DeletePartialMatch(is)
}

// Describe implements [prometheus.Collector].
func (w *Webhooks) Describe(to chan<- *prometheus.Desc) {
	to <- w.inFlight
	to <- w.waiting
	to <- w.down
}

// Collect implements [prometheus.Collector].
func (w *Webhooks) Collect(to chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, now := range w.now {
		s, down := now(), 0.0
		if s.Down {
			down = 1
		}
		to <- prometheus.MustNewConstMetric(w.inFlight, prometheus.GaugeValue, float64(s.Calls), name)
		to <- prometheus.MustNewConstMetric(w.waiting, prometheus.GaugeValue, float64(s.Waiting), name)
		to <- prometheus.MustNewConstMetric(w.down, prometheus.GaugeValue, down, name)
	}
}
