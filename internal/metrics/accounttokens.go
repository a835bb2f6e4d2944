package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
)

// AccountTokens shows Kubernetes' counters of the tokens of service accounts, and
// returns what counts one that was presented.
func (r *Registry) AccountTokens() func(serviceaccount.Use) {
	help := map[serviceaccount.Use]string{
		serviceaccount.UsedValid:         "Cumulative valid projected service account tokens used",
		serviceaccount.UsedStale:         "Cumulative stale projected service account tokens used",
		serviceaccount.UsedLegacy:        "Cumulative legacy service account tokens used",
		serviceaccount.UsedManual:        "Cumulative manually created legacy tokens used",
		serviceaccount.UsedAutomatic:     "Cumulative auto-generated legacy tokens used",
		serviceaccount.UsedInvalidLegacy: "Cumulative invalid auto-generated legacy tokens used",
	}
	counters := map[serviceaccount.Use]prometheus.Counter{}
	for _, use := range serviceaccount.Uses() {
		counters[use] = prometheus.NewCounter(prometheus.CounterOpts{Name: "serviceaccount_" + string(use) + "_total", Help: help[use]})
		r.own.MustRegister(counters[use])
	}
	return func(use serviceaccount.Use) { counters[use].Inc() }
}
