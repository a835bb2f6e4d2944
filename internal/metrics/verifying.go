package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.dev/gatehouse/authn"
)

// verifying counts the tokens that were not remembered, under Kubernetes' names
// (k8s.io/apiserver pkg/authentication/token/cache/stats.go).
type verifying struct {
	authn.TokenVerifier
	ok, failed prometheus.Counter
	active     prometheus.Gauge
}

// Verifying returns v, whose tokens are counted. It is called once.
func (r *Registry) Verifying(v authn.TokenVerifier) authn.TokenVerifier {
	const prefix = "authentication_token_cache_"
	fetches := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "fetch_total", Help: "Tokens that were not remembered and were verified, by status: ok for those accepted, error for those refused.",
	}, []string{"status"})
	active := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "active_fetch_count", Help: "Tokens that are being verified, by status: in_flight.",
	}, []string{"status"})
	r.own.MustRegister(fetches, active)
	return &verifying{v, fetches.WithLabelValues("ok"), fetches.WithLabelValues("error"), active.WithLabelValues("in_flight")}
}

// VerifyToken implements [authn.TokenVerifier].
func (v *verifying) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	v.active.Inc()
	defer v.active.Dec()
	res, err := v.TokenVerifier.VerifyToken(ctx, token, audiences)
	if err != nil {
		v.failed.Inc()
		return nil, err
	}
	v.ok.Inc()
	return res, nil
}
