package metrics

import (
	"cmp"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// methods count which one identified callers, and why credentials were
// refused. Methods and kinds are constants of the code, so there are few; each
// counter is looked up once, when the first of it comes.
type methods struct {
	all    *prometheus.CounterVec
	known  atomic.Pointer[map[attempted]prometheus.Counter] // never changed, only replaced
	adding sync.Mutex
}

type attempted struct {
	method identity.Method
	kind   authn.Kind
}

func newMethods() *methods {
	m := &methods{all: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_authentication_attempts_total",
		Help: "Requests by the method that identified the caller or refused the credential, and by result: accepted, or the kind of reason.",
	}, []string{"method", "result"})}
	m.known.Store(&map[attempted]prometheus.Counter{})
	return m
}

// Attempted counts one request that a method has identified, or refused for a
// kind of reason.
func (r *Registry) Attempted(method identity.Method, refused authn.Kind) {
	key := attempted{method, refused}
	counter := (*r.methods.known.Load())[key]
	if counter == nil {
		counter = r.methods.add(key)
	}
	counter.Inc()
}

func (m *methods) add(key attempted) prometheus.Counter {
	m.adding.Lock()
	defer m.adding.Unlock()
	counter := m.all.WithLabelValues(cmp.Or(string(key.method), "unknown"), cmp.Or(string(key.kind), "accepted"))
	next := maps.Clone(*m.known.Load())
	next[key] = counter
	m.known.Store(&next)
	return counter
}
