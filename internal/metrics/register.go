package metrics

import "github.com/prometheus/client_golang/prometheus"

// Issued counts what is written into the register of credentials.
type Issued struct {
	entries, failures prometheus.Counter
	batch             prometheus.Histogram
	uses, usesLost    prometheus.Counter
}

// Issued returns the counters of the register, which has as many entries as
// entries returns.
func (r *Registry) Issued(entries func() int64) *Issued {
	uses := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_register_uses_total", Help: "Last uses of credentials that were written into the register, by status; what failed is tried again.",
	}, []string{"status"})
	i := &Issued{
		entries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_register_entries_written_total", Help: "Entries of issued credentials that were written into the register.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_register_failures_total", Help: "Entries that could not be written into the register, so that no credential was issued.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_register_batch_entries", Help: "Entries that were written into the register together.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64},
		}),
		uses: uses.WithLabelValues("success"), usesLost: uses.WithLabelValues("failure"),
	}
	r.own.MustRegister(uses, i.entries, i.failures, i.batch, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_register_entries", Help: "Entries in the register of issued credentials, counted every minute.",
	}, func() float64 { return float64(entries()) }))
	return i
}

// Written counts a transaction of so many entries.
func (i *Issued) Written(entries int, failed bool) {
	if failed {
		i.failures.Add(float64(entries))
		return
	}
	i.entries.Add(float64(entries))
	i.batch.Observe(float64(entries))
}

// UsesWritten counts last uses.
func (i *Issued) UsesWritten(uses int, failed bool) {
	if failed {
		i.usesLost.Add(float64(uses))
		return
	}
	i.uses.Add(float64(uses))
}
