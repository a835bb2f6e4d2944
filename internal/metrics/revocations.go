package metrics

import "github.com/prometheus/client_golang/prometheus"

// Revocations shows how many are in force now.
func (r *Registry) Revocations(now func() int) {
	r.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_revocations", Help: "Revocations in force.",
	}, func() float64 { return float64(now()) }))
}
