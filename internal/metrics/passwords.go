package metrics

import "github.com/prometheus/client_golang/prometheus"

// Passwords is what there was to do for passwords so far.
type Passwords struct {
	// Waiting are the requests whose password is compared, or is going to be.
	Waiting int
	// Right and Wrong count the passwords that were compared.
	Right, Wrong uint64
}

// Passwords shows what now returns.
func (r *Registry) Passwords(now func() Passwords) {
	r.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_passwords_waiting", Help: "Requests whose password is compared, or waits for its turn.",
	}, func() float64 { return float64(now().Waiting) }))
	for result, count := range map[string]func(Passwords) uint64{
		"right": func(p Passwords) uint64 { return p.Right },
		"wrong": func(p Passwords) uint64 { return p.Wrong },
	} {
		r.own.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_passwords_compared_total", ConstLabels: prometheus.Labels{"result": result},
			Help: "Passwords that were compared with a hash, by result. What is remembered is not compared again.",
		}, func() float64 { return float64(count(now())) }))
	}
}
