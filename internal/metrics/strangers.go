package metrics

import "github.com/prometheus/client_golang/prometheus"

// Strangers is what the server does against those it does not know.
type Strangers struct {
	// Open are the connections now, of at most Most, and Waiting those whose
	// handshake waits for its turn.
	Open, Most, Waiting int
	// Shed counts the connections that were closed for want of room, by what
	// they were doing.
	Shed map[string]uint64
	// Held counts the refusals that were told late.
	Held uint64
}

// Strangers shows what now returns.
func (r *Registry) Strangers(now func() Strangers) {
	gauge := func(name, help string, value func(Strangers) int) {
		r.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(now())) }))
	}
	gauge("gatehouse_connections_open", "Open connections.", func(c Strangers) int { return c.Open })
	gauge("gatehouse_connections_most", "How many connections may be open.", func(c Strangers) int { return c.Most })
	gauge("gatehouse_handshakes_waiting", "Connections whose TLS handshake waits for its turn.", func(c Strangers) int { return c.Waiting })
	for class := range now().Shed {
		r.own.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_connections_shed_total", ConstLabels: prometheus.Labels{"class": class},
			Help: "Connections closed because no more may be open, by what they were doing: silent, greeting, idle, in-use, or refused on arrival.",
		}, func() float64 { return float64(now().Shed[class]) }))
	}
	r.own.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_refusals_held_total", Help: "Refused credentials whose sender was told late, for having failed often.",
	}, func() float64 { return float64(now().Held) }))
}
